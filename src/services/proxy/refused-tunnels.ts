import { buildEvent } from '../../audit/build-event.ts'
import { saveEvents } from '../../client/audit.ts'
import type { ApiClient } from '../../client/call.ts'
import type { Ids } from '../../lib/ids.ts'
import type { Logger } from '../../lib/log.ts'
import type { Redactor } from '../../lib/redact.ts'

export interface RefusedTunnel {
  remoteAddress: string
  reason: string
  /** Of a certificate of the cluster; who has none could say any. */
  hostId: string | undefined
}

export interface RefusedTunnelsOptions {
  /** That may create events. */
  api: ApiClient
  clusterName: string
  ids: Ids
  redactor: Redactor
  /** Milliseconds since 1970. */
  now: () => number
  log: Logger
}

/** Whoever is refused tries again, and anybody may try: one says enough. */
const AGAIN_MS = 10 * 60_000
const MAX_PER_MINUTE = 60
const MINUTE_MS = 60_000
const MAX_KEPT = 1000

/** Has refused tunnels written into the audit log: of one host, or of one address without a certificate, one for each reason in ten minutes. */
export class RefusedTunnels {
  readonly #options: RefusedTunnelsOptions
  /** What was told of → when. */
  readonly #told = new Map<string, number>()
  #minute = 0
  #count = 0
  #telling: Promise<void> = Promise.resolve()

  constructor(options: RefusedTunnelsOptions) {
    this.#options = options
  }

  /** Returns at once. */
  note(refused: RefusedTunnel): void {
    if (!this.#isNews(refused)) return
    const { api, clusterName: cluster, ids, redactor, now, log } = this.#options
    const { remoteAddress, reason, hostId } = refused
    const event = buildEvent(
      'access.denied',
      {
        ...(hostId !== undefined && { user: hostId, server_id: hostId }),
        remote_addr: remoteAddress,
        kind: 'tunnel',
        verb: 'create',
        success: false,
        error: reason,
      },
      { ids, now, cluster, redactor },
    )
    this.#telling = this.#telling
      .then(() => saveEvents(api, [event]))
      .catch((thrown: unknown) => log.warn('a refused tunnel could not be written to the audit log', { error: String(thrown) }))
  }

  /** Settles when all was written, or the log says that it was not. */
  async close(): Promise<void> {
    await this.#telling
  }

  #isNews({ remoteAddress, reason, hostId }: RefusedTunnel): boolean {
    const now = this.#options.now()
    const key = `${hostId ?? remoteAddress} ${reason}`
    const before = this.#told.get(key)
    if (before !== undefined && now - before < AGAIN_MS) return false
    const minute = Math.floor(now / MINUTE_MS)
    if (minute !== this.#minute) {
      this.#minute = minute
      this.#count = 0
    }
    this.#count += 1
    if (this.#count > MAX_PER_MINUTE) return false
    this.#told.delete(key)
    this.#told.set(key, now)
    for (const oldest of this.#told.keys()) {
      if (this.#told.size <= MAX_KEPT) break
      this.#told.delete(oldest)
    }
    return true
  }
}
