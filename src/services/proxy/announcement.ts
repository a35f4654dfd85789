import type { ApiClient } from '../../client/call.ts'
import { type ProxyFacts, removeProxy, saveProxy } from '../../client/proxies.ts'
import type { Logger } from '../../lib/log.ts'
import type { Timers } from '../../lib/timers.ts'

export interface AnnouncementOptions extends Timers {
  api: ApiClient
  facts: Omit<ProxyFacts, 'expires'>
  /** Milliseconds since 1970. */
  now: () => number
  log: Logger
}

const PERIOD_MS = 10_000
/** Missing five of them, or a clock that is so late, takes a proxy off the list that agents dial, and what was in its process is taken for gone. */
const LIFETIME_MS = 60_000

/** Tells the cluster of this proxy, again and again, until it is closed. */
export interface Announcement {
  /** Settles when it was told for the first time, or that failed; never rejects. */
  told: Promise<void>
  /** Takes it back. Never rejects. */
  close(): Promise<void>
}

export function announceProxy({ api, facts, now, after, log }: AnnouncementOptions): Announcement {
  let isClosed = false
  let cancel = (): void => {}
  let telling = Promise.resolve()
  const tell = (): Promise<void> => {
    telling = saveProxy(api, { ...facts, expires: new Date(now() + LIFETIME_MS).toISOString() })
      .catch((thrown: unknown) => log.warn('the cluster could not be told of this proxy: trying again', { error: String(thrown) }))
      .then(() => {
        if (!isClosed) cancel = after(PERIOD_MS, () => void tell())
      })
    return telling
  }
  return {
    told: tell(),
    close: async () => {
      if (isClosed) return
      isClosed = true
      cancel()
      await telling
      await removeProxy(api, facts.hostId).catch((thrown: unknown) =>
        log.warn('the announcement of this proxy could not be taken back: it expires', { error: String(thrown) }),
      )
    },
  }
}
