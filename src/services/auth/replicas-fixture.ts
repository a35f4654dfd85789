import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AT_ONCE_MS } from '../../../test/wait.ts'
import type { Change, ResourceFeed } from '../../resources/feed.ts'
import type { AuthServiceOptions } from './start.ts'
import { type Fixture, startFixture } from './auth-fixture.ts'

/** Two Auth Services on one store, with one clock. */
export interface Replicas {
  a: Fixture
  b: Fixture
  clock: { now: number }
  close(): Promise<void>
}

export async function startReplicas(options: Partial<AuthServiceOptions> & { config?: never; yaml?: unknown } = {}): Promise<Replicas> {
  const dataDirectory = await mkdtemp(join(tmpdir(), 'sallyport-replicas-'))
  const a = await startFixture({ followEveryMs: 20, ...options, dataDirectory })
  const { clock } = a
  const b = await startFixture({ followEveryMs: 20, ...options, dataDirectory, now: () => clock.now })
  return {
    a,
    b,
    clock,
    async close() {
      await b.auth.close()
      await a.auth.close()
      await rm(dataDirectory, { recursive: true, force: true })
    },
  }
}

/** Settles with the first change that fits, as this replica tells its services of it; rejects when it does not come at once. */
export function heard(feed: ResourceFeed, fits: (change: Change) => boolean): Promise<Change> {
  const { promise, resolve, reject } = Promise.withResolvers<Change>()
  const timer = setTimeout(() => reject(new Error('nothing was heard of the change')), AT_ONCE_MS)
  const unsubscribe = feed.subscribe((change) => fits(change) && resolve(change))
  return promise.finally(() => {
    clearTimeout(timer)
    unsubscribe()
  })
}
