import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { renderChained, verifyChain } from '../audit/chain.ts'
import { findAccountId } from './credentials.ts'
import { openDatabase, transact } from './database.ts'
import { searchEvents } from './events.ts'
import type { StoredEvent } from './events.ts'
import { migrate } from './migrate.ts'
import { initial } from './migrations/0001-initial.ts'
import { listResources } from './resources.ts'
import { findSecret, insertSecretIfAbsent, setSecret } from './secrets.ts'

let directory = ''
let file = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'store-'))
  file = join(directory, 'data', 'store.db')
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

test('a damaged file, a foreign one, a newer one and a directory are refused in plain words', () => {
  openDatabase(file).close()
  const connection = new DatabaseSync(file)
  connection.exec(`insert into migrations values (99, 'future')`)
  connection.close()
  expect(() => openDatabase(file)).toThrow('is of a newer Sallyport (schema 99, this one knows 7)')

  const foreign = join(directory, 'foreign.db')
  const other = new DatabaseSync(foreign)
  other.exec('create table tracks (id integer)')
  other.close()
  expect(() => openDatabase(foreign)).toThrow(/foreign\.db: the file is a database of another program/)

  const damaged = join(directory, 'damaged.db')
  writeFileSync(damaged, 'x'.repeat(10_000))
  expect(() => openDatabase(damaged)).toThrow(/damaged\.db: the file is damaged or is no database/)
  expect(() => openDatabase(directory)).toThrow('cannot open')
})

test('a step that fails leaves nothing behind', () => {
  const connection = new DatabaseSync(':memory:')
  const steps = [
    { version: 1, name: 'good', statements: ['create table a (x integer)'] },
    { version: 2, name: 'bad', statements: ['create table b (x integer)', 'create nonsense'] },
  ]
  expect(() => migrate(connection, steps)).toThrow('syntax error')
  expect(connection.prepare('select name from sqlite_schema').all()).toEqual([])
  migrate(connection, steps.slice(0, 1))
  migrate(connection, steps.slice(0, 1))
  expect(connection.prepare('select version, name from migrations').all()).toMatchObject([{ version: 1, name: 'good' }])
  connection.close()
})

test('users of a store from before there were account ids get one each', async () => {
  const connection = new DatabaseSync(join(directory, 'old.db'))
  migrate(connection, [initial])
  const insert = connection.prepare(`insert into resources values (?, ?, 'r', null, '{}', 1, 1)`)
  insert.run('user', 'ana')
  insert.run('user', 'bob')
  insert.run('role', 'access')
  connection.close()
  const db = openDatabase(join(directory, 'old.db'))
  const [ana, bob] = [await findAccountId(db, 'ana'), await findAccountId(db, 'bob')]
  expect([ana, bob]).toEqual([expect.stringMatching(/^[0-9a-f]{32}$/), expect.stringMatching(/^[0-9a-f]{32}$/)])
  expect(ana).not.toBe(bob)
  expect(await findAccountId(db, 'access')).toBeUndefined()
  db.close()
})

test('only the owner can read the files, and what was written is there after reopening', async () => {
  const db = openDatabase(file)
  await setSecret(db, 'ca', 'sealed')
  for (const name of readdirSync(join(directory, 'data')))
    expect([name, statSync(join(directory, 'data', name)).mode & 0o777]).toEqual([name, 0o600])
  expect(readdirSync(join(directory, 'data'))).toContain('store.db-wal')
  db.close()
  db.close()
  await expect(findSecret(db, 'ca')).rejects.toThrow()
  const again = openDatabase(file)
  expect(await findSecret(again, 'ca')).toBe('sealed')
  again.close()
})

test('a transaction that throws is undone, and what others write meanwhile is not part of it', async () => {
  const db = openDatabase(':memory:')
  const gate = Promise.withResolvers<void>()
  const failing = transact(db, async (tx) => {
    await setSecret(tx, 'a', '1')
    await transact(tx, (inner) => setSecret(inner, 'b', '1'))
    await gate.promise
    throw new Error('no')
  })
  const beside = setSecret(db, 'c', '1')
  gate.resolve()
  await expect(failing).rejects.toThrow('no')
  await beside
  expect([await findSecret(db, 'a'), await findSecret(db, 'b'), await findSecret(db, 'c')]).toEqual([undefined, undefined, '1'])
  db.close()
})

test('two connections to one file: writers wait for each other, the first of several wins', async () => {
  const [one, two] = [openDatabase(file), openDatabase(file)]
  expect(await Promise.all([insertSecretIfAbsent(one, 'ca', 'first'), insertSecretIfAbsent(two, 'ca', 'second')])).toEqual([
    'first',
    'first',
  ])
  one.close()
  two.close()
})

/** Lets a child write until it has acknowledged so many lines and kills it there and then. */
function runUntil(lines: number, run: string): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(import.meta.dirname, 'crash-child.ts'), file, run], { stdio: ['ignore', 'pipe', 'pipe'] })
    let said = ''
    let complained = ''
    child.stderr.on('data', (chunk: Buffer) => (complained += chunk.toString()))
    child.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString()
      if (said.split('\n').length > lines) child.kill('SIGKILL')
    })
    child.on('close', (_, signal) => (signal === 'SIGKILL' ? resolve(said.split('\n').slice(0, -1)) : reject(new Error(complained))))
  })
}

test('what was acknowledged survives kill -9, and the chain goes on unbroken', { timeout: 60_000 }, async () => {
  const said: string[] = []
  for (const [run, lines] of [10, 81].entries()) said.push(...(await runUntil(lines, `run${run}`)))
  // Two at once on one file: neither may fail, and both add to one chain.
  said.push(...(await Promise.all([runUntil(200, 'left'), runUntil(200, 'right')])).flat())
  const db = openDatabase(file)
  const names = (word: string): string[] => said.filter((line) => line.startsWith(`${word} `)).map((line) => line.slice(word.length + 1))

  const locks = new Set((await listResources(db, 'lock', 0)).map((lock) => lock.metadata.name))
  const deleted = new Set(names('deleted'))
  const lost = names('created').filter((name) => !deleted.has(name) && !locks.has(name))
  // The last lock of a run may have been deleted without the word getting out.
  expect(lost.length).toBeLessThanOrEqual(4)
  expect(lost.every((name) => Number(name.split('-')[1]) % 3 === 0)).toBe(true)
  expect([...deleted].filter((name) => locks.has(name))).toEqual([])
  expect(names('created').length).toBeGreaterThan(40)

  const events: StoredEvent[] = []
  for (let after: number | null = 0; after !== null;) {
    const page: Awaited<ReturnType<typeof searchEvents>> = await searchEvents(db, { limit: 1000, after })
    events.push(...page.events)
    after = page.next
  }
  const uids = new Set(events.map(({ uid }) => uid))
  expect(names('appended').filter((name) => ![0, 1, 2].every((index) => uids.has(`${name}-${index}`)))).toEqual([])
  expect(await verifyChain(events.map((event) => renderChained(event.text, event)))).toMatchObject({
    ok: true,
    count: uids.size,
    startsAt: 1,
  })
  db.close()
})
