import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { POSTGRES_BIN, startPostgres, type TestPostgres } from '../../../../test/fakes/postgres.ts'
import { within } from '../../../../test/wait.ts'
import { PostgresSession, type StatementOptions } from './session.ts'

// Against a real server: what a statement can do to it is PostgreSQL's to say.

const PASSWORD = 'päss wörd'
const never = new AbortController().signal

let postgres: TestPostgres
const open = new Set<PostgresSession>()

beforeAll(async () => {
  if (POSTGRES_BIN === undefined) return
  postgres = await startPostgres(["password_encryption = 'scram-sha-256'"])
  for (const sql of [
    `CREATE ROLE reader LOGIN PASSWORD '${PASSWORD}'`,
    `CREATE ROLE files LOGIN PASSWORD '${PASSWORD}' IN ROLE pg_read_server_files`,
    `CREATE ROLE indirect LOGIN NOINHERIT PASSWORD '${PASSWORD}' IN ROLE postgres`,
    'CREATE TABLE notes (id int, body text)',
    "INSERT INTO notes SELECT n, 'note ' || n FROM generate_series(1, 5000) n",
    'GRANT ALL ON notes TO reader',
    'GRANT CREATE ON SCHEMA public TO reader',
    'CREATE SEQUENCE counter',
    'GRANT ALL ON SEQUENCE counter TO reader',
  ])
    await postgres.admin(sql)
  await postgres.configure({
    'pg_hba.conf': 'local all postgres trust\nhost all secret 127.0.0.1/32 password\nhost all all 127.0.0.1/32 scram-sha-256\n',
  })
})

afterAll(async () => {
  for (const session of open) session.close()
  await postgres?.close()
})

async function connect({ user = 'reader', password = PASSWORD, readOnly = true, timeoutMs = 10_000, maxBytes = 1_000_000 } = {}) {
  const session = await PostgresSession.open({
    host: '127.0.0.1',
    port: postgres.port,
    tls: undefined,
    user,
    database: 'postgres',
    password,
    parameters: { client_encoding: 'UTF8', statement_timeout: String(timeoutMs), ...(readOnly && { default_transaction_read_only: 'on' }) },
    maxBytes,
    readOnly,
    timeoutMs,
    signal: never,
  })
  open.add(session)
  return {
    session,
    run: async (sql: string, more: Partial<StatementOptions> = {}) => {
      const result = await session.run(sql, { readOnly, timeoutMs, maxRows: 1000, maxBytes, signal: never, ...more })
      return { ...result, data: result.rows.toJson() }
    },
  }
}

const notes = async (): Promise<unknown> => (await postgres.admin('SELECT count(*)::int AS n FROM notes'))[0]?.['n']

describe.skipIf(POSTGRES_BIN === undefined)('a session', () => {
  test.each([
    ['a wrong password', { password: 'wrong' }, 'unauthenticated', 'password authentication failed'],
    ['a superuser by another role', { user: 'indirect' }, 'permission_denied', 'read-only mode cannot hold "indirect"'],
    ['somebody who may read files of the server', { user: 'files' }, 'permission_denied', 'role pg_read_server_files'],
    ['a server that wants the password itself', { user: 'secret' }, 'failed_precondition', 'asks for the password itself'],
  ])('is not opened for %s', async (_name, options, code, message) => {
    await expect(connect(options)).rejects.toMatchObject({ code, message: expect.stringContaining(message) })
  })

  test.each([
    ['a plain change', "INSERT INTO notes VALUES (0, 'x')"],
    ['one inside of a query', 'WITH gone AS (DELETE FROM notes RETURNING *) SELECT * FROM gone'],
    ['another mode', 'SET TRANSACTION READ WRITE'],
    ['another mode in a block', 'DO $$ BEGIN SET LOCAL transaction_read_only = off; DELETE FROM notes; END $$'],
    ['another mode in a function', "SELECT set_config('transaction_read_only', 'off', false)"],
    ['the end of the transaction in a block', 'DO $$ BEGIN COMMIT; SET TRANSACTION READ WRITE; DELETE FROM notes; COMMIT; END $$'],
    ['two statements', 'SELECT 1; COMMIT; DELETE FROM notes'],
    ['the end of the transaction', 'COMMIT'],
    ['a transaction that writes', 'BEGIN READ WRITE'],
    ['a table', 'CREATE TABLE more ()'],
    ['a new table of a query', 'SELECT * INTO more FROM notes'],
    ['an explained change', 'EXPLAIN ANALYZE DELETE FROM notes'],
    ['a program', "COPY notes TO PROGRAM 'touch /tmp/x'"],
    ['a copy to the client', 'COPY notes TO STDOUT'],
    ['a copy from the client', 'COPY notes FROM STDIN'],
    ['a sequence', "SELECT nextval('counter')"],
    ['a row lock', 'SELECT * FROM notes FOR UPDATE'],
    ['a file', "SELECT pg_read_file('/etc/passwd')"],
    ['a large object in a file', "SELECT lo_export(1, '/tmp/x')"],
  ])('that only reads refuses %s', async (_name, sql) => {
    const { run } = await connect()
    await expect(run(sql)).rejects.toMatchObject({ code: 'failed_precondition' })
    expect(await notes()).toBe(5000)
  })

  test('that only reads undoes what a reset of the mode let through', async () => {
    const { session, run } = await connect()
    await run("DO $$ BEGIN EXECUTE 'RESET transaction_read_only'; EXECUTE 'DELETE FROM notes'; END $$").catch(() => undefined)
    expect(await notes()).toBe(5000)
    expect(session.isOpen).toBe(true)
  })

  test('leaves nothing behind for the next statement', async () => {
    const { run } = await connect()
    await run("SELECT set_config('statement_timeout', '1', false), set_config('search_path', 'nowhere', false), pg_advisory_lock(7)")
    await run('PREPARE p AS SELECT 1')
    const { data } = await run(
      "SELECT current_setting('statement_timeout') AS timeout, current_setting('transaction_read_only') AS only, " +
        "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory') AS locks, (SELECT count(*) FROM pg_prepared_statements) AS prepared",
    )
    expect(data).toBe('[{"timeout":"10s","only":"on","locks":0,"prepared":0}]')
  })

  test('that may write keeps what succeeded and undoes what failed', async () => {
    await postgres.admin('CREATE TABLE IF NOT EXISTS kept (n int UNIQUE DEFERRABLE INITIALLY DEFERRED); GRANT ALL ON kept TO reader')
    const { run } = await connect({ readOnly: false })
    expect(await run('INSERT INTO kept VALUES (1), (2)')).toMatchObject({ affected: 2, hasRows: false, command: 'INSERT 0 2' })
    await expect(run("SELECT repeat('x', 2000000)")).rejects.toThrow('one row is larger than max_bytes')
    await expect(run("INSERT INTO kept VALUES (3) RETURNING repeat('x', 2000000)")).rejects.toThrow('one row is larger')
    const other = await connect({ readOnly: false })
    await expect(other.run('INSERT INTO kept VALUES (1)')).rejects.toThrow('duplicate key')
    expect(await postgres.admin('SELECT n FROM kept ORDER BY n')).toEqual([{ n: 1 }, { n: 2 }])
  })

  test('stops at its limits of rows and bytes, however many there are', async () => {
    const { run } = await connect()
    const many = await run('SELECT generate_series(1, 1000000000) AS n', { maxRows: 100 })
    expect([many.rows.count, many.rows.isFull]).toEqual([100, true])
    const exact = await run('SELECT n FROM generate_series(1, 100) n', { maxRows: 100 })
    expect([exact.rows.count, exact.rows.isFull]).toEqual([100, false])
    const wide = await run("SELECT repeat('x', 3000) AS x FROM generate_series(1, 100000)", { maxBytes: 10_000 })
    expect([wide.rows.count, wide.rows.isFull]).toEqual([3, true])
    await expect(run("SELECT repeat('x', 100000000)", { maxBytes: 10_000 })).rejects.toThrow('one row is larger than max_bytes')
    expect((await run('SELECT 1 AS one')).data).toBe('[{"one":1}]')
  })

  test('ends a statement that takes too long, and goes on', async () => {
    const { run } = await connect({ timeoutMs: 300 })
    await expect(run('SELECT pg_sleep(60)')).rejects.toThrow('canceling statement due to statement timeout (SQLSTATE 57014)')
    expect((await run('SELECT 1 AS one')).data).toBe('[{"one":1}]')
  })

  test('that nobody waits for any more is ended at the server', async () => {
    const { session, run } = await connect({ timeoutMs: 60_000 })
    const stop = new AbortController()
    const running = run("SELECT pg_sleep(50), 'unwanted'", { signal: stop.signal })
    const seen = async () =>
      (await postgres.admin("SELECT 1 FROM pg_stat_activity WHERE usename = 'reader' AND state = 'active' AND query LIKE '%unwanted%'"))
        .length
    while ((await seen()) === 0) await Promise.resolve()
    stop.abort()
    await within('the end of the call', expect(running).rejects.toMatchObject({ code: 'cancelled' }))
    expect(await seen()).toBe(0)
    expect(session.isOpen).toBe(false)
  })

  test('shows the words of the database', async () => {
    const { run } = await connect()
    await expect(run('SELECT * FROM nothing')).rejects.toMatchObject({
      origin: 'upstream',
      message: 'ERROR: relation "nothing" does not exist (SQLSTATE 42P01)\nPOSITION: 15',
    })
    await expect(run('SELECT $1')).rejects.toThrow('SQLSTATE 08P01')
    expect(await run('')).toMatchObject({ hasRows: false, affected: 0 })
    await expect(run('SELECT 1\0; DROP TABLE notes')).rejects.toThrow('NUL')
  })

  test('gives every value without loss', async () => {
    const { run } = await connect()
    const { data } = await run(`SELECT 9223372036854775807::int8 AS big, 42::int8 AS small, 1.10::numeric AS price, 0.1::float8 AS f,
      'NaN'::float8 AS nan, '2026-01-02 03:04:05.678901+00'::timestamptz AT TIME ZONE 'UTC' AS at, '\\xdeadbeef'::bytea AS bytes,
      '{"n": 12345678901234567890, "a": [1]}'::json AS doc, ARRAY[1, NULL, 3] AS ints, ARRAY['a,b', 'NULL', NULL, '"'] AS texts,
      '{{1,2},{3,4}}'::int8[] AS grid, '[0:1]={1,2}'::int[] AS bounds, NULL AS nothing, true AS yes, 1 AS x, 2 AS x`)
    expect(data).toBe(
      '[{"big":"9223372036854775807","small":42,"price":"1.10","f":0.1,"nan":"NaN","at":"2026-01-02 03:04:05.678901","bytes":"\\\\xdeadbeef",' +
        '"doc":{"n": 12345678901234567890, "a": [1]},"ints":[1,null,3],"texts":["a,b","NULL",null,"\\""],"grid":[[1,2],[3,4]],' +
        '"bounds":"[0:1]={1,2}","nothing":null,"yes":true,"x":1,"x_2":2}]',
    )
  })
})
