import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Answer } from '../http-exchange.ts'
import { startWireServer, type WireServerFixture } from './wire-server.fixture.ts'

let f: WireServerFixture
beforeAll(async () => {
  f = await startWireServer()
})
afterAll(() => f.close())

interface Piece {
  bytes: number
  /** Whether a turn of the loop passes before the next. */
  waits: boolean
}

test('pieces of any size, in one turn or many, come as they were written, with a length and without', async () => {
  const bytes = fc.oneof(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 16_000, max: 17_000 }), fc.constant(100_000))
  const pieces = fc.array(fc.record({ bytes, waits: fc.boolean() }), { maxLength: 12 })
  await fc.assert(
    fc.asyncProperty(pieces, fc.boolean(), fc.boolean(), async (list, isCounted, endsWithLast) => {
      const bodies = list.map(({ bytes: size }, at) => Buffer.alloc(size, 0xc3 + at))
      const whole = Buffer.concat(bodies)
      f.onExchange = ({ answer }) => void writeAll(answer, list, bodies, { isCounted, endsWithLast })
      const response = await fetch(`http://127.0.0.1:${f.port}/mcp`, { method: 'POST', body: 'x' })
      expect(Buffer.from(await response.arrayBuffer()).equals(whole)).toBe(true)
    }),
  )
})

async function writeAll(
  answer: Answer,
  list: readonly Piece[],
  bodies: readonly Buffer[],
  { isCounted, endsWithLast }: { isCounted: boolean; endsWithLast: boolean },
): Promise<void> {
  const length = bodies.reduce((sum, body) => sum + body.length, 0)
  answer.head(200, isCounted ? { 'content-length': String(length) } : {})
  const last = endsWithLast ? bodies.at(-1) : undefined
  for (const [at, body] of bodies.entries()) {
    if (body === last) break
    if (!answer.write(body)) await answer.drained()
    if (list[at]?.waits) await new Promise((resolve) => setImmediate(resolve))
  }
  answer.end(last)
}
