import type { KyselyPlugin } from 'kysely'
import { expect, test } from 'vitest'
import { silentLogger } from '../../lib/log.ts'
import { noteChange } from '../../storage/changes.ts'
import { transact } from '../../storage/database.ts'
import type { Database } from '../../storage/database.ts'
import { freshStore, STORES } from '../../storage/stores.fixture.ts'
import { Changes } from './changes.ts'
import { createLiveResources } from './live-resources.ts'

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
