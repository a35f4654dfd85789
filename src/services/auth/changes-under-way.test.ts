import { randomBytes } from 'node:crypto'
import type { KyselyPlugin } from 'kysely'
import { expect, test } from 'vitest'
import { createSealer } from '../../ca/sealed.ts'
import { silentLogger } from '../../lib/log.ts'
import { parseResource } from '../../resources/registry.ts'
import { noteChange } from '../../storage/changes.ts'
import { transact } from '../../storage/database.ts'
import type { Database, Executor } from '../../storage/database.ts'
import { createResource } from '../../storage/resources.ts'
import { freshStore, STORES } from '../../storage/stores.fixture.ts'
import { role } from './auth-fixture.ts'
import { Changes } from './changes.ts'
import { openClusterKeys } from './cluster-keys.ts'
import { JwtKeys } from './jwt-keys.ts'
import { createLiveResources } from './live-resources.ts'
import { openMemory } from './memory.ts'

/** A reader of the store whose answers are on their way until `arrive`. */
function slowReader(db: Database): { reader: Database; hold(): void; arrive(): void } {
  let road: Promise<void> | undefined
  let arrive = (): void => {}
  const plugin: KyselyPlugin = {
    transformQuery: ({ node }) => node,
    transformResult: async ({ result }) => {
      await road
      return result
    },
  }
  const reader = Object.assign(db.withPlugin(plugin), { transaction: () => db.transaction(), close: () => db.close() })
  const hold = (): void => {
    const { promise, resolve } = Promise.withResolvers<void>()
    ;[road, arrive] = [promise, resolve]
  }
  return { reader, hold, arrive: () => arrive() }
}

test.each(STORES)('on %s an answer that was overtaken by a change of our own is not taken for a store that forgot', async (type) => {
  const db = await freshStore(type)
  const { reader, hold, arrive } = slowReader(db)
  let forgotten = 0
  const { changes } = await Changes.open({
    db: reader,
    live: createLiveResources(silentLogger),
    readKeys: async () => () => {},
    onForgotten: () => (forgotten += 1),
    onSession: () => {},
    now: () => 1,
    log: silentLogger,
  })
  hold()
  const looking = changes.catchUp()
  const commit = await transact(db, async (tx) => {
    await changes.begin(tx)
    await noteChange(tx, { type: 'revoked', kind: 'oauth', name: 'one' }, 1)
    return await changes.end(tx)
  })
  commit()
  arrive()
  await looking
  expect(forgotten).toBe(0)
  await db.close()
})

test.each(STORES)('on %s what is read anew does not undo what was changed while it was read', async (type) => {
  const db = await freshStore(type)
  const [reached, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const live = createLiveResources(silentLogger)
  let isSlow = false
  let forgotten = 0
  const { changes } = await Changes.open({
    db,
    live,
    // The last that is read.
    readKeys: async (executor) => {
      if (isSlow && executor === db) {
        reached.resolve()
        await gate.promise
      }
      return () => {}
    },
    onSession: () => {},
    onForgotten: () => (forgotten += 1),
    now: () => 1,
    log: silentLogger,
  })
  const create = (name: string) => async (tx: Executor) => void (await createResource(tx, 'role', parseResource('role', role(name, {})), 1))
  await transact(db, create('one'))
  await transact(db, async (tx) => {
    await tx.updateTable('counters').set({ value: 1000 }).execute()
    await tx.deleteFrom('changes').execute()
  })
  isSlow = true
  const looking = changes.catchUp()
  await reached.promise
  const commit = await transact(db, async (tx) => {
    await changes.begin(tx)
    await create('two')(tx)
    return await changes.end(tx)
  })
  commit()
  gate.resolve()
  await looking
  expect(live.list('role').map(({ metadata }) => metadata.name)).toEqual(['one', 'two'])
  expect(forgotten).toBe(1)
  await db.close()
})

test.each(STORES)('on %s a key that another replica made while this one starts is known', async (type) => {
  const db = await freshStore(type)
  const sealer = createSealer(randomBytes(32))
  const now = (): number => 1
  const keys = await openClusterKeys(db, sealer, 'test', now)
  const other = await JwtKeys.open(db, sealer, now)
  await transact(db, (tx) => other.rotate(tx))
  const { watches } = await openMemory(db, keys, { now, random: randomBytes, log: silentLogger })
  expect(keys.jwt.published).toHaveLength(2)
  watches.close()
  await db.close()
})
