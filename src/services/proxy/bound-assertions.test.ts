import { Socket } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { BoundAssertions } from './bound-assertions.ts'

setFlagsFromString('--expose-gc')
const collect: unknown = runInNewContext('gc')

function heapBytes(): number {
  if (typeof collect === 'function') collect()
  return process.memoryUsage().heapUsed
}

test('assertions of strangers, however long and many, take little memory', () => {
  const assertions = new BoundAssertions()
  const socket = new Socket()
  const before = heapBytes()
  for (let n = 0; n < 3000; n++) expect(assertions.isAcceptable(`${n}.b.${'c'.repeat(30_000)}`, { socket })).toBe(false)
  expect(heapBytes() - before).toBeLessThan(20_000_000)
  expect(assertions.isAcceptable('a.b.c', { socket })).toBe(false)
})
