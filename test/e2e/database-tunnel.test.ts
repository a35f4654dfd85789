import { Client, type QueryResult } from 'pg'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type DatabaseStory, startDatabaseStory } from '../database-story.ts'
import { POSTGRES_BIN } from '../fakes/postgres.ts'
import { bin, type Started, startProgram, runProgram } from '../programs.ts'
import { eventually, within } from '../wait.ts'

// tsh proxy db: programs that speak PostgreSQL themselves, psql among them, over the identity of a person.

let story: DatabaseStory
const login = new Map<string, string[]>()
const started: Started[] = []

beforeAll(async () => {
  if (POSTGRES_BIN === undefined) return
  story = await startDatabaseStory()
  const { cluster } = story
  for (const name of ['alice', 'bob', 'carol', 'dora']) {
    await cluster.saveUser(name, ['reads'])
    login.set(name, ['-i', await cluster.identityFileOf(name), `--proxy=${new URL(cluster.url).host}`])
  }
}, 60_000)

afterAll(async () => {
  for (const program of started) program.kill('SIGTERM')
  await Promise.all(started.map((program) => program.ended))
  await story?.close()
})

async function openTunnel(person: string, user = 'reader', name = 'shop'): Promise<{ port: number; program: Started }> {
  const args = ['proxy', 'db', 'orders', '--tunnel', `--db-user=${user}`, `--db-name=${name}`, ...(login.get(person) ?? [])]
  const program = startProgram(bin('tsh'), args)
  started.push(program)
  await program.saw('Use the following command')
  return { port: Number(/:(\d+)\.\n/.exec(program.stdout())?.[1]), program }
}

let opened: ReturnType<typeof openTunnel> | undefined

/** Of alice, one for many tests. */
function readOnlyTunnel(): ReturnType<typeof openTunnel> {
  return (opened ??= openTunnel('alice'))
}

async function connect(port: number, more: object = {}): Promise<Client> {
  const client = new Client({ host: '127.0.0.1', port, user: 'anybody', database: 'anything', application_name: 'tests', ...more })
  client.on('error', () => undefined)
  await client.connect()
  return client
}

describe.skipIf(POSTGRES_BIN === undefined)('a local port for a database', () => {
  it('is refused for what is no loopback address, no database, and without --tunnel', async () => {
    const run = (...args: string[]) =>
      runProgram(bin('tsh'), ['proxy', 'db', ...args, '--db-user=reader', '--db-name=shop', ...(login.get('alice') ?? [])])
    expect(await run('orders', '--tunnel', '--listen=0.0.0.0:0')).toMatchObject({ code: 2, stderr: expect.stringContaining('loopback') })
    expect(await run('orders')).toMatchObject({ code: 2, stderr: expect.stringContaining('--tunnel') })
    expect(await run('nothing', '--tunnel')).toMatchObject({ code: 6 })
  })

  it('lets nobody in as a user that roles do not list, and writes that down', async () => {
    const { port } = await openTunnel('alice', 'writer')
    await expect(connect(port)).rejects.toThrow('no role lists this user in db_users')
    expect(await story.cluster.eventsOnceThere({ type: 'db.session.start', user: 'alice', outcome: 'denied' }, 1)).toMatchObject([
      { code: 'TDB00W', db_user: 'writer', decision: { kind: 'no_db_user' } },
    ])
  })

  it('carries a program of PostgreSQL, as the user that was asked for, and every statement is written down', async () => {
    const { port } = await openTunnel('bob')
    const client = await connect(port)
    const rows = async (text: string, values?: unknown[]) => (await client.query(text, values)).rows
    expect(await rows("SELECT session_user AS who, current_setting('application_name') AS app")).toEqual([{ who: 'reader', app: 'tests' }])
    expect(await rows('SELECT note FROM orders WHERE id = $1', [2])).toEqual([{ note: 'second' }])
    const large = await rows("SELECT repeat('x', 3000000) AS large")
    expect(large).toEqual([{ large: 'x'.repeat(3_000_000) }])
    expect(await rows('SELECT length($1) AS length', ['y'.repeat(900_000)])).toEqual([{ length: 900_000 }])
    await expect(client.query('SELECT * FROM nothing')).rejects.toMatchObject({ code: '42P01' })
    const many: Promise<QueryResult>[] = Array.from({ length: 50 }, (_, index) => client.query('SELECT $1::int AS n', [index]))
    expect((await Promise.all(many)).map(({ rows: [row] }) => row)).toEqual(Array.from({ length: 50 }, (_, n) => ({ n })))
    await client.end()
    const events = await story.cluster.eventsOnceThere({ type: 'db.session.query', user: 'bob' }, 55)
    expect(events[1]).toMatchObject({
      code: 'TDB02I',
      db_query: 'SELECT note FROM orders WHERE id = $1',
      db_user: 'reader',
      db_service: 'orders',
    })
    expect(await story.cluster.eventsOnceThere({ type: 'db.session.end', user: 'bob' }, 1)).toMatchObject([{ code: 'TDB01I' }])
    await eventually('no session at the server', async () => (await sessions()) === 0 || undefined)
  })

  describe('to a database whose tunnel is read-only', () => {
    beforeAll(() => story.saveDatabase({ tunnel: { read_only: true } }))
    afterAll(() => story.saveDatabase())

    it('PostgreSQL refuses what writes, and the session goes on', async () => {
      const { port } = await openTunnel('alice')
      const client = await connect(port)
      for (const sql of ["INSERT INTO orders VALUES (9, 'no')", 'DELETE FROM orders', 'CREATE TABLE more (id int)', 'SELECT 1 INTO more'])
        await expect(client.query(sql)).rejects.toMatchObject({ code: '25006' })
      await client.query('BEGIN')
      await client.query('SET search_path = public')
      expect((await client.query('SELECT count(*)::int AS n FROM orders')).rows).toEqual([{ n: 2 }])
      for (const sql of ['ROLLBACK', 'RESET ALL', 'DISCARD ALL']) await client.query(sql)
      await expect(client.query("UPDATE orders SET note = 'x'")).rejects.toMatchObject({ code: '25006' })
      await client.end()
    })

    it.each([
      'SET default_transaction_read_only = off',
      'SELECT 1; SET SESSION "DEFAULT_transaction_read_only" TO \'off\'',
      'BEGIN READ /* */ WRITE',
      'SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE',
      "SELECT set_config('transaction_read_only', 'off', false)",
      'SET standard_conforming_strings = off',
      "SET client_encoding = 'SJIS'",
      'DO $$ BEGIN SET LOCAL transaction_read_only = off; DELETE FROM orders; END $$',
      'NOTIFY somebody',
    ])('what would change that ends the session: %s', async (sql) => {
      const { port } = await readOnlyTunnel()
      const client = await connect(port)
      const fault = await client.query(sql).catch((error: unknown) => error)
      expect(String(fault)).toMatch(/read-only here: .*set spec\.tunnel\.read_only: false of db\/orders/)
      const prepared = await connect(port)
      await expect(prepared.query({ name: 'p', text: sql, values: [] })).rejects.toThrow('read-only here')
      await expect(prepared.query("INSERT INTO orders VALUES (9, 'no')")).rejects.toThrow()
      expect(await story.postgres.admin('SELECT note FROM orders', 'shop')).toHaveLength(2)
      const refused = await eventually('both refusals', async () => {
        const all = await story.cluster.events({ type: 'db.session.query', user: 'alice', outcome: 'denied' })
        const own = all.filter(({ db_query }) => db_query === sql)
        return own.length === 2 ? own : undefined
      })
      expect(refused[0]).toMatchObject({ code: 'TDB02W', error: expect.stringContaining('read-only here') })
    })
  })

  it('tells how each statement ended', async () => {
    const { port } = await openTunnel('dora')
    const client = await connect(port)
    await client.query('SELECT * FROM orders')
    await client.query('SELECT * FROM orders WHERE id = $1', [2])
    await client.query('SELECT 1; SELECT * FROM orders')
    await client.query('SELECT 1/0').catch(() => undefined)
    await client.query('SELECT $1::int / 0', [1]).catch(() => undefined)
    const running = client.query('SELECT pg_sleep(60)').catch(() => undefined)
    await eventually('the statement', async () => (await active()) > 0 || undefined)
    Reflect.get(client, 'connection').stream.destroy()
    await running
    const ended = await story.cluster.eventsOnceThere({ type: 'db.session.query', user: 'dora' }, 6)
    expect(ended.map(({ db_rows, error, code }) => [code, db_rows ?? error])).toEqual([
      ['TDB02I', 2],
      ['TDB02I', 1],
      ['TDB02I', 3],
      ['TDB02W', 'ERROR: division by zero (SQLSTATE 22012)'],
      ['TDB02W', 'ERROR: division by zero (SQLSTATE 22012)'],
      ['TDB02W', expect.stringMatching(/session|57014|57P01/)],
    ])
  })

  it('lets programs do what the database user may', async () => {
    const { port } = await openTunnel('dora')
    const client = await connect(port)
    await client.query("INSERT INTO orders VALUES (3, 'third')")
    expect((await client.query('DELETE FROM orders WHERE id = 3')).rowCount).toBe(1)
    await client.end()
  })

  it.skipIf(!existsSync(join(POSTGRES_BIN ?? '', 'psql')))('carries psql', async () => {
    const { port } = await openTunnel('bob')
    const { stdout, stderr } = await new Promise<{ stdout: string; stderr: string }>((resolve) => {
      const psql = startProgram(join(POSTGRES_BIN ?? '', 'psql'), [
        `postgres://reader@127.0.0.1:${port}/shop`,
        '-Atc',
        'SELECT note FROM orders ORDER BY id',
      ])
      void psql.ended.then(resolve)
    })
    expect([stdout, stderr]).toEqual(['first\nsecond\n', ''])
  })

  it('carries the wish that a statement ends', async () => {
    const { port } = await openTunnel('bob')
    const client = await connect(port)
    const running = client.query('SELECT pg_sleep(60)').catch((error: unknown) => error)
    await eventually('the statement', async () => (await active()) > 0 || undefined)
    const key: unknown = Reflect.get(client, 'processID')
    const secret: unknown = Reflect.get(client, 'secretKey')
    const { connect: connectTcp } = await import('node:net')
    const request = Buffer.alloc(16)
    request.writeInt32BE(16, 0)
    request.writeInt32BE(80_877_102, 4)
    request.writeInt32BE(Number(key), 8)
    request.writeInt32BE(Number(secret), 12)
    connectTcp(port, '127.0.0.1').end(request).resume()
    expect(await within('the end of the statement', running)).toMatchObject({ code: '57014' })
    await client.end()
  })

  it('is closed to who is locked, at once', async () => {
    const { port } = await openTunnel('carol')
    const client = await connect(port)
    const ended = new Promise((resolve) => client.once('end', resolve))
    const running = client.query('SELECT pg_sleep(60)').catch((error: unknown) => error)
    await eventually('the statement', async () => (await active()) > 0 || undefined)
    await story.cluster.save({
      kind: 'lock',
      version: 'v2',
      metadata: { name: 'carol' },
      spec: { target: { user: 'carol' }, message: 'gone' },
    })
    expect(String(await within('the end of the statement', running))).toContain('gone')
    await within('the end of the connection', ended)
    await eventually('no session at the server', async () => (await sessions()) === 0 || undefined)
    expect(await story.cluster.eventsOnceThere({ type: 'db.session.end', user: 'carol' }, 1)).toMatchObject([
      { reason: expect.stringContaining('gone') },
    ])
  })
})

const sessions = async (): Promise<number> => (await story.postgres.admin("SELECT 1 FROM pg_stat_activity WHERE usename = 'reader'")).length
const active = async (): Promise<number> =>
  (await story.postgres.admin("SELECT 1 FROM pg_stat_activity WHERE usename = 'reader' AND state = 'active' AND query LIKE '%pg_sleep%'"))
    .length
