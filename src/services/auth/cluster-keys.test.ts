import { writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { temporaryDirectory } from '../../../test/programs.ts'
import { openCluster, openSealer } from './cluster-keys.ts'
import { openSqlite } from '../../storage/sqlite.ts'

let directory: Awaited<ReturnType<typeof temporaryDirectory>>
beforeAll(async () => {
  directory = await temporaryDirectory()
})
afterAll(() => directory.dispose())

test('a store whose key is gone is not opened; one whose key another process made a moment ago is', async () => {
  const path = join(directory.path, 'secret.key')
  const db = openSqlite(':memory:')
  const sealer = await openSealer(db, directory.path, path)
  await openCluster(db, sealer, 'test')
  await rm(path)
  await expect(openSealer(db, directory.path, path)).rejects.toThrow('secret.key is missing, and the store is sealed with its key')
  // The other one writes it while we ask the store whether there is a cluster.
  const asked = Object.create(db, {
    selectFrom: {
      value: (table: 'secrets') => {
        writeFileSync(path, `${Buffer.alloc(32, 1).toString('base64url')}\n`, { mode: 0o600 })
        return db.selectFrom(table)
      },
    },
  })
  await expect(openSealer(asked, directory.path, path)).resolves.toBeDefined()
  await db.close()
})
