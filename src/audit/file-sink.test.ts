import { appendFileSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { chainHash, genesisHash, parseChained, renderChained, verifyChain } from './chain.ts'
import type { ChainedLines } from './chain.ts'
import { openFileSink } from './file-sink.ts'

let directory = ''
beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), 'sink-')), 'log')
})
afterEach(() => rmSync(join(directory, '..'), { recursive: true, force: true }))

function lines(count: number, cluster = 'example'): string[] {
  let prev = genesisHash(cluster)
  return Array.from({ length: count }, (_, index) => {
    const text = JSON.stringify({ uid: `u${index + 1}`, cluster_name: cluster })
    const hash = chainHash(prev, text)
    const line = renderChained(text, { seq: index + 1, prev, hash })
    prev = hash
    return line
  })
}

function batch(some: string[]): ChainedLines {
  const [first, last] = [parseChained(some[0] ?? ''), parseChained(some.at(-1) ?? '')]
  if (!first || !last) throw new Error('not chained')
  return { first, last, bytes: new TextEncoder().encode(some.map((line) => `${line}\n`).join('')) }
}

const DAY_1 = Date.UTC(2026, 0, 2, 23, 59)
const DAY_2 = Date.UTC(2026, 0, 3)
const store = lines(9)
const pageOf =
  (all: string[]) =>
  async (seq: number): Promise<string[]> =>
    all.slice(seq, seq + 2)
const read = (name: string): string => readFileSync(join(directory, name), 'utf8')
const rendered = (from: number, to: number): string =>
  store
    .slice(from - 1, to)
    .map((line) => `${line}\n`)
    .join('')

test('files of another store, or of a later state of this one, are refused', async () => {
  const sink = await openFileSink(directory, { now: () => DAY_1, head: 5, since: pageOf(store.slice(0, 5)) })
  await sink.close()
  await expect(openFileSink(directory, { now: () => DAY_1, head: 3, since: pageOf(store.slice(0, 3)) })).rejects.toThrow(
    'holds audit events up to 5, the store only up to 3',
  )
  await expect(openFileSink(directory, { now: () => DAY_1, head: 9, since: pageOf(lines(9, 'other')) })).rejects.toThrow(
    'is not of this store',
  )
  appendFileSync(join(directory, '2026-01-02.jsonl'), 'something\n')
  await expect(openFileSink(directory, { now: () => DAY_1, head: 9, since: pageOf(store) })).rejects.toThrow('is no audit record')
})

test('one file a day, the newest behind events.log, in one chain', async () => {
  let now = DAY_1
  const sink = await openFileSink(directory, { now: () => now, head: 0, since: async () => [] })
  await sink.write(batch(store.slice(0, 2)))
  now = DAY_2
  await sink.write(batch(store.slice(2, 3)))
  now = DAY_1
  await sink.write(batch(store.slice(3, 4)))
  await sink.close()
  expect(read('2026-01-02.jsonl')).toBe(rendered(1, 2))
  expect(read('2026-01-03.jsonl')).toBe(rendered(3, 4))
  expect(readlinkSync(join(directory, 'events.log'))).toBe('2026-01-03.jsonl')
  expect(readdirSync(directory)).toHaveLength(3)
  expect(statSync(join(directory, '2026-01-03.jsonl')).mode & 0o777).toBe(0o600)
  expect(await verifyChain((read('2026-01-02.jsonl') + read('2026-01-03.jsonl')).split('\n'))).toMatchObject({ ok: true, count: 4 })
})

test('after a crash half a line goes and the store fills in what is missing', async () => {
  const sink = await openFileSink(directory, { now: () => DAY_1, head: 3, since: pageOf(store.slice(0, 3)) })
  await sink.close()
  appendFileSync(join(directory, '2026-01-02.jsonl'), (store[3] ?? '').slice(0, 40))
  const next = await openFileSink(directory, { now: () => DAY_2, head: 6, since: pageOf(store.slice(0, 6)) })
  await next.close()
  expect(read('2026-01-02.jsonl') + read('2026-01-03.jsonl')).toBe(rendered(1, 6))
})

test('lines that are there are passed over, gaps are filled from the store', async () => {
  let known = 2
  const sink = await openFileSink(directory, { now: () => DAY_1, head: 2, since: (seq) => pageOf(store.slice(0, known))(seq) })
  await sink.write(batch(store.slice(0, 3)))
  known = 8
  await Promise.all([sink.write(batch(store.slice(6, 8))), sink.write(batch(store.slice(3, 6)))])
  await sink.close()
  expect(read('2026-01-02.jsonl')).toBe(rendered(1, 8))
})
