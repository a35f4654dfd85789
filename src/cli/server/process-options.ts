import type { Logger } from '../../lib/log.ts'
import type { Environment } from '../../lib/paths.ts'
import type { Config } from './config.ts'

/** What the wiring of every service is given. */
export interface ProcessOptions {
  config: Config
  env: Environment
  log: Logger
  now: () => number
  version: string
  /** Ends what waits before the services are up. */
  signal?: AbortSignal
}
