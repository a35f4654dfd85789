import type { Database, Executor } from '../../storage/database.ts'
import { Changes } from './changes.ts'
import type { AuthContext, ClusterKeys } from './context.ts'
import { createLiveResources } from './live-resources.ts'
import { Watches } from './watches.ts'

/** What this process has in memory of the store, and who is told of changes. */
export async function openMemory(
  db: Database,
  { jwt }: ClusterKeys,
  { now, random, log }: Pick<AuthContext, 'now' | 'random' | 'log'>,
): Promise<Pick<AuthContext, 'live' | 'watches' | 'onSessionKept'> & { changes: Changes }> {
  const live = createLiveResources(log)
  const onForgotten = (): void => watches.beginAnew()
  const listeners = new Set<(name: string) => void>()
  const onSession = (name: string): void => listeners.forEach((listener) => listener(name))
  const onSessionKept: AuthContext['onSessionKept'] = (listener) => {
    listeners.add(listener)
    return () => void listeners.delete(listener)
  }
  const options = { db, live, onSession, readKeys: (executor: Executor) => jwt.read(executor), onForgotten, now, log }
  const { changes, recent, knownSince } = await Changes.open(options)
  const watches = new Watches({ live, epoch: Buffer.from(random(16)).toString('hex'), recent, knownSince, now })
  return { live, changes, watches, onSessionKept }
}
