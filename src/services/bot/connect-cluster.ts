import { AppError } from '../../lib/errors.ts'
import type { BotCluster } from './cluster.ts'
import type { BotConfig } from './config.ts'

export function connectCluster(_config: BotConfig, _deps: { now: () => number }): BotCluster {
  throw new AppError('unimplemented', 'joining comes with a later version')
}
