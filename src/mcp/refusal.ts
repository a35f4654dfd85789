import type { Denied } from '../access/decision.ts'
import { buildEvent, calledTool } from '../audit/build-event.ts'
import type { EventFields } from '../audit/event.ts'
import { AppError } from '../lib/errors.ts'
import type { HttpExchange } from '../lib/http-exchange.ts'
import type { App } from '../resources/app.ts'
import type { Identity } from '../resources/identity.ts'
import { type ClientMessage, readClientMessages } from './message.ts'
import { type AuditOptions, identityFields, messageFields } from './recorder.ts'

/** What was refused before any MCP session could record it. */
export interface Refused {
  exchange: Pick<HttpExchange, 'method' | 'body' | 'remoteAddress'>
  /** As the client named it. */
  server: string
  /** Undefined when no such server is served. */
  app: App | undefined
  /** Undefined when the caller could not be verified. */
  identity: Identity | undefined
  error: AppError
  /** When roles refused. */
  decision?: Denied | undefined
}

const MAX_BODY = 64 * 1024
const MAX_EXCERPT = 1024

/**
 * One event for a request that was refused: of its message (code TMCP003E, TMCP004E) when the body has one that can be read, else of the
 * HTTP request (TMCP006E) with the beginning of its body, redacted. An error with the detail `outdated` is no failure of the caller's: clients
 * begin again by themselves, as the specification has it (404, Streamable HTTP), and have their answer (SPMCP001I).
 * Resolves when it is in the journal.
 * @throws AppError when the journal cannot be written.
 */
export async function recordRefusal(audit: AuditOptions, { exchange, server, app, identity, error, decision }: Refused): Promise<void> {
  const isOutdated = error.details?.['outdated'] === true
  if (app && !isOutdated) audit.metrics?.of(app.metadata.name).denied(decision?.kind ?? error.code)
  const denial = decision && { decision: { allow: false, by: decision.by, kind: decision.kind, reason: decision.reason } }
  const request: EventFields = {
    server,
    ...(app && { app_uri: app.spec.uri }),
    remote_addr: exchange.remoteAddress,
    ...(identity && identityFields(identity)),
  }
  const reason = error.message.slice(0, 500)
  const fields: EventFields = { ...request, success: false, error: reason, ...denial }
  const message = exchange.method === 'POST' ? findMessage(exchange.body) : undefined
  const asks = message && message.kind !== 'response' ? message : undefined
  if (isOutdated) {
    const asked = asks ? withoutParams(messageFields(asks)) : httpFacts(exchange, server)
    audit.spool.point(buildEvent('mcp.session.begin_again', { ...request, ...asked, reason }, audit))
  } else if (asks) {
    const type = asks.kind === 'notification' ? 'mcp.session.notification' : 'mcp.session.request'
    audit.spool.point(buildEvent(type, { ...fields, ...messageFields(asks) }, audit))
  } else {
    const facts = { ...httpFacts(exchange, server), ...(exchange.body.length > 0 && { body: excerptOf(exchange.body) }) }
    audit.spool.point(buildEvent('mcp.session.invalid_http_request', { ...fields, ...facts }, audit))
  }
  await audit.spool.flushed()
}

/** They stand in the event of the request that is made anew. */
function withoutParams({ message }: Pick<EventFields, 'message'>): Pick<EventFields, 'message' | 'tool'> {
  const tool = calledTool(message)
  return { message: { ...message, params: undefined }, ...(tool !== undefined && { tool }) }
}

function httpFacts({ method }: Refused['exchange'], server: string): { path: string; method: string } {
  return { path: `/mcp/apps/${server}`, method }
}

function findMessage(body: Buffer): ClientMessage | undefined {
  try {
    const { batch, messages } = readClientMessages(body)
    return batch ? undefined : messages[0]
  } catch (thrown) {
    if (thrown instanceof AppError) return undefined
    throw thrown
  }
}

/** As a value when it is JSON, so that what stands under the name of a secret is found; only its beginning when it is not. */
function excerptOf(body: Buffer): unknown {
  const text = body.toString('utf8', 0, MAX_BODY)
  if (body.length <= MAX_BODY) {
    try {
      return JSON.parse(text)
    } catch {
      // Not JSON: what was sent instead is what is to be seen.
    }
  }
  return text.slice(0, MAX_EXCERPT)
}
