import type { AppError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import type { AuditOptions } from '../../mcp/recorder.ts'
import { recordRefusal } from '../../mcp/refusal.ts'
import type { App } from '../../resources/app.ts'
import type { Exchange } from '../../tunnel/exchange.ts'
import { Locked, Outdated } from './callers.ts'

/** Anybody can send text that looks like an assertion: more events than that would let strangers fill the audit log. */
const MAX_STRANGERS_PER_MINUTE = 120
const MINUTE_MS = 60_000

/** Records requests that no MCP server of this agent was asked for, since the caller or the server is not known. */
export class Refusals {
  readonly #audit: AuditOptions
  readonly #log: Logger
  #minute = 0
  #strangers = 0

  constructor(audit: AuditOptions, log: Logger) {
    this.#audit = audit
    this.#log = log
  }

  /** Resolves when the event is written, or when the log says that it could not be. */
  async record(exchange: Exchange, app: App | undefined, error: AppError): Promise<void> {
    const { server } = exchange
    if (error.code === 'internal') this.#log.error('request failed', { server, error })
    const identity = error instanceof Locked || error instanceof Outdated ? error.identity : undefined
    if (!identity && !this.#hasRoom()) return
    const by =
      error instanceof Locked ? { decision: { allow: false as const, kind: 'lock' as const, reason: error.message, by: null } } : {}
    try {
      await recordRefusal(this.#audit, { exchange, server, app, identity, error, ...by })
    } catch (thrown) {
      // The refusal stands, and its event waits in memory for the journal.
      this.#log.warn('a refusal could not be written to the audit journal', { server, error: String(thrown) })
    }
  }

  #hasRoom(): boolean {
    const minute = Math.floor(this.#audit.monotonic() / MINUTE_MS)
    if (minute !== this.#minute) {
      const more = this.#strangers - MAX_STRANGERS_PER_MINUTE
      if (more > 0) this.#log.warn('refusals of unknown callers that were not recorded', { count: more })
      this.#minute = minute
      this.#strangers = 0
    }
    this.#strangers += 1
    return this.#strangers <= MAX_STRANGERS_PER_MINUTE
  }
}
