import type { Duplex } from 'node:stream'
import { AppError, toAppError } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import { serveTunnel } from './agent-tunnel.ts'
import type { AgentTunnel } from './agent-tunnel.ts'
import type { Clock } from './clock.ts'
import type { ExchangeTarget } from './exchange.ts'
import type { TunnelLimits } from './limits.ts'

export interface Backoff {
  firstMs: number
  maxMs: number
  /** A tunnel that lived for so long makes what failed before forgotten. */
  stableMs: number
}

export type TunnelState =
  | { phase: 'connecting' }
  | { phase: 'open' }
  | { phase: 'waiting'; error: AppError | undefined; retryInMs: number }
  | { phase: 'closed' }

export interface KeepTunnelOptions {
  /** A connection to a proxy that was authenticated; heeds the signal. */
  connect(signal: AbortSignal): Promise<Duplex>
  target: ExchangeTarget
  /** Whether this is the proxy that is meant (see `placeOf`); one that is not is left again. Any is, unless given. */
  isMeant?: (place: string | undefined) => boolean
  onState?: (state: TunnelState) => void
  backoff?: Partial<Backoff>
  /** From 0 up to 1, as Math.random. */
  random: () => number
  clock: Clock
  log: Logger
  limits?: Partial<TunnelLimits>
  connectMs?: number
}

export interface KeptTunnel {
  state(): TunnelState
  /** Lets the exchanges under way end, for at most `graceMs`, then cuts. Safe to call twice. */
  close(graceMs?: number): Promise<void>
}

const DEFAULT_BACKOFF: Backoff = { firstMs: 500, maxMs: 30_000, stableMs: 60_000 }
const CONNECT_MS = 30_000
const GRACE_MS = 10_000
/** Tunnels whose proxy wants to be rid of them. A proxy that says so again and again does not make them more. */
const MAX_DRAINING = 4

/** Keeps one tunnel to a proxy open: dials again when it breaks, and dials another while the proxy drains this one. */
export function keepTunnel(options: KeepTunnelOptions): KeptTunnel {
  return new Keeper(options)
}

class Keeper implements KeptTunnel {
  readonly #options: KeepTunnelOptions
  readonly #backoff: Backoff
  readonly #closing = new AbortController()
  /** Those that are open, the oldest first; all but the last are being drained. */
  readonly #tunnels = new Set<AgentTunnel>()
  readonly #running: Promise<void>
  #state: TunnelState = { phase: 'connecting' }
  /** Since a tunnel was stable. */
  #failures = 0

  constructor(options: KeepTunnelOptions) {
    this.#options = options
    this.#backoff = { ...DEFAULT_BACKOFF, ...options.backoff }
    this.#running = this.#run()
  }

  state(): TunnelState {
    return this.#state
  }

  async close(graceMs = GRACE_MS): Promise<void> {
    this.#closing.abort()
    for (const tunnel of this.#tunnels) tunnel.drain()
    const late = Promise.withResolvers<void>()
    const cancel = this.#options.clock.after(graceMs, late.resolve)
    const gone = Promise.all([this.#running, ...[...this.#tunnels].map(({ closed }) => closed)])
    await Promise.race([gone, late.promise])
    cancel()
    for (const tunnel of this.#tunnels) tunnel.close()
    await gone
    this.#enter({ phase: 'closed' })
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing
    while (!signal.aborted) {
      this.#enter({ phase: 'connecting' })
      // Whoever is told may have closed it.
      if (isAborted(signal)) return
      const outcome = await this.#live().catch((thrown: unknown) => ({ error: toAppError(thrown), isDraining: false }))
      if (signal.aborted) return
      this.#failures += 1
      // A proxy that goes away has another one ready, but not again and again.
      if (outcome.isDraining && this.#failures === 1) continue
      await this.#wait(outcome.error)
    }
  }

  /** One tunnel, until it is gone or its proxy wants another. */
  async #live(): Promise<{ error: AppError | undefined; isDraining: boolean }> {
    const { target, clock, log, limits } = this.#options
    const socket = await this.#connect()
    const openedAt = clock.now()
    const tunnel = serveTunnel(socket, target, { clock, log, ...(limits && { limits }) })
    this.#keep(tunnel)
    const stray = await this.#findStray(tunnel)
    if (stray) return { error: stray, isDraining: false }
    this.#enter({ phase: 'open' })
    await settledOr(tunnel.drained, this.#closing.signal)
    if (clock.now() - openedAt >= this.#backoff.stableMs) this.#failures = 0
    return tunnel.isOpen() ? { error: undefined, isDraining: true } : { error: await tunnel.closed, isDraining: false }
  }

  /** Why a tunnel is not to be used: behind a load balancer it may lead to another proxy. */
  async #findStray(tunnel: AgentTunnel): Promise<AppError | undefined> {
    const { isMeant } = this.#options
    if (!isMeant) return undefined
    const place = await tunnel.place
    if (!tunnel.isOpen()) return await tunnel.closed
    if (isMeant(place)) return undefined
    tunnel.drain()
    return new AppError('unavailable', 'another proxy has answered')
  }

  #keep(tunnel: AgentTunnel): void {
    this.#tunnels.add(tunnel)
    void tunnel.closed.then(() => this.#tunnels.delete(tunnel))
    if (this.#closing.signal.aborted) tunnel.drain()
    for (const old of this.#tunnels) {
      if (this.#tunnels.size <= MAX_DRAINING + 1) return
      this.#tunnels.delete(old)
      old.close()
    }
  }

  /** @throws AppError deadline_exceeded, and whatever `connect` throws. */
  async #connect(): Promise<Duplex> {
    const { connect, clock, connectMs = CONNECT_MS } = this.#options
    const trying = new AbortController()
    const late = Promise.withResolvers<never>()
    const give = (error: AppError): void => {
      late.reject(error)
      trying.abort(error)
    }
    const onClosing = (): void => give(new AppError('cancelled', 'the tunnel is being closed'))
    this.#closing.signal.addEventListener('abort', onClosing, { once: true })
    const cancel = clock.after(connectMs, () => give(new AppError('deadline_exceeded', `no connection within ${connectMs / 1000} s`)))
    const connecting = (async () => connect(trying.signal))()
    try {
      return await Promise.race([connecting, late.promise])
    } catch (thrown) {
      // It may come in spite of the signal.
      connecting.then(
        (socket) => socket.destroy(),
        () => undefined,
      )
      throw thrown
    } finally {
      cancel()
      this.#closing.signal.removeEventListener('abort', onClosing)
    }
  }

  /** Longer after each failure, and never the same for two agents, so that they do not come back all at once. */
  async #wait(error: AppError | undefined): Promise<void> {
    const { clock, random, log } = this.#options
    const { firstMs, maxMs } = this.#backoff
    const most = Math.min(maxMs, firstMs * 2 ** Math.min(this.#failures - 1, 20))
    const retryInMs = Math.round(most * (0.5 + random() / 2))
    this.#enter({ phase: 'waiting', error, retryInMs })
    log.warn('no tunnel to the proxy', { error, retry_in_ms: retryInMs })
    const over = Promise.withResolvers<void>()
    const cancel = clock.after(retryInMs, over.resolve)
    await settledOr(over.promise, this.#closing.signal)
    cancel()
  }

  #enter(state: TunnelState): void {
    this.#state = state
    this.#options.onState?.(state)
  }
}

/** The compiler takes it for what it was a line before. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted
}

/** Resolves when the promise has settled or the signal fires. */
function settledOr(promise: Promise<unknown>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const finish = (): void => {
      signal.removeEventListener('abort', finish)
      resolve()
    }
    if (signal.aborted) return resolve()
    signal.addEventListener('abort', finish)
    promise.then(finish, finish)
  })
}
