import type { FieldName } from './event.ts'
import {
  ACCOUNT,
  API_TOKEN,
  CALLER,
  DATABASE,
  DATABASE_SESSION,
  JOIN,
  JOIN_TOKEN,
  LOCK,
  MESSAGE,
  NAMED,
  OAUTH_CLIENT,
  OAUTH_GRANT,
  SESSION,
  SVID,
} from './field-classes.ts'
import { PEOPLE_EVENTS } from './people-events.ts'

/**
 * `public` is kept as it is, `sensitive` goes through the redactor, `secret` is never written.
 * A field that the row of its type does not name is not written either.
 */
export type FieldClass = 'public' | 'sensitive' | 'secret'

export interface EventRow {
  /** `success` is absent for a type that only tells of failures. */
  code: { success?: string; failure?: string }
  fields: Partial<Record<FieldName, FieldClass>>
  summary: string
}

/**
 * What happened: all events there are. Codes `TMCP…` and `T1000…` are those of Teleport for the same event, so that
 * rules written for its log go on working. The others are our own: `SP`, three letters of the subject, a number of three digits,
 * and `I` for done, `W` for refused, `E` for failed.
 */
export const EVENTS = {
  'mcp.session.start': { code: { success: 'TMCP001I' }, fields: SESSION, summary: 'An MCP session began.' },
  'mcp.session.end': {
    code: { success: 'TMCP002I', failure: 'TMCP002E' },
    fields: SESSION,
    summary: 'An MCP session ended; `reason` says why when neither side closed it, for instance a lock.',
  },
  'mcp.session.request': { code: { success: 'TMCP003I', failure: 'TMCP003E' }, fields: MESSAGE, summary: 'A client sent a request.' },
  'mcp.session.notification': {
    code: { success: 'TMCP004I', failure: 'TMCP004E' },
    fields: MESSAGE,
    summary: 'A client sent a notification.',
  },
  'mcp.session.listen_sse_stream': {
    code: { success: 'TMCP005I', failure: 'TMCP005E' },
    fields: SESSION,
    summary: 'A client opened the stream for messages from the server.',
  },
  'mcp.session.invalid_http_request': {
    code: { failure: 'TMCP006E' },
    fields: { ...SESSION, path: 'sensitive', method: 'public', raw_query: 'sensitive', body: 'sensitive' },
    summary: 'An HTTP request was no valid MCP message.',
  },
  'mcp.session.begin_again': {
    code: { success: 'SPMCP001I' },
    fields: { ...SESSION, path: 'sensitive', method: 'public', message: 'sensitive', tool: 'public' },
    summary:
      'A client was told to begin again, since its MCP session has ended or what it showed of its caller is older than a restart or change; `reason` says which. Nothing was carried out: what it asks anew has an event of its own.',
  },

  ...PEOPLE_EVENTS,
  'role.created': { code: { success: 'SPROL001I' }, fields: NAMED, summary: 'A role was created.' },
  'role.updated': { code: { success: 'SPROL002I' }, fields: NAMED, summary: 'A role was changed.' },
  'role.deleted': { code: { success: 'SPROL003I' }, fields: NAMED, summary: 'A role was deleted.' },
  'resource.create': {
    code: { success: 'SPRES001I' },
    fields: NAMED,
    summary: 'A resource of a kind without events of its own was created.',
  },
  'resource.update': { code: { success: 'SPRES002I' }, fields: NAMED, summary: 'Such a resource was changed.' },
  'resource.delete': { code: { success: 'SPRES003I' }, fields: NAMED, summary: 'Such a resource was deleted.' },
  'app.create': { code: { success: 'SPAPP001I' }, fields: { ...NAMED, app_uri: 'sensitive' }, summary: 'An MCP server was registered.' },
  'app.update': { code: { success: 'SPAPP002I' }, fields: { ...NAMED, app_uri: 'sensitive' }, summary: 'An MCP server was changed.' },
  'app.delete': { code: { success: 'SPAPP003I' }, fields: NAMED, summary: 'An MCP server was deleted.' },
  'db.create': { code: { success: 'TDB03I' }, fields: DATABASE, summary: 'A database was registered.' },
  'db.update': { code: { success: 'TDB04I' }, fields: DATABASE, summary: 'A database was changed.' },
  'db.delete': { code: { success: 'TDB05I' }, fields: NAMED, summary: 'A database was deleted.' },
  'db.session.start': {
    code: { success: 'TDB00I', failure: 'TDB00W' },
    fields: DATABASE_SESSION,
    summary: 'An agent connected to a database for a caller, or refused to, or could not.',
  },
  'db.session.end': {
    code: { success: 'TDB01I' },
    fields: DATABASE_SESSION,
    summary: 'Such a connection ended; `reason` says why when the caller did not end it.',
  },
  'db.session.query': {
    code: { success: 'TDB02I', failure: 'TDB02W' },
    fields: { ...DATABASE_SESSION, db_query: 'sensitive', db_rows: 'public', result_bytes: 'public' },
    summary: 'A statement was sent to a database, or refused.',
  },
  'join_token.create': { code: { success: 'SPJTK001I' }, fields: JOIN_TOKEN, summary: 'A join token was created.' },
  'join_token.update': { code: { success: 'SPJTK002I' }, fields: JOIN_TOKEN, summary: 'A join token was changed.' },
  'join_token.delete': { code: { success: 'SPJTK003I' }, fields: JOIN_TOKEN, summary: 'A join token was deleted.' },
  'bot.create': { code: { success: 'TB001I' }, fields: ACCOUNT, summary: 'A bot was created.' },
  'bot.update': { code: { success: 'TB002I' }, fields: ACCOUNT, summary: 'A bot was changed.' },
  'bot.delete': { code: { success: 'TB003I' }, fields: ACCOUNT, summary: 'A bot was deleted, and with it all its certificates.' },
  'bot.join': { code: { success: 'TJ001I', failure: 'TJ001E' }, fields: JOIN, summary: 'A bot joined, or was refused.' },
  'bot.destination.refused': {
    code: { failure: 'SPBOT003W' },
    fields: { ...NAMED, path: 'public' },
    summary:
      'A bot refused to write credentials to a place that somebody else could have turned: a symbolic link, or a directory that others may change.',
  },
  'instance.join': {
    code: { success: 'TJ002I', failure: 'TJ002E' },
    fields: JOIN,
    summary: 'An agent or a service joined, or was refused.',
  },
  'cert.generation_mismatch': {
    code: { failure: 'SPBOT001W' },
    fields: JOIN,
    summary: 'A certificate of a bot was used that had been renewed already: there is a copy of it, and the instance is locked.',
  },
  'bound_keypair.join_state_mismatch': {
    code: { failure: 'SPBOT002W' },
    fields: JOIN,
    summary: 'A bound key pair was used with a join state that was used before: there is a copy of it, and the join token is locked.',
  },
  'lock.created': { code: { success: 'SPLCK001I' }, fields: LOCK, summary: 'A lock was created or changed.' },
  'lock.deleted': { code: { success: 'SPLCK002I' }, fields: LOCK, summary: 'A lock was deleted.' },

  'cert.create': {
    code: { success: 'SPCRT001I', failure: 'SPCRT001W' },
    fields: {
      ...CALLER,
      name: 'public',
      roles: 'public',
      cert_type: 'public',
      serial: 'public',
      server: 'public',
      generation: 'public',
      expires: 'public',
    },
    summary: 'A certificate or route assertion was issued, or refused.',
  },
  'spiffe.svid.issued': {
    code: { success: 'TSPIFFE000I', failure: 'TSPIFFE000E' },
    fields: SVID,
    summary: 'A workload got the proof of a SPIFFE ID, or was refused one.',
  },
  'api_token.create': { code: { success: 'SPATK001I' }, fields: API_TOKEN, summary: 'An API token was made.' },
  'api_token.delete': { code: { success: 'SPATK002I' }, fields: API_TOKEN, summary: 'An API token was revoked.' },
  'api_token.use.failure': {
    code: { failure: 'SPATK003W' },
    fields: { ...API_TOKEN, server: 'public', server_id: 'public' },
    summary: 'A token was presented that is not valid.',
  },
  'oauth.client.register': {
    code: { success: 'SPOAU001I', failure: 'SPOAU001W' },
    fields: OAUTH_CLIENT,
    summary: 'An MCP client registered itself, or tried to.',
  },
  'oauth.grant.create': {
    code: { success: 'SPOAU002I', failure: 'SPOAU002W' },
    fields: OAUTH_GRANT,
    summary: 'A person allowed an MCP client to act for them, or refused it.',
  },
  'oauth.grant.revoke': {
    code: { success: 'SPOAU003I' },
    fields: OAUTH_GRANT,
    summary: 'What a person had allowed a client ended before its time; `reason` says why.',
  },
  'oauth.token.issue': {
    code: { success: 'SPOAU004I', failure: 'SPOAU004W' },
    fields: { ...OAUTH_GRANT, grant_type: 'public' },
    summary: 'An MCP client got an access token, or was refused one: a code or refresh token that was used before is told of here.',
  },
  'oauth.authorize.failure': {
    code: { failure: 'SPOAU006W' },
    fields: OAUTH_GRANT,
    summary: 'A client asked for authorization in a way that is refused, or one that cannot be verified did.',
  },
  'oauth.token.use.failure': {
    code: { failure: 'SPOAU005W' },
    fields: { ...CALLER, resource: 'public' },
    summary: 'An access token was presented that is not valid at that endpoint.',
  },
  'secret.read': {
    code: { success: 'SPSEC001I' },
    fields: { ...NAMED, server_id: 'public', servers: 'public' },
    summary: 'An agent was given a secret of MCP servers that it offers; once for each agent and change of the secret.',
  },
  'app_auth_config.verify.success': {
    code: { success: 'SPAAC001I' },
    fields: { ...CALLER, name: 'public', server: 'public' },
    summary: 'A JWT of another issuer was accepted for an MCP server.',
  },
  'app_auth_config.verify.failure': {
    code: { failure: 'SPAAC001W' },
    fields: { ...CALLER, name: 'public', server: 'public' },
    summary: 'A JWT was presented that no configuration for that MCP server accepts.',
  },
  'upstream_account.connect': {
    code: { success: 'SPUPA001I', failure: 'SPUPA001W' },
    fields: { ...CALLER, server: 'public', resource: 'public', scope: 'public' },
    summary: 'A person signed in to an MCP server with an account there, or an answer to such a sign-in was refused.',
  },
  'upstream_account.disconnect': {
    code: { success: 'SPUPA002I' },
    fields: { ...CALLER, name: 'public', server: 'public' },
    summary: 'Such an account ended; `name` is the user, `reason` says why.',
  },
  'upstream_account.refresh': {
    code: { failure: 'SPUPA003W' },
    fields: { ...CALLER, server: 'public' },
    summary: 'The tokens of such an account could not be renewed any more.',
  },
  'web.request.denied': {
    code: { failure: 'SPWEB001W' },
    fields: { ...CALLER, path: 'sensitive', method: 'public' },
    summary: 'A request came from a page of another site, or sent a form that no page of the cluster gave this browser.',
  },
  'access.denied': {
    code: { failure: 'SPACC001W' },
    fields: { ...CALLER, kind: 'public', name: 'public', verb: 'public', server: 'public', server_id: 'public' },
    summary: 'Somebody asked for something that the roles do not allow.',
  },
  'jwt_key.rotate': {
    code: { success: 'SPKEY001I' },
    fields: { ...CALLER, name: 'public' },
    summary: 'A new key for the JWTs that MCP servers are sent was made.',
  },
  'cluster.start': { code: { success: 'SPCLU001I' }, fields: { ...CALLER, version: 'public' }, summary: 'The Auth Service started.' },
  'cluster.stop': {
    code: { success: 'SPCLU002I' },
    fields: { ...CALLER, version: 'public' },
    summary: 'The Auth Service stopped in good order.',
  },
} as const satisfies Record<string, EventRow>

export type EventType = keyof typeof EVENTS

export function isEventType(word: string): word is EventType {
  return Object.hasOwn(EVENTS, word)
}

export function eventRow(type: EventType): EventRow {
  return EVENTS[type]
}
