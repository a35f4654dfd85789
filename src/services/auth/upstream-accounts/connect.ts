import { createHash } from 'node:crypto'
import { z } from 'zod'
import { buildEvent } from '../../../audit/build-event.ts'
import { AppError } from '../../../lib/errors.ts'
import type { App } from '../../../resources/app.ts'
import { takeUpstreamRecord, upsertUpstreamRecord } from '../../../storage/upstream-records.ts'
import type { AuthContext, Caller } from '../context.ts'
import { callerFields } from '../event-fields.ts'
import { clientSchema, getOwnClient, redirectUri } from './clients.ts'
import { type AccountFetch, discoverSignIn } from './discovery.ts'
import { saveGrant, withTokens } from './grants.ts'
import { openDocument, sealDocument } from './sealed-documents.ts'
import { askForTokens } from './token-endpoint.ts'

const FLOW_MS = 10 * 60_000

/** What is remembered of a sign-in under way, before the browser leaves (RFC 9700 section 4.4). */
const flowSchema = z.object({
  uri: z.string(),
  resource: z.string(),
  issuer: z.string(),
  saysIssuer: z.boolean(),
  tokenEndpoint: z.string(),
  client: clientSchema,
  verifier: z.string(),
  redirectUri: z.string(),
  scope: z.string(),
})

/** A person at our page. */
export interface Person {
  user: string
  account: string
  remoteAddress: string
}

/** Begins a sign-in at an MCP server; the URL where the person goes on. */
export async function beginSignIn(context: AuthContext, app: App, person: Person, fetch: AccountFetch): Promise<string> {
  const { name } = app.metadata
  const place = await discoverSignIn(app, fetch)
  const client = await getOwnClient(context, app, place, fetch)
  const state = random(context)
  const verifier = random(context)
  const redirect = redirectUri(context, name)
  const { resource, issuer, saysIssuer, tokenEndpoint, scope } = place
  const flow = { uri: app.spec.uri, resource, issuer, saysIssuer, tokenEndpoint, client, verifier, redirectUri: redirect, scope }
  const key = { kind: 'flow', id: hashOf(state) } as const
  const now = context.now()
  const record = { ...key, account: person.account, app: name, document: sealDocument(context, key, flow) }
  await upsertUpstreamRecord(context.db, { ...record, created_at: now, expires_at: now + FLOW_MS })
  const url = new URL(place.authorizationEndpoint)
  const parameters = {
    response_type: 'code',
    client_id: client.id,
    redirect_uri: redirect,
    state,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    resource,
    ...(scope !== '' && { scope }),
    // Some give refresh tokens only to who is asked again.
    ...(scope.split(' ').includes('offline_access') && { prompt: 'consent' }),
  }
  for (const [parameter, value] of Object.entries(parameters)) url.searchParams.set(parameter, value)
  return url.href
}

/**
 * The answer of an authorization server, as the browser brings it. It counts once, for the person who began it, at the app it was begun for, and
 * when it is from the issuer that was asked (RFC 9207). Throws `not_found`, `permission_denied`, `failed_precondition` or as the token endpoint.
 */
export async function finishSignIn(
  context: AuthContext,
  app: App,
  person: Person,
  answer: URLSearchParams,
  fetch: AccountFetch,
): Promise<void> {
  const caller = { identity: undefined, remoteAddress: person.remoteAddress }
  try {
    await finish(context, app, person, answer, fetch, caller)
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.code === 'internal') throw thrown
    const event = { ...callerFields(caller), user: person.user, success: false, server: app.metadata.name, error: thrown.message }
    await context.journal.record([buildEvent('upstream_account.connect', event, context.build)])
    throw thrown
  }
}

async function finish(
  context: AuthContext,
  app: App,
  person: Person,
  answer: URLSearchParams,
  fetch: AccountFetch,
  caller: Caller,
): Promise<void> {
  const record = await takeUpstreamRecord(context.db, 'flow', hashOf(single(answer, 'state') ?? ''))
  if (!record || (record.expires_at ?? 0) <= context.now())
    throw new AppError('not_found', 'this sign-in was used already or has expired: begin again')
  if (record.account !== person.account || record.app !== app.metadata.name)
    throw new AppError('permission_denied', 'this sign-in was begun by somebody else, or for another MCP server: begin again')
  const flow = flowSchema.parse(openDocument(context, record))
  const issuer = single(answer, 'iss')
  // What else such an answer says is not to be shown: it may be of somebody who was not asked.
  if (issuer === undefined ? flow.saysIssuer : issuer !== flow.issuer)
    throw new AppError('permission_denied', 'the answer is not from the authorization server that was asked: begin again')
  const error = single(answer, 'error')
  if (error !== undefined)
    throw new AppError('failed_precondition', `${flow.issuer} refused: ${/^[a-z_]{1,64}$/.test(error) ? error : 'without a reason'}`)
  const code = single(answer, 'code')
  if (code === undefined || code.length > 8192) throw new AppError('invalid_argument', 'the answer has no code: begin again')
  if (flow.uri !== app.spec.uri) throw new AppError('aborted', 'the MCP server was changed meanwhile: begin again')
  const { resource, client, verifier, redirectUri: redirect_uri, tokenEndpoint } = flow
  const parameters = { grant_type: 'authorization_code', code, redirect_uri, code_verifier: verifier, resource }
  const tokens = await askForTokens(context, app, { issuer: flow.issuer, tokenEndpoint, client }, parameters, fetch)
  const base = { uri: flow.uri, resource, issuer: flow.issuer, tokenEndpoint, client, scope: flow.scope }
  await saveGrant(context, caller, person.user, person.account, app, withTokens(base, tokens))
}

/** A parameter given twice is none. */
function single(answer: URLSearchParams, name: string): string | undefined {
  const values = answer.getAll(name)
  return values.length === 1 ? values[0] : undefined
}

function random(context: AuthContext): string {
  return Buffer.from(context.random(32)).toString('base64url')
}

function hashOf(state: string): string {
  return createHash('sha256').update(state).digest('hex')
}
