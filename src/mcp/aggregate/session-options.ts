import type { Ids } from '../../lib/ids.ts'
import type { Logger } from '../../lib/log.ts'
import type { Health } from './health.ts'
import type { AggregateLimits } from './limits.ts'
import type { Peer } from './peer.ts'
import type { Timers } from '../../lib/timers.ts'

/** What every session is made with. */
export interface SessionOptions {
  ids: Ids
  now: () => number
  timers: Timers
  log: Logger
  limits: AggregateLimits
  health: Health
  /** Other processes may have the same sessions. */
  isShared: boolean
  /** A member said what it is. */
  onOpened: (owner: string, peer: Peer) => void
}
