import { availableParallelism } from 'node:os'
import type { Logger } from '../../lib/log.ts'
import { type ChildRegistry, createChildRegistry } from '../upstream/child.ts'
import { createRunCommand } from './run-command.ts'
import { probeSelf, type Self } from './machine.ts'
import type { HostDeps } from './start.ts'
import { createStartQueue } from './start-queue.ts'
import { openTrees } from './trees.ts'

export interface HostOptions {
  /** The agent's environment. */
  env: Readonly<Record<string, string | undefined>>
  account: { uid: number; name: string; hostname: string }
  /** Directories that no sandbox may see. */
  hidden: readonly string[]
  /** Random letters and digits. */
  token: string
  log: Logger
}

/** A machine on which stdio servers can be run. */
export interface Host extends HostDeps {
  registry: ChildRegistry
  /** Ends every process at once, without waiting. */
  killNow(): void
  /** Ends what is left of all process trees. */
  close(): Promise<void>
}

function namespaceOf({ uid, programs }: Self): string {
  if (!programs.unshare) return 'process group'
  return uid === 0 ? 'namespace' : 'namespace with confinement: process, else process group'
}

/** Learns what this machine can do, once, and says so in the log. */
export async function openHost({ env, account, hidden, token, log }: HostOptions): Promise<Host> {
  const run = createRunCommand(env)
  const [self, trees] = await Promise.all([probeSelf(run, account), openTrees({ run, token, log })])
  log.info('this machine can run MCP servers', {
    trees: trees ? 'cgroup' : namespaceOf(self),
    memory_limit: trees?.limits.memory ? 'of the tree' : 'of each process',
    process_limit: trees?.limits.processes ? 'of the tree' : 'of the account',
    confinement: self.programs.setpriv ? 'process' : 'none',
    sandbox: self.sandboxFault ?? 'bubblewrap',
  })
  const registry = createChildRegistry()
  const starts = createStartQueue({ limit: Math.max(8, 4 * availableParallelism()), maxWaiting: 2000, waitMs: 60_000 })
  return { log, self, run, env, registry, trees, starts, hidden, killNow: () => registry.killAllNow(), close: async () => trees?.close() }
}
