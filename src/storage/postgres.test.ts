import { describe, expect, test } from 'vitest'
import { POSTGRES_BIN } from '../../test/fakes/postgres.ts'
import { eventually } from '../../test/wait.ts'
import { verifyChain, renderChained } from '../audit/chain.ts'
import type { AuditEvent } from '../audit/event.ts'
import { renderEvent } from '../audit/event-text.ts'
import { findAccountId, setAccountId } from './credentials.ts'
import { transact } from './database.ts'
import { appendEvents, searchEvents } from './events.ts'
import { assignNames } from './mcp-names.ts'
import { listResources } from './resources.ts'
import { findSecret, setSecret } from './secrets.ts'
import { isAway, openEventAppender } from './store.ts'
import { freshLocation, freshStore, postgres, reopen } from './stores.fixture.ts'

function event(uid: string, fields: Partial<AuditEvent> = {}): AuditEvent {
  return { event: 'user.login', code: 'T1000I', time: '2026-01-02T03:04:05.678Z', uid, ei: 0, cluster_name: 'example', ...fields }
}

const open = (at: string) => reopen({ type: 'postgresql', at })
/** The message of what is refused, with the code in front. */
const refusal = (at: string): Promise<string> =>
  open(at).then(
    async (db) => (await db.close(), 'opened'),
    (thrown: { code: string; message: string }) => `${thrown.code}: ${thrown.message}`,
  )

/** Whether it is worth waiting for. */
const away = (at: string): Promise<boolean> => open(at).then(() => false, isAway)

describe.skipIf(POSTGRES_BIN === undefined)('what only PostgreSQL has', () => {
  test('what is not for us is refused, in words that say what to do and not the password', async () => {
    const { admin, port, configure } = await postgres()
    const at = (user: string, database: string, more = '') => `postgresql://${user}:geheim@127.0.0.1:${port}/${database}${more}`
    await admin(`create role guest login password 'other'; create role owner login`)
    await admin('create database foreign_one owner owner')
    await admin('create database latin encoding latin1 template template0')
    await admin('create table migrations (id integer, migration text)', 'foreign_one')
    await configure({ 'pg_hba.conf': `local all all trust\nhost all guest 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n` })

    expect(await refusal(at('guest', 'postgres'))).toMatch(
      /^unavailable: cannot use the database "postgres" at 127\.0\.0\.1:\d+ as "guest": the database refuses the user or password/,
    )
    expect(await refusal(at('nobody', 'postgres'))).toContain('refuses the user or password')
    expect(await refusal(at('owner', 'missing'))).toContain('there is no database of the name in conn_string')
    expect(await refusal(at('owner', 'foreign_one'))).toMatch(/^failed_precondition: .*it holds tables of another program/)
    expect(await refusal(at('owner', 'latin'))).toMatch(/^failed_precondition: .*the encoding LATIN1/)
    expect(await refusal(at('owner', 'postgres'))).toMatch(/^failed_precondition: .*make it the owner/)
    expect(await refusal(at('owner', 'postgres', '?options=-csearch_path%3Dnone'))).toMatch(/^failed_precondition: .*no schema that exists/)
    expect(await refusal(at('owner', 'postgres', '?sslmode=require'))).toMatch(/^unavailable: .*does not encrypt/)
    expect(await refusal(at('owner', 'postgres', '?sslmode=verify-ca&sslrootcert=/none.pem'))).toBe(
      'failed_precondition: cannot read /none.pem, which sslrootcert of the conn_string names',
    )
    for (const no of [at('guest', 'postgres'), at('owner', 'missing'), at('owner', 'latin'), at('owner', 'postgres', '?sslmode=require')])
      expect(await away(no)).toBe(false)
    expect(await refusal('postgresql://owner:geheim@127.0.0.1:1/postgres')).toMatch(/^unavailable: .*cannot be reached \(ECONNREFUSED\)/)
    expect(await away('postgresql://owner:geheim@127.0.0.1:1/postgres')).toBe(true)
    expect(await refusal('postgresql://owner:geheim@no.invalid/postgres?sslmode=disable')).toMatch(/^unavailable: .*cannot be reached \(/)
  })

  test('a newer store is refused, and one that only reads too', async () => {
    const { at, type } = await freshLocation('postgresql')
    const db = await reopen({ at, type })
    await db.insertInto('migrations').values({ version: 99, name: 'future' }).execute()
    await db.close()
    expect(await refusal(at)).toMatch(/^failed_precondition: .*of a newer Sallyport \(schema 99, this one knows \d+\)/)

    const readable = await freshLocation('postgresql')
    await (await reopen(readable)).close()
    const reading = await open(readable.at.replace('options=', 'options=-cdefault_transaction_read_only%3Don%20'))
    expect(await findSecret(reading, 'a')).toBeUndefined()
    await expect(setSecret(reading, 'a', '1')).rejects.toMatchObject({
      code: 'unavailable',
      cause: { message: expect.stringContaining('primary') },
    })
    await reading.close()
  })

  test('a socket of this machine will do, and the smallest pool', async () => {
    const { admin, port } = await postgres()
    const [row] = await admin('show unix_socket_directories')
    const at = `postgresql://postgres@localhost/postgres?port=${port}&pool_max_conns=4&options=-csearch_path%3Dsocket&host=`
    await admin('create schema socket')
    const db = await open(`${at}${encodeURIComponent(String(row?.['unix_socket_directories']))}`)
    await Promise.all(Array.from({ length: 20 }, (_, index) => transact(db, (tx) => setSecret(tx, `n${index}`, '1'))))
    await expect(Promise.all(Array.from({ length: 20 }, (_, index) => findSecret(db, `n${index}`)))).resolves.not.toContain(undefined)
    await db.close()
    await db.close()
    await expect(findSecret(db, 'n1')).rejects.toMatchObject({ code: 'unavailable' })
  })

  test('several that open an empty store at once make it once', async () => {
    const location = await freshLocation('postgresql')
    const all = await Promise.all([1, 2, 3, 4].map(() => reopen(location)))
    expect((await all[0]!.selectFrom('migrations').selectAll().execute()).length).toBeGreaterThan(5)
    await Promise.all(all.map((db) => db.close()))
  })

  test('texts are in the order of their code points and numbers of eight bytes, whatever the database says', async () => {
    const { admin, port } = await postgres()
    await admin(`create database local template template0 locale_provider icu icu_locale 'de-DE' locale 'C'`)
    const db = await open(`postgresql://postgres@127.0.0.1:${port}/local`)
    const columns = await admin(
      `select table_name, column_name, data_type, collation_name from information_schema.columns
        where table_schema = 'public' and table_name <> 'migrations' and (data_type not in ('text', 'bigint') or data_type = 'text' and collation_name is distinct from 'C')`,
      'local',
    )
    expect(columns).toEqual([])
    await appendEvents(db, [event('a', { user: 'ÄRGER' }), event('b', { user: 'ärger' })], 'example')
    const found = async (text: string) => (await searchEvents(db, { text })).events.map(({ uid }) => uid)
    expect([await found('ärGER'), await found('Ä')]).toEqual([['b'], ['a']])
    await db.close()
  })

  test('what cannot be stored is said, and hostile names of events are kept all the same', async () => {
    const db = await freshStore('postgresql')
    await expect(setAccountId(db, 'a\0b', '1')).rejects.toMatchObject({ code: 'invalid_argument' })
    const long = Array.from({ length: 20_000 }, (_, index) => String.fromCodePoint(0x4e00 + ((index * 7919) % 20_000))).join('')
    await appendEvents(db, [event('a', { user: long, tool: 'x\0y' }), event('b', { user: 'lone \ud800' })], 'example')
    expect((await searchEvents(db, { user: long })).events.map(({ uid }) => uid)).toEqual(['a'])
    expect((await searchEvents(db, { tool: 'x\0y' })).events.map(({ uid }) => uid)).toEqual(['a'])
    const { events } = await searchEvents(db, {})
    expect(await verifyChain(events.map((one) => renderChained(one.text, one)))).toMatchObject({ ok: true, count: 2 })
    // The longest that may have a name, at the server with the longest name.
    const originals = [long.slice(0, 341)]
    expect(await assignNames(db, { what: 'tool', server: long.slice(0, 255), originals, now: 1 })).toEqual([expect.any(String)])
    await db.close()
  })

  test('who waits to write keeps nobody from reading, and nothing is written twice', async () => {
    const location = await freshLocation('postgresql')
    const [one, two] = [await reopen(location), await reopen(location)]
    const gate = Promise.withResolvers<void>()
    const began = Promise.withResolvers<void>()
    const first = transact(one, async (tx) => {
      await setSecret(tx, 'n', '0')
      began.resolve()
      await gate.promise
    })
    await began.promise
    const increments = Array.from({ length: 40 }, (_, index) =>
      transact(index % 2 ? one : two, async (tx) => setSecret(tx, 'n', String(Number(await findSecret(tx, 'n')) + 1))),
    )
    expect(await findSecret(one, 'n')).toBeUndefined()
    gate.resolve()
    await Promise.all([first, ...increments])
    expect(await findSecret(two, 'n')).toBe('40')
    await Promise.all([one.close(), two.close()])
  })

  test('a connection that ends within a transaction undoes it, and the next one works', async () => {
    const { admin } = await postgres()
    const db = await freshStore('postgresql')
    const fails = transact(db, async (tx) => {
      await setSecret(tx, 'a', '1')
      await admin(`select pg_terminate_backend(pid) from pg_stat_activity where state = 'idle in transaction'`)
      await setSecret(tx, 'b', '1')
    })
    await expect(fails).rejects.toMatchObject({ code: 'unavailable' })
    const swallowed = transact(db, async (tx) => {
      await setAccountId(tx, 'a\0', '1').catch(() => undefined)
      await setSecret(tx, 'c', '1')
    })
    await expect(swallowed).rejects.toMatchObject({ code: 'invalid_argument' })
    await transact(db, (tx) => setSecret(tx, 'd', '1'))
    expect([await findSecret(db, 'a'), await findSecret(db, 'c'), await findSecret(db, 'd')]).toEqual([undefined, undefined, '1'])
    await db.close()
  })

  test('a process that stops within a transaction holds the others up for ten seconds at most', { timeout: 60_000 }, async () => {
    const location = await freshLocation('postgresql')
    const [one, two] = [await reopen(location), await reopen(location)]
    const appender = await openEventAppender(location, 'example')
    const began = Promise.withResolvers<void>()
    const gate = Promise.withResolvers<void>()
    const stopped = transact(one, async (tx) => {
      await setSecret(tx, 'a', '1')
      began.resolve()
      await gate.promise
      await setSecret(tx, 'b', '1')
    })
    await began.promise
    const busy = { code: 'unavailable', message: 'the database is busy: try again' }
    await Promise.all([
      expect(transact(two, (tx) => setSecret(tx, 'c', '1'))).rejects.toMatchObject({ code: 'unavailable', cause: busy }),
      expect(appender.append([renderEvent(event('a'))])).rejects.toMatchObject(busy),
    ])
    await eventually('the lock', () =>
      transact(two, (tx) => setSecret(tx, 'd', '1')).then(
        () => true,
        () => undefined,
      ),
    )
    gate.resolve()
    await expect(stopped).rejects.toMatchObject({ code: 'unavailable' })
    expect([await findSecret(one, 'a'), await findSecret(one, 'd')]).toEqual([undefined, '1'])
    // What it began when it waited in vain is over.
    expect((await appender.append([renderEvent(event('a'))]))?.last.seq).toBe(1)
    await Promise.all([appender.close(), one.close(), two.close()])
  })

  test('an answer that does not come is not waited for, and its connection is not used again', { timeout: 60_000 }, async () => {
    const { admin } = await postgres()
    const location = await freshLocation('postgresql')
    const db = await open(`${location.at}&application_name=frozen`)
    expect(await findSecret(db, 'a')).toBeUndefined()
    const pids = (await admin(`select pid from pg_stat_activity where application_name = 'frozen'`)).map(({ pid }) => Number(pid))
    for (const pid of pids) process.kill(pid, 'SIGSTOP')
    try {
      await expect(findSecret(db, 'a')).rejects.toMatchObject({
        code: 'unavailable',
        cause: { message: expect.stringContaining('does not answer') },
      })
      expect(await findSecret(db, 'a')).toBeUndefined()
      await db.close()
    } finally {
      for (const pid of pids) process.kill(pid, 'SIGCONT')
    }
  })

  test('while the server is away all is unavailable; when it is back, all goes on', { timeout: 60_000 }, async () => {
    const server = await postgres()
    const location = await freshLocation('postgresql')
    const db = await reopen(location)
    const appender = await openEventAppender(location, 'example')
    await appender.append([renderEvent(event('a'))])
    await setAccountId(db, 'ana', '1')
    await server.stop()
    await expect(findAccountId(db, 'ana')).rejects.toMatchObject({ code: 'unavailable' })
    await expect(transact(db, (tx) => setAccountId(tx, 'ana', '2'))).rejects.toMatchObject({ code: 'unavailable' })
    await expect(listResources(db, 'role', 0)).rejects.toMatchObject({ code: 'unavailable' })
    await expect(appender.append([renderEvent(event('b'))])).rejects.toMatchObject({ code: 'unavailable' })
    await server.start()
    expect(await eventually('the store', () => findAccountId(db, 'ana').catch(() => undefined))).toBe('1')
    expect((await appender.append([renderEvent(event('a')), renderEvent(event('b'))]))?.first.seq).toBe(2)
    await transact(db, (tx) => setAccountId(tx, 'ana', '2'))
    await appender.close()
    await db.close()
  })
})
