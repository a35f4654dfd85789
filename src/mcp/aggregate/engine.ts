import type { Ids } from '../../lib/ids.ts'
import type { Logger } from '../../lib/log.ts'
import type { Fields } from '../message.ts'
import type { Sealer } from '../sealed.ts'
import type { Catalogue } from './catalogue.ts'
import type { Commons } from './commons.ts'
import type { Health } from './health.ts'
import type { Introductions } from './introductions.ts'
import type { AggregateLimits } from './limits.ts'
import type { Listens } from './listens.ts'
import type { Load } from './load.ts'
import type { Offered } from './offered.ts'
import type { Openings } from './openings.ts'
import type { Sessions } from './sessions.ts'
import type { Timers } from '../../lib/timers.ts'

/** What the requests of all clients share. */
export interface Engine {
  /** Who we are, in answers. */
  serverInfo: Fields
  now: () => number
  timers: Timers
  ids: Ids
  log: Logger
  limits: AggregateLimits
  sealer: Sealer
  health: Health
  load: Load
  catalogue: Catalogue
  introductions: Introductions
  offered: Offered
  openings: Openings
  sessions: Sessions
  commons: Commons
  listens: Listens
}
