import type { Allowed, Denied } from '../access/decision.ts'
import { type BuildOptions, buildEvent } from '../audit/build-event.ts'
import { type EventFields, renderRequestId } from '../audit/event.ts'
import { RequestRecords } from '../audit/request-records.ts'
import type { OpenRecord } from '../audit/journal-writer.ts'
import type { Recording } from '../audit/spool.ts'
import type { Origin } from '../lib/errors.ts'
import { type App, transportOf } from '../resources/app.ts'
import { botNameOf } from '../resources/bot.ts'
import type { Identity } from '../resources/identity.ts'
import { type ClientMessage, type Fields, fieldsOf, parseId } from './message.ts'
import { findMethod } from './methods.ts'
import type { CallOutcome, McpMetrics, ServerMetrics } from './metrics.ts'

export interface AuditOptions extends BuildOptions {
  spool: Recording
  /** Milliseconds of a clock that nobody sets; measures how long things take. */
  monotonic: () => number
  ids: { uuidv7(): string; token(bytes?: number): string }
  metrics?: McpMetrics | undefined
}

/** A request on its way: recorded as begun, to be ended once. */
export interface Begun {
  open: OpenRecord
  startedAt: number
  /** Resolves when that is written; rejects when it cannot be, and then it must not be sent. */
  written: Promise<void>
}

/** How a request ended, as far as the gateway read the answer. */
export interface Ending {
  error?: string | undefined
  /** Size of the answer in bytes. */
  bytes: number
  /** The `result` of the answer, where it was small enough to be read. */
  result?: unknown
  /** Absent when no answer came that could be read. */
  outcome?: CallOutcome
  /** Whose error it is, where it is known. */
  origin?: Origin | undefined
}

const MAX_ERROR = 500
const RECORDED = Promise.resolve()

/**
 * Writes the audit events of one MCP session. Every method records at once and gives a promise that settles when the record is written,
 * together with all others of its turn of the event loop: nothing leaves the gateway before.
 */
export class Recorder {
  readonly #audit: AuditOptions
  readonly #session: EventFields
  readonly #requests: RequestRecords
  /** Index 0 is kept for the start of the session, which is written once the server has said who it is. */
  #next = 1
  #isStarted = false
  readonly #openedAt: number
  readonly #egressAuthType: string
  readonly #metrics: ServerMetrics | undefined

  constructor(audit: AuditOptions, sid: string, app: App, identity: Identity, remoteAddress: string) {
    this.#audit = audit
    this.#openedAt = audit.monotonic()
    this.#metrics = audit.metrics?.of(app.metadata.name)
    this.#egressAuthType = egressAuthTypeOf(app)
    this.#session = { sid, server: app.metadata.name, app_uri: app.spec.uri, remote_addr: remoteAddress, ...identityFields(identity) }
    this.#requests = new RequestRecords(this.#session, audit)
  }

  sessionStart(facts: Pick<EventFields, 'client_info' | 'server_info' | 'protocol_version' | 'mcp_session_id'>): Promise<void> {
    this.#isStarted = true
    this.#metrics?.opened()
    const egress_auth_type = this.#egressAuthType
    return this.#point(buildEvent('mcp.session.start', { ...this.#session, ...facts, egress_auth_type, success: true, ei: 0 }, this.#audit))
  }

  /** Nothing when the session never began: its failed `initialize` tells that already. */
  async sessionEnd(reason: string | undefined): Promise<void> {
    if (!this.#isStarted) return
    this.#metrics?.closed()
    const fields = { ...this.#session, success: reason === undefined, latency_ms: this.#since(this.#openedAt), ei: this.#next++ }
    await this.#point(buildEvent('mcp.session.end', reason === undefined ? fields : { ...fields, reason }, this.#audit))
  }

  /**
   * Before the request leaves. Undefined when its kind is only recorded on failure; a method without a row is always recorded.
   * @throws AppError when the journal takes no more; the request must not be sent then.
   */
  begin(message: ClientMessage, decision: Allowed): Begun | undefined {
    if (findMethod(message.method)?.audit === 'on-error') return undefined
    const { spool, monotonic } = this.#audit
    const { uid, text } = this.#requests.start(messageFields(message).message, { allow: true, by: decision.by }, this.#next++)
    const open = spool.start(uid, text)
    return { open, startedAt: monotonic(), written: spool.flushed() }
  }

  /** What begins could not be written, so it was not sent. */
  unsent(begun: Begun | undefined): void {
    const error = 'not sent: the audit journal could not be written'
    if (begun) this.#audit.spool.end(begun.open, this.#requests.end({ success: false, error }))
  }

  /** Before the answer leaves. */
  finish(message: ClientMessage, begun: Begun | undefined, ending: Ending): Promise<void> {
    this.#count(message, begun, ending)
    const { error, bytes, result } = ending
    const fields = { success: error === undefined, result_bytes: bytes, error: error?.slice(0, MAX_ERROR) }
    if (begun) {
      const { spool } = this.#audit
      spool.end(begun.open, this.#requests.end({ ...fields, latency_ms: this.#since(begun.startedAt), answer: result }))
      return spool.flushed()
    }
    return error === undefined
      ? RECORDED
      : this.#point(buildEvent('mcp.session.request', { ...this.#request(message), ...fields }, this.#audit))
  }

  denied(message: ClientMessage, decision: Denied): Promise<void> {
    const { by, kind, reason } = decision
    this.#metrics?.denied(kind)
    const type = message.kind === 'notification' ? 'mcp.session.notification' : 'mcp.session.request'
    const facts = { success: false, error: reason, decision: { allow: false, by, kind, reason } }
    return this.#point(buildEvent(type, { ...this.#request(message), ...facts }, this.#audit))
  }

  notification(message: ClientMessage): Promise<void> {
    return this.#point(buildEvent('mcp.session.notification', { ...this.#request(message), success: true }, this.#audit))
  }

  listen(error?: string): Promise<void> {
    const failure = error === undefined ? {} : { error: error.slice(0, MAX_ERROR) }
    return this.#point(
      buildEvent(
        'mcp.session.listen_sse_stream',
        { ...this.#session, success: error === undefined, ...failure, ei: this.#next++ },
        this.#audit,
      ),
    )
  }

  /** A request of a batch that was not sent because of another one. */
  notSent(message: ClientMessage, error: string): Promise<void> {
    return this.#point(buildEvent('mcp.session.request', { ...this.#request(message), success: false, error }, this.#audit))
  }

  #count({ method }: ClientMessage, begun: Begun | undefined, { outcome, error, bytes, origin }: Ending): void {
    const seconds = begun && (this.#audit.monotonic() - begun.startedAt) / 1000
    this.#metrics?.ended(method, outcome ?? (error === undefined ? 'success' : 'unanswered'), bytes, seconds, origin)
  }

  #request(message: ClientMessage) {
    return { ...this.#session, ...messageFields(message), ei: this.#next++ }
  }

  /** Milliseconds, to the microsecond. */
  #since(start: number): number {
    return Math.round((this.#audit.monotonic() - start) * 1000) / 1000
  }

  async #point(event: ReturnType<typeof buildEvent>): Promise<void> {
    this.#audit.spool.point(event)
    await this.#audit.spool.flushed()
  }
}

/** The message as events show it. */
export function messageFields(message: ClientMessage): Pick<EventFields, 'message'> {
  const { id, method, params } = message
  return { message: { jsonrpc: '2.0', method, ...(id !== undefined && { id: renderRawId(id) }), params } }
}

/** @param raw JSON text of an id, which mostly is a whole number. */
function renderRawId(raw: string): string {
  return /^(?:0|[1-9]\d{0,14})$/.test(raw) ? `int64:${raw}` : renderRequestId(parseId(raw))
}

/** The caller as every event names it. */
export function identityFields(identity: Identity): EventFields {
  return {
    user: identity.name,
    user_kind: identity.kind === 'bot' ? 2 : 1,
    user_roles: identity.roles,
    credential: { kind: identity.credential, id: identity.credentialId },
    ...(identity.mfaVerified && { with_mfa: 'yes' }),
    ...(identity.botInstanceId !== undefined && { bot_instance_id: identity.botInstanceId }),
    ...(identity.joinToken !== undefined && { join_token: identity.joinToken }),
    ...(identity.joinMethod !== undefined && { join_method: identity.joinMethod }),
    ...(identity.kind === 'bot' && { bot_name: botNameOf(identity.name) }),
    ...(identity.accessRequests !== undefined && { access_requests: identity.accessRequests }),
  }
}

/** What an answer says about itself: its error, or the error that a tool reported in its result. */
export function readEnding(response: Fields | undefined, bytes: number): Ending {
  const error = fieldsOf(response?.['error'])
  if (error) return { bytes, error: `${shown(error['code'])}: ${shown(error['message'])}`, outcome: 'rpc_error', origin: 'upstream' }
  const result = response?.['result']
  return fieldsOf(result)?.['isError'] === true
    ? { bytes, result, error: 'the tool reported an error', outcome: 'tool_error' }
    : { bytes, result, outcome: 'success' }
}

/** Of a value that may be anything: an object has no text that it could not make up, or refuse. */
function shown(value: unknown): string {
  if (typeof value === 'object' && value !== null) return JSON.isRawJSON(value) ? JSON.stringify(value) : 'an object'
  return String(value)
}

/** What the server is shown to believe the gateway, in the words of Teleport's log. */
function egressAuthTypeOf(app: App): string {
  const header = app.spec.rewrite?.headers?.findLast(({ name }) => name.toLowerCase() === 'authorization')
  if (transportOf(app) === 'stdio' || !header) return 'unknown'
  if (/\{\{\s*internal\.jwt\s*\}\}/.test(header.value)) return 'app-jwt'
  return /\{\{\s*internal\.id_token\s*\}\}/.test(header.value) ? 'app-id-token' : 'app-defined'
}
