import { spawnSync } from 'node:child_process'
import { appendFileSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { AppError } from '../lib/errors.ts'
import { silentLogger } from '../lib/log.ts'
import type { AuditEvent } from './event.ts'
import { renderPoint } from './journal-record.ts'
import type { OpenRecord } from './journal-writer.ts'
import { openSpool } from './spool.ts'
import type { Spool } from './spool.ts'

let directory = ''
let warnings: string[] = []
const log = {
  ...silentLogger,
  warn: (message: string, fields: Readonly<Record<string, unknown>> = {}) => {
    warnings.push(typeof fields['reason'] === 'string' ? `${message} ${fields['reason']}` : message)
  },
}

beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), 'spool-')), 'spool')
  warnings = []
})
afterEach(() => rmSync(join(directory, '..'), { recursive: true, force: true }))

function event(uid: string, fields: Partial<AuditEvent> = {}): AuditEvent {
  return {
    event: 'mcp.session.request',
    code: 'TMCP003I',
    time: '2026-01-02T03:04:05.678Z',
    uid,
    ei: 0,
    cluster_name: 'example',
    ...fields,
  }
}

const start = (spool: Spool, started: AuditEvent): OpenRecord => spool.start(started.uid, JSON.stringify(started))

function open(segmentBytes?: number): ReturnType<typeof openSpool> {
  return openSpool(directory, { log, ...(segmentBytes !== undefined && { segmentBytes }) })
}

/** A store that keeps what it is sent, in batches of uids. */
function createStore() {
  const batches: string[][] = []
  const events: AuditEvent[] = []
  const send = async (sent: AuditEvent[]): Promise<void> => {
    batches.push(sent.map(({ uid }) => uid))
    events.push(...sent)
  }
  return { batches, events, send }
}

const files = (): string[] => readdirSync(directory).sort()

test('a full disk refuses: flushed rejects, nothing is half written, what was pending is kept', () => {
  const script = `
    import { openSpool } from ${JSON.stringify(join(import.meta.dirname, 'spool.ts'))}
    const log = { debug() {}, info() {}, warn() {}, error() {} }
    const spool = openSpool(${JSON.stringify(directory)}, { log })
    const event = (uid, path) => ({ event: 'user.login', code: '', time: '2026-01-02T03:04:05.678Z', uid, ei: 0, cluster_name: 'c', path })
    spool.point(event('before', ''))
    await spool.flushed()
    for (let i = 0; ; i++) {
      try {
        spool.point(event('x' + i, 'x'.repeat(50000)))
        await spool.flushed()
      } catch (error) {
        const refused = []
        for (let j = 0; j < 200 && refused.length === 0; j++) {
          try { spool.start('y' + j, JSON.stringify(event('y' + j, 'y'.repeat(50000)))) } catch (e) { refused.push(e.code) }
        }
        console.log(JSON.stringify([error.code, error.message, refused[0], i]))
        process.exit(0)
      }
    }`
  // A limit on the size of files stands in for the disk: 512 KiB.
  const run = spawnSync(
    'bash',
    ['-c', `trap '' XFSZ; ulimit -f 512; exec "$0" --input-type=module-typescript -e "$1"`, process.execPath, script],
    { encoding: 'utf8' },
  )
  const [code, message, later, written]: [string, string, string, number] = JSON.parse(run.stdout || `["${run.stderr.slice(0, 200)}"]`)
  expect(code).toBe('resource_exhausted')
  expect(message).toContain('disk of the audit journal is full')
  expect(later).toBe('resource_exhausted')
  const lines = readFileSync(join(directory, 'segment-0000000001.jsonl'), 'utf8').split('\n')
  expect(lines).toHaveLength(1 + 1 + written + 1)
  expect(lines.at(-1)).toBe('')
})

test('a start without an end is an interrupted event after the process is gone, once', async () => {
  const crashed = open()
  start(crashed, event('a', { user: 'ana' }))
  const ended = start(crashed, event('b'))
  await crashed.flushed()
  crashed.end(ended, JSON.stringify({ success: true }))
  await crashed.flushed()
  const store = createStore()
  await crashed.drain(store.send)
  await crashed.close()
  expect(store.events.map(({ uid, outcome }) => [uid, outcome])).toEqual([['b', 'success']])

  const next = open()
  next.point(event('c'))
  await next.flushed()
  await next.drain(store.send)
  await next.close()
  expect(store.events.slice(1)).toMatchObject([
    {
      uid: 'a',
      user: 'ana',
      success: false,
      outcome: 'interrupted',
      code: 'TMCP003E',
      error: 'the gateway stopped before the answer was known',
    },
    { uid: 'c' },
  ])

  const last = open()
  expect(await last.drain(store.send)).toBe(0)
  await last.close()
})

test('an open call holds nothing back, and start and end become one event in order of the ends', async () => {
  const spool = open()
  const slow = start(spool, event('slow', { user: 'ana' }))
  spool.end(start(spool, event('quick')), JSON.stringify({ success: true, result_bytes: 5 }))
  spool.point(event('login', { event: 'user.login' }))
  await spool.flushed()
  const store = createStore()
  await spool.drain(store.send)
  expect(store.batches).toEqual([['quick', 'login']])
  expect(store.events[0]).toEqual(event('quick', { success: true, result_bytes: 5, outcome: 'success' }))

  spool.end(slow, JSON.stringify({ success: false, error: 'too late' }))
  spool.end(slow, JSON.stringify({ success: true }))
  await spool.flushed()
  await spool.drain(store.send)
  expect(store.events[2]).toEqual(event('slow', { user: 'ana', success: false, error: 'too late', outcome: 'failure', code: 'TMCP003E' }))
  expect(store.events).toHaveLength(3)
  expect(warnings).toEqual(['audit journal: end of a call that has ended'])
  await spool.close()
})

test('all records of a turn of the event loop leave in one write at its end', async () => {
  const spool = open()
  const lines = (): string[] => readFileSync(join(directory, 'segment-0000000001.jsonl'), 'utf8').split('\n')
  const a = start(spool, event('a'))
  const written = spool.flushed()
  await Promise.resolve()
  spool.end(a, '{"success":true}')
  spool.point(event('b'))
  expect(spool.flushed()).toBe(written)
  expect(lines()).toEqual(['{"kind":"opened"}', ''])
  await written
  expect(lines().map((line) => line.slice(0, 15))).toEqual(['{"kind":"opened', '{"kind":"start"', '{"kind":"end","', '{"kind":"point"', ''])
  await spool.close()
  spool.point(event('late'))
  await expect(spool.flushed()).rejects.toThrow('the audit journal is closed')
})

test('nothing is handed out before it is flushed', async () => {
  const spool = open()
  const store = createStore()
  spool.point(event('a'))
  expect(await spool.drain(store.send)).toBe(0)
  await spool.flushed()
  expect(await spool.drain(store.send)).toBe(1)
  await spool.close()
})

test('when sending fails nothing is lost or passed over, also over a restart', async () => {
  const spool = open()
  for (const uid of ['a', 'b', 'c']) spool.point(event(uid))
  await spool.flushed()
  const failing = async (): Promise<void> => {
    throw new AppError('unavailable', 'no store')
  }
  await expect(spool.drain(failing)).rejects.toThrow('no store')
  spool.point(event('d'))
  await spool.flushed()
  await expect(spool.drain(failing)).rejects.toThrow('no store')
  await spool.close()

  const next = open()
  const store = createStore()
  await next.drain(store.send, { batch: 2 })
  await next.close()
  expect(store.batches).toEqual([
    ['a', 'b'],
    ['c', 'd'],
  ])
})

test('an event that the store calls invalid is set aside and does not block the others', async () => {
  const spool = open()
  for (const uid of ['a', 'bad', 'c']) spool.point(event(uid))
  await spool.flushed()
  const store = createStore()
  await spool.drain(async (events) => {
    if (events.some(({ uid }) => uid === 'bad')) throw new AppError('invalid_argument', 'no such type')
    await store.send(events)
  })
  await spool.close()
  expect(store.batches).toEqual([['a'], ['c']])
  expect(readFileSync(join(directory, 'corrupt-1.jsonl'), 'utf8')).toContain('"uid":"bad"')
  expect(warnings).toEqual(['audit journal: a record was set aside refused by the store: no such type'])
})

test('damage is set aside with a warning; a torn last line is nothing', async () => {
  const spool = open()
  spool.point(event('a'))
  await spool.flushed()
  await spool.close()
  const segment = join(directory, 'segment-0000000001.jsonl')
  appendFileSync(
    segment,
    ['not json', 'x'.repeat(2_500_000), '{"kind":"end","uid":"nobody","fields":{}}', renderPoint(event('b')), '{"kind":"poi'].join('\n'),
  )

  const next = open()
  const store = createStore()
  await next.drain(store.send)
  await next.close()
  expect(store.batches).toEqual([['a', 'b']])
  expect(warnings).toEqual([
    'audit journal: a record was set aside not a journal record',
    'audit journal: a record was set aside not a journal record',
    'audit journal: a record was set aside not a journal record',
    'audit journal: a record was set aside not a journal record',
    'audit journal: a record was set aside an end without its start',
  ])
  expect(readFileSync(join(directory, 'corrupt-1.jsonl'), 'utf8')).toMatch(/^not json\nx{1048576}\nx{1048576}\nx{402848}\n\{"kind":"end"/)
})

test('segments are rotated and deleted when sent; open starts outlive them', async () => {
  const spool = open(2000)
  const store = createStore()
  start(spool, event('long', { user: 'ana' }))
  for (let index = 0; index < 60; index += 1) {
    spool.point(event(`p${index}`))
    await spool.flushed()
  }
  const before = files().length
  await spool.drain(store.send)
  expect(before).toBeGreaterThan(4)
  expect(files()).toHaveLength(2)
  expect(files()).toContain('offset.json')
  await spool.close()

  const next = open(2000)
  await next.drain(store.send)
  await next.close()
  expect(store.events.slice(60)).toMatchObject([{ uid: 'long', user: 'ana', outcome: 'interrupted' }])
})

test('a damaged or missing offset sends again what is there', async () => {
  const spool = open()
  spool.point(event('a'))
  await spool.flushed()
  const store = createStore()
  await spool.drain(store.send)
  await spool.close()
  writeFileSync(join(directory, 'offset.json'), '')
  const next = open()
  await next.drain(store.send)
  await next.close()
  expect(store.batches).toEqual([['a'], ['a']])
})

test('only the owner can read it', async () => {
  const spool = open()
  spool.point(event('a'))
  await spool.flushed()
  await spool.drain(async () => {})
  await spool.close()
  expect(statSync(directory).mode & 0o777).toBe(0o700)
  for (const name of files()) expect([name, statSync(join(directory, name)).mode & 0o777]).toEqual([name, 0o600])
})

test('ship sends what comes while it runs, over a failure, until it is told to stop', async () => {
  const spool = open()
  const stop = new AbortController()
  const received: string[] = []
  let failures = 0
  const arrived = Promise.withResolvers<void>()
  const shipping = spool.ship(
    async (events) => {
      if (failures === 0) {
        failures += 1
        throw new AppError('unavailable', 'no store')
      }
      received.push(...events.map(({ uid }) => uid))
      if (received.length === 2) arrived.resolve()
      else {
        spool.point(event('b'))
        await spool.flushed()
      }
    },
    { signal: stop.signal },
  )
  spool.point(event('a'))
  await spool.flushed()
  await arrived.promise
  stop.abort()
  await shipping
  await spool.close()
  expect(received).toEqual(['a', 'b'])
  expect(warnings).toEqual(['audit events cannot be sent now: they stay in the journal'])
})

test('a journal that has as much as it may refuses calls, still takes their ends and refusals, and goes on once the store took enough', async () => {
  const spool = openSpool(directory, { log, segmentBytes: 1024 * 1024, maxBytes: 8 * 1024 * 1024 })
  const begun = start(spool, event('begun'))
  for (let i = 0; i < 90; i++) spool.point(event(`p${i}`, { path: 'x'.repeat(100_000) }))
  await spool.flushed()
  expect(() => start(spool, event('refused'))).toThrow(
    /^the audit journal of the gateway holds \d+ MiB of events that the store has not taken/,
  )
  spool.end(begun, '{"success":true}')
  spool.point(event('denied'))
  await spool.flushed()
  const store = createStore()
  expect(await spool.drain(store.send)).toBe(92)
  await expect.poll(() => attempt(() => start(spool, event('taken')))).toBe('taken')
  await spool.close()
})

function attempt(act: () => OpenRecord): string {
  try {
    return act().uid
  } catch (error) {
    return String(error)
  }
}
