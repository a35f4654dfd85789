import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { sql } from 'kysely'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { findAccountId } from './credentials.ts'
import { initial } from './migrations/0001-initial.ts'
import { findSecret, setSecret } from './secrets.ts'
import { migrateSqlite, openSqlite } from './sqlite.ts'

let directory = ''
let file = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'store-'))
  file = join(directory, 'data', 'store.db')
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

test('a damaged file, a foreign one, a newer one and a directory are refused in plain words', async () => {
  await openSqlite(file).close()
  const connection = new DatabaseSync(file)
  connection.exec(`insert into migrations values (99, 'future')`)
  connection.close()
  expect(() => openSqlite(file)).toThrow(/is of a newer Sallyport \(schema 99, this one knows \d+\)/)

  const foreign = join(directory, 'foreign.db')
  const other = new DatabaseSync(foreign)
  other.exec('create table tracks (id integer)')
  other.close()
  expect(() => openSqlite(foreign)).toThrow(/foreign\.db: the file is a database of another program/)

  const damaged = join(directory, 'damaged.db')
  writeFileSync(damaged, 'x'.repeat(10_000))
  expect(() => openSqlite(damaged)).toThrow(/damaged\.db: the file is damaged or is no database/)
  expect(() => openSqlite(directory)).toThrow('cannot open')
})

test('a statement that ended its transaction is what is heard of, not that nothing is left to roll back', async () => {
  const store = openSqlite(file)
  const twice = store
    .transaction()
    .execute((within) => sql`insert or rollback into migrations select version, name from migrations`.execute(within))
  await expect(twice).rejects.toMatchObject({ cause: { message: expect.stringContaining('UNIQUE constraint failed') } })
  expect(await store.transaction().execute((within) => sql`select 1 as one`.execute(within))).toMatchObject({ rows: [{ one: 1 }] })
  await store.close()
})

test('a step that fails leaves nothing behind', () => {
  const connection = new DatabaseSync(':memory:')
  const steps = [
    { version: 1, name: 'good', statements: ['create table a (x integer)'] },
    { version: 2, name: 'bad', statements: ['create table b (x integer)', 'create nonsense'] },
  ]
  expect(() => migrateSqlite(connection, steps)).toThrow('syntax error')
  expect(connection.prepare('select name from sqlite_schema').all()).toEqual([])
  migrateSqlite(connection, steps.slice(0, 1))
  migrateSqlite(connection, steps.slice(0, 1))
  expect(connection.prepare('select version, name from migrations').all()).toMatchObject([{ version: 1, name: 'good' }])
  connection.close()
})

test('users of a store from before there were account ids get one each', async () => {
  const connection = new DatabaseSync(join(directory, 'old.db'))
  migrateSqlite(connection, [initial])
  const insert = connection.prepare(`insert into resources values (?, ?, 'r', null, '{}', 1, 1)`)
  insert.run('user', 'ana')
  insert.run('user', 'bob')
  insert.run('role', 'access')
  connection.close()
  const db = openSqlite(join(directory, 'old.db'))
  const [ana, bob] = [await findAccountId(db, 'ana'), await findAccountId(db, 'bob')]
  expect([ana, bob]).toEqual([expect.stringMatching(/^[0-9a-f]{32}$/), expect.stringMatching(/^[0-9a-f]{32}$/)])
  expect(ana).not.toBe(bob)
  expect(await findAccountId(db, 'access')).toBeUndefined()
  await db.close()
})

test('only the owner can read the files, and what was written is there after reopening', async () => {
  const db = openSqlite(file)
  await setSecret(db, 'ca', 'sealed')
  for (const name of readdirSync(join(directory, 'data')))
    expect([name, statSync(join(directory, 'data', name)).mode & 0o777]).toEqual([name, 0o600])
  expect(readdirSync(join(directory, 'data'))).toContain('store.db-wal')
  await db.close()
  await db.close()
  await expect(findSecret(db, 'ca')).rejects.toThrow()
  const again = openSqlite(file)
  expect(await findSecret(again, 'ca')).toBe('sealed')
  await again.close()
})
