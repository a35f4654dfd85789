import { type Health, MAX_STDERR_CHARS, MAX_STDERR_LINES } from '../../resources/app-server.ts'

export interface HealthOptions {
  /** Milliseconds since 1970. */
  now: () => number
  /** From 0 to 1. */
  random: () => number
}

/** After so many failures in a row a server counts as failing; when the agent's own checks fail so often, it is started again only after a while. */
const MANY = 3
const FIRST_WAIT_MS = 1000
const MAX_WAIT_MS = 5 * 60_000
const MAX_REASON = 1024

/** How one MCP server does, by what became of the sessions with it. */
export class HealthRecord {
  readonly #options: HealthOptions
  readonly #listeners = new Set<() => void>()
  #state: Health['state'] = 'unknown'
  #since: number
  #reason: string | undefined
  #failures = 0
  #failedChecks = 0
  #restarts = 0
  #waitUntil = 0

  constructor(options: HealthOptions) {
    this.#options = options
    this.#since = options.now()
  }

  /** It answered a handshake, or listed its tools. */
  succeeded(): void {
    this.#failures = 0
    this.#failedChecks = 0
    this.#waitUntil = 0
    this.#become('healthy', undefined)
  }

  /**
   * @param reason without secrets.
   * @param isCheck whether the agent itself asked: only then it is left alone for a while. What fails with a client may be the client's doing,
   * and nobody may keep a server from all others by failing with it.
   */
  failed(reason: string, isCheck = false): void {
    this.#failures += 1
    if (isCheck) this.#failedChecks += 1
    if (isCheck && this.#failedChecks >= MANY) {
      const waitMs = Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(this.#failedChecks - MANY, 20))
      // Several agents, or servers, that failed together do not try again together.
      this.#waitUntil = this.#options.now() + waitMs * (0.75 + this.#options.random() / 2)
    }
    const isNew = this.#state === 'healthy' || this.#state === 'degraded'
    this.#become(isNew && this.#failures < MANY ? 'degraded' : 'failing', reason.slice(0, MAX_REASON))
  }

  /** A process ended unasked. */
  crashed(reason: string, isCheck = false): void {
    this.#restarts += 1
    this.failed(reason, isCheck)
  }

  /** Milliseconds until it may be started again, 0 for at once. */
  waitMs(): number {
    return Math.max(0, this.#waitUntil - this.#options.now())
  }

  get failures(): number {
    return this.#failures
  }

  get reason(): string | undefined {
    return this.#reason
  }

  /** @param stderr its last lines, oldest first. */
  current(stderr: readonly string[]): Health {
    const lines = this.#state === 'healthy' ? [] : lastLines(stderr)
    return {
      state: this.#state,
      since: new Date(this.#since).toISOString(),
      ...(this.#reason !== undefined && { reason: this.#reason }),
      failures: this.#failures,
      restarts: this.#restarts,
      ...(lines.length > 0 && { stderr: lines }),
    }
  }

  /** Told after each change of state or reason, and after each failure. */
  subscribe(listener: () => void): void {
    this.#listeners.add(listener)
  }

  #become(state: Health['state'], reason: string | undefined): void {
    const isSame = state === this.#state && reason === this.#reason && state === 'healthy'
    if (state !== this.#state) this.#since = this.#options.now()
    this.#state = state
    this.#reason = reason
    if (!isSame) for (const listener of this.#listeners) listener()
  }
}

function lastLines(stderr: readonly string[]): string[] {
  const lines: string[] = []
  let room = MAX_STDERR_CHARS
  for (const line of stderr.slice(-MAX_STDERR_LINES).toReversed()) {
    room -= line.length
    if (room < 0) break
    lines.unshift(line)
  }
  return lines
}
