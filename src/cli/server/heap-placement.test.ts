import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const MODULE = join(import.meta.dirname, 'heap-placement.ts')

/** Where objects are made by code whose first 600,000 stay: how many megabytes the old part of the heap grows by with the last 300,000, of which none does. */
function program(prepare: string): string {
  return `
import { getHeapSpaceStatistics } from 'node:v8'
import { setImmediate as turn } from 'node:timers/promises'
import { placeObjectsYoung } from ${JSON.stringify(MODULE)}
${prepare}
const kept = []
let last
const make = (n) => ({ n, inner: { n } })
const old = () => getHeapSpaceStatistics().find(({ space_name }) => space_name === 'old_space').space_used_size
const keep = (count) => { for (let i = 0; i < count; i++) kept.push(make(i)) }
const drop = (count) => { for (let i = 0; i < count; i++) last = make(i) }
for (let round = 0; round < 30; round++) { keep(20_000); await turn() }
for (let round = 0; round < 30; round++) { drop(30_000); await turn() }
const before = old()
for (let round = 0; round < 10; round++) { drop(30_000); await turn() }
console.log(Math.round((old() - before) / 1e6), last.n, kept.length)
`
}

function growthOf(prepare: string): number {
  // One thread, so that it is the same every time.
  const args = ['--single-threaded', '--input-type=module', '-e', program(prepare)]
  const output = execFileSync(process.execPath, args, { encoding: 'utf8', timeout: 60_000 })
  return Number(output.split(' ')[0])
}

test('what V8 does by itself: short-lived objects fill the old part of the heap', () => {
  expect(growthOf('')).toBeGreaterThan(8)
})

test('no object is made old', () => {
  expect(growthOf('placeObjectsYoung()')).toBeLessThan(3)
})
