import { beforeEach, expect, test } from 'vitest'
import type { Logger } from '../../lib/log.ts'
import { Health } from './health.ts'

const MINUTE = 60_000

let now: number
let lines: string[]
let health: Health

beforeEach(() => {
  now = 0
  lines = []
  const write = (message: string, fields: object = {}): void => void lines.push(`${message} ${JSON.stringify(fields)}`)
  const log: Logger = { debug: write, info: write, warn: write, error: write }
  health = new Health(() => now, log)
})

const IN = 'in quarantine {"server":"db","what":"tools/list items","reason":"\\"x\\" is broken"}'
const OUT = 'out of quarantine {"server":"db","what":"tools/list items"}'
const broken = (): void => health.note('ana', 'db', 'tools/list items', '"x" is broken', 2)
const fine = (): void => health.note('ana', 'db', 'tools/list items', undefined)

test('what is fine is no news', () => {
  fine()
  health.sweep()
  expect([health.list(), health.quarantine(), lines]).toEqual([[], [], []])
})

test('entering is said once, whatever callers see in turn, and so is leaving', () => {
  for (let list = 0; list < 20; list++) {
    broken()
    now += MINUTE
    fine()
    health.sweep()
  }
  expect(lines).toEqual([expect.stringContaining(IN)])
  expect(health.list()).toEqual([])
  expect(health.quarantine()).toMatchObject([{ server: 'db', topic: 'tools/list items', problem: '"x" is broken', count: 2 }])
  now += 10 * MINUTE
  health.sweep()
  expect(lines).toEqual([expect.stringContaining(IN), expect.stringContaining(OUT)])
  expect(health.quarantine()).toEqual([])
})

test('what nobody looks at any more stays for a day', () => {
  broken()
  now += 24 * 60 * MINUTE - 1
  health.sweep()
  expect(health.list()).toMatchObject([{ server: 'db', since: 0 }])
  now += 1
  health.sweep()
  expect([health.list(), lines]).toEqual([[], [expect.stringContaining(IN), expect.stringContaining(OUT)]])
})

test('a problem that lasts keeps its time, another in its place has its own, and no second line', () => {
  broken()
  now = 5
  broken()
  expect(health.list()).toMatchObject([{ problem: '"x" is broken', since: 0 }])
  health.note('ana', 'db', 'tools/list items', '"y" is broken')
  expect(health.list()).toMatchObject([{ problem: '"y" is broken', since: 5, count: 1 }])
  expect(lines).toHaveLength(1)
})

test('a thousand are kept, of so many characters', () => {
  for (let server = 0; server <= 1000; server++) health.note('ana', `s${server}`, 'initialize', 'x'.repeat(9000))
  const kept = health.quarantine()
  expect([kept.length, kept[0]?.server, kept[0]?.problem.length]).toEqual([1000, 's1', 500])
})
