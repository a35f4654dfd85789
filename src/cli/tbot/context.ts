import type { Readable } from 'node:stream'
import type { SignalSource } from '../../lib/command-line.ts'
import type { Invocation, Io } from '../../lib/command-rows.ts'
import type { BotCluster } from '../../services/bot/cluster.ts'
import type { BotConfig } from '../../services/bot/config.ts'

/** What the world outside is to tbot. */
export interface TbotIo extends Io {
  stdin: Readable
  version?: string
  signals?: SignalSource
  now?: () => number
  /** Stands in for the Auth Service. */
  cluster?: (config: BotConfig) => BotCluster
}

/** What every action gets. */
export interface Context {
  call: Invocation
  io: TbotIo
}

export interface Action {
  run(context: Context): Promise<number | void>
}

/** Loads an action only when its command runs. */
export function action(io: TbotIo, load: () => Promise<Action>) {
  return async () => {
    const { run } = await load()
    return { run: (call: Invocation) => run({ call, io }) }
  }
}
