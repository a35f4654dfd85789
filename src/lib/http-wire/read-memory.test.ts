import { expect, test } from 'vitest'
import { createReadMemory } from './read-memory.ts'

test('only what was lent comes back, once, by any part of it', () => {
  const memory = createReadMemory()
  const [lent, kept] = [memory.take(), memory.take()]
  memory.lend(lent)
  memory.giveBack(kept)
  memory.giveBack(Buffer.from('of nobody here'))
  memory.giveBack(lent.subarray(5, 7))
  memory.giveBack(lent)
  const next = [memory.take(), memory.take()]
  expect(next.map((one) => [one === lent, one === kept])).toEqual([
    [true, false],
    [false, false],
  ])
})

test('what nobody uses is let go', () => {
  const memory = createReadMemory()
  const lent = Array.from({ length: 4 }, () => memory.take())
  for (const one of lent) memory.lend(one)
  for (const one of lent) memory.giveBack(one)
  memory.sweep()
  expect([memory.take(), memory.take(), memory.take()].filter((one) => lent.includes(one))).toHaveLength(2)
  memory.sweep()
  expect(lent).not.toContain(memory.take())
})
