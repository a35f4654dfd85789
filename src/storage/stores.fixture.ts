import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { POSTGRES_BIN, startPostgres } from '../../test/fakes/postgres.ts'
import type { TestPostgres } from '../../test/fakes/postgres.ts'
import { silentLogger } from '../lib/log.ts'
import type { Database } from './database.ts'
import { openStore } from './store.ts'
import type { StoreLocation } from './store.ts'

/** Every function of this folder does the same on each of them. */
export const STORES = POSTGRES_BIN === undefined ? (['sqlite'] as const) : (['sqlite', 'postgresql'] as const)

let server: Promise<TestPostgres> | undefined
let schemas = 0
const folders: string[] = []
afterAll(async () => {
  await (await server)?.close()
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })))
})

/** The PostgreSQL server of a test file; begun when it is first asked for, ended with the file. */
export function postgres(): Promise<TestPostgres> {
  return (server ??= startPostgres())
}

/** A place with no store yet: a file of its own, or a schema of its own. */
export async function freshLocation(type: StoreLocation['type']): Promise<StoreLocation> {
  if (type === 'sqlite') {
    const folder = await mkdtemp(join(tmpdir(), 'store-'))
    folders.push(folder)
    return { type, at: join(folder, 'store.db') }
  }
  const { admin, connString } = await postgres()
  const schema = `store_${++schemas}`
  await admin(`create schema ${schema}`)
  return { type, at: `${connString}?options=-csearch_path%3D${schema}` }
}

export async function freshStore(type: StoreLocation['type']): Promise<Database> {
  return reopen(await freshLocation(type))
}

export function reopen(location: StoreLocation): Promise<Database> {
  return openStore(location, silentLogger)
}
