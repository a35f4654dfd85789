import { toAppError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import type { Outgoing, Upstream, UpstreamHealth, UpstreamSession } from '../../mcp/upstream/upstream.ts'
import { type App, isDemo, transportOf } from '../../resources/app.ts'

export interface HealthChecksOptions {
  log: Logger
  /** For one check, the start of a slow program included. */
  deadlineMs?: number
}

const DEADLINE_MS = 60_000

interface Watched {
  app: App
  upstream: Upstream
  health: UpstreamHealth
  timer: NodeJS.Timeout | undefined
}

/**
 * Asks stdio servers whether they work, as a client would: `initialize`, then `tools/list`. Shared ones when they are registered; all of them after a
 * failure, again and again until they answer, less and less often. One at a time, and never where the app says `health_check: off`.
 */
export class HealthChecks {
  readonly #options: HealthChecksOptions
  readonly #watched = new Map<string, Watched>()
  readonly #due = new Set<Watched>()
  #running: Promise<void> | undefined
  #closing = new AbortController()

  constructor(options: HealthChecksOptions) {
    this.#options = options
  }

  /** Returns at once: nothing waits for a check. */
  watch(app: App, upstream: Upstream): void {
    const { health } = upstream
    const { health_check: wanted, lifecycle } = app.spec.mcp ?? {}
    if (!health || wanted === 'off' || isDemo(app) || transportOf(app) !== 'stdio') return
    const watched: Watched = { app, upstream, health, timer: undefined }
    this.#watched.set(app.metadata.name, watched)
    health.subscribe(() => this.#onChange(watched))
    if (wanted === 'on' || lifecycle === 'shared') this.#enqueue(watched)
  }

  forget(name: string): void {
    const watched = this.#watched.get(name)
    if (!watched) return
    clearTimeout(watched.timer)
    this.#watched.delete(name)
    this.#due.delete(watched)
  }

  async close(): Promise<void> {
    for (const name of this.#watched.keys()) this.forget(name)
    this.#closing.abort()
    await this.#running
  }

  #onChange(watched: Watched): void {
    const isBad = watched.health.current().failures > 0
    if (!isBad || watched.timer || this.#due.has(watched) || !this.#isWatched(watched)) return
    watched.timer = setTimeout(() => {
      watched.timer = undefined
      if (watched.health.current().failures > 0) this.#enqueue(watched)
    }, watched.health.waitMs()).unref()
  }

  #isWatched(watched: Watched): boolean {
    return this.#watched.get(watched.app.metadata.name) === watched
  }

  #enqueue(watched: Watched): void {
    if (!this.#isWatched(watched)) return
    this.#due.add(watched)
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
      const [next] = this.#due
      if (next) this.#enqueue(next)
    })
  }

  async #run(): Promise<void> {
    for (const watched of this.#due) {
      await this.#check(watched)
      this.#due.delete(watched)
      this.#onChange(watched)
    }
  }

  /** Never rejects. What the server does wrong is noted where its sessions are watched. */
  async #check({ app, upstream, health }: Watched): Promise<void> {
    const { log, deadlineMs = DEADLINE_MS } = this.#options
    const server = app.metadata.name
    const deadline = AbortSignal.timeout(deadlineMs)
    const signal = AbortSignal.any([deadline, this.#closing.signal])
    let session: UpstreamSession | undefined
    try {
      session = await upstream.open({ era: 'legacy', purpose: 'health_check', headers: {}, caller: CALLER })
      for (const message of HANDSHAKE) await session.send(message, signal)
      log.debug('an MCP server was checked', { server, state: health.current().state })
    } catch (thrown) {
      if (deadline.aborted && !this.#closing.signal.aborted) health.note(`did not answer within ${Math.round(deadlineMs / 1000)} s`)
      log.debug('a check of an MCP server failed', { server, error: toAppError(thrown).message })
    }
    await session
      ?.close()
      .catch((error: unknown) => log.debug('a checked MCP server did not close cleanly', { server, error: String(error) }))
  }
}

const CALLER = { name: 'health check', kind: 'host', roles: [] }

/** What a client of MCP 2025-11-25 says first; servers of other revisions are spoken to by translation. */
const HANDSHAKE: readonly Outgoing[] = [
  ask('"health-1"', 'initialize', '{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"sallyport","version":"1"}}'),
  {
    kind: 'notification',
    bytes: Buffer.from('{"jsonrpc":"2.0","method":"notifications/initialized"}'),
    id: undefined,
    method: 'notifications/initialized',
    progressToken: undefined,
    headers: {},
    whole: false,
  },
  ask('"health-2"', 'tools/list', '{}'),
]

function ask(id: string, method: string, params: string): Outgoing {
  const bytes = Buffer.from(`{"jsonrpc":"2.0","id":${id},"method":"${method}","params":${params}}`)
  return { kind: 'request', bytes, id, method, progressToken: undefined, headers: {}, whole: true }
}
