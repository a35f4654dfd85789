import { expect, test } from 'vitest'
import { AppError } from '../../lib/errors.ts'
import { createLogger, silentLogger } from '../../lib/log.ts'
import { openSqlite } from '../../storage/sqlite.ts'
import { reachStore } from './reach-store.ts'

const away = () => new AppError('unavailable', 'cannot use it: away', { details: { away: true } })

/** Time that passes only while somebody waits for it, and what was waited for. */
function createTime() {
  const time = {
    ms: 0,
    waits: [] as number[],
    now: () => time.ms,
    timers: {
      after: (ms: number, run: () => void) => {
        time.waits.push(ms)
        time.ms += ms
        queueMicrotask(run)
        return () => {}
      },
    },
  }
  return time
}

test.each([
  ['a wrong password', new AppError('unavailable', 'refuses the user or password', { details: {} })],
  ['a database of another program', new AppError('failed_precondition', 'of another program')],
  ['a fault', new Error('fault')],
])('%s is not waited for', async (_, fault) => {
  const { now, timers, waits } = createTime()
  const open = () => Promise.reject(fault)
  await expect(reachStore({ open, signal: undefined, now, timers, log: silentLogger })).rejects.toBe(fault)
  expect(waits).toEqual([])
})

test('one that stays away is given up after five minutes', async () => {
  const { now, timers, waits } = createTime()
  const open = () => Promise.reject(away())
  await expect(reachStore({ open, signal: undefined, now, timers, log: silentLogger })).rejects.toThrow(
    'cannot use it: away (waited for 5 minutes)',
  )
  expect(waits.slice(0, 6)).toEqual([1000, 2000, 4000, 8000, 15_000, 15_000])
  expect(waits.reduce((sum, ms) => sum + ms, 0)).toBe(300_000)
})

test('one that comes is used; what is waited for, and when it is tried again, is in the log', async () => {
  const { now, timers } = createTime()
  const lines: string[] = []
  const log = createLogger({ level: 'info', redact: (text) => text, stream: { write: (line) => void lines.push(line) } })
  let tries = 0
  const open = async () => {
    if (++tries < 3) throw away()
    return openSqlite(':memory:')
  }
  const db = await reachStore({ open, signal: undefined, now, timers, log })
  await db.close()
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([
    { message: 'the database is away: waiting for it', error: 'cannot use it: away', next_try_ms: 1000, gives_up_ms: 300_000 },
    { message: 'the database is away: waiting for it', next_try_ms: 2000, gives_up_ms: 299_000 },
    { message: 'the database is there: starting' },
  ])
})

test('a stop ends the wait', async () => {
  const stopping = new AbortController()
  const timers = { after: () => (stopping.abort(), () => {}) }
  const open = () => Promise.reject(away())
  const wait = reachStore({ open, signal: stopping.signal, now: () => 0, timers, log: silentLogger })
  await expect(wait).rejects.toMatchObject({ code: 'cancelled' })
})
