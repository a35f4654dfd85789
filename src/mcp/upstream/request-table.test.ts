import { expect, test } from 'vitest'
import { createRequestTable } from './request-table.ts'

const limits = { requestTimeoutMs: 1000, initializeTimeoutMs: 1000, maxInFlight: 10, maxQueuedBytes: 1000 }

test.each([
  ['many', (n: number) => `"${n}"`, 10_000],
  ['long', (n: number) => `"${String(n).padEnd(10_000, 'x')}"`, 104],
])('of %s ids whose answers may come late the oldest are forgotten', (_, idOf, kept) => {
  const table = createRequestTable({ server: 'a', limits, onAbandoned: () => undefined })
  for (let n = 0; n < 11_000; n++) table.abandon(idOf(n))
  expect(table.takeLate(idOf(11_000 - kept - 1))).toBe(false)
  expect(table.takeLate(idOf(11_000 - kept))).toBe(true)
  expect(table.takeLate(idOf(11_000 - kept))).toBe(false)
  expect(table.takeLate(idOf(10_999))).toBe(true)
})
