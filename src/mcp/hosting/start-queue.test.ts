import { expect, test, vi } from 'vitest'
import { faultOf } from '../../../test/fakes/outgoing.ts'
import { createStartQueue } from './start-queue.ts'

const REFUSAL = {
  code: 'resource_exhausted',
  origin: 'gateway',
  message: 'too many MCP servers are being started on this agent: try again in a moment',
}

test('who would wait too long, or behind too many, is refused', async () => {
  vi.useFakeTimers()
  try {
    const queue = createStartQueue({ limit: 1, maxWaiting: 1, waitMs: 1000 })
    const first = await queue.enter()
    const waiting = faultOf(queue.enter())
    expect(await faultOf(queue.enter())).toEqual(REFUSAL)
    vi.advanceTimersByTime(1000)
    expect(await waiting).toEqual(REFUSAL)
    first.release()
    expect(await queue.enter()).toBeDefined()
  } finally {
    vi.useRealTimers()
  }
})

test('turns are taken in order, a few at a time, and ended once', async () => {
  const queue = createStartQueue({ limit: 2, maxWaiting: 10, waitMs: 60_000 })
  const order: number[] = []
  const turns: { release(): void }[] = []
  const entering = [0, 1, 2, 3].map(async (number) => {
    turns[number] = await queue.enter()
    order.push(number)
  })
  await Promise.all(entering.slice(0, 2))
  expect(order).toEqual([0, 1])
  turns[0]?.release()
  turns[0]?.release()
  await entering[2]
  expect(order).toEqual([0, 1, 2])
  turns[1]?.release()
  await entering[3]
  expect(order).toEqual([0, 1, 2, 3])
})
