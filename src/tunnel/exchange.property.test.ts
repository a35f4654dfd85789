import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Exchange } from './exchange.ts'
import { ask, settle, tunnelPair } from './tunnel.fixture.ts'
import type { Asked } from './tunnel.fixture.ts'

/** What happens to one exchange: the model is that the client gets exactly this. */
interface Plan {
  request: number
  parts: number[]
  ending: 'end' | 'abort' | 'leave' | 'wait'
  /** The client takes nothing before so many turns. */
  stallTurns: number
}

const plan = fc.record<Plan>({
  request: fc.oneof(fc.constant(0), fc.nat(300), fc.nat(200_000)),
  parts: fc.array(fc.oneof(fc.nat(200), fc.nat(90_000)), { maxLength: 6 }),
  ending: fc.constantFrom('end', 'end', 'end', 'abort', 'leave', 'wait'),
  stallTurns: fc.oneof(fc.constant(0), fc.nat(20)),
})
const pieces = fc.array(fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 70_000 })), { minLength: 1, maxLength: 6 })

function bytes(length: number, seed: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, index) => (index * 7 + seed) & 0xff))
}

const answerOf = ({ parts }: Plan, index: number): Buffer => Buffer.concat(parts.map((length, part) => bytes(length, index + part)))

async function serve(exchange: Exchange, plans: readonly Plan[], bodies: Map<number, Buffer>, gone: Set<number>): Promise<void> {
  const index = Number(exchange.path.slice(1))
  const { answer, signal, body } = exchange
  const { parts, ending } = plans[index]!
  bodies.set(index, Buffer.from(body))
  signal.addEventListener('abort', () => gone.add(index))
  answer.head(200, { 'mcp-index': String(index) })
  for (const [part, length] of parts.entries()) if (!answer.write(bytes(length, index + part))) await answer.drained()
  if (ending === 'end') answer.end()
  else if (ending === 'abort') answer.abort('as planned')
}

test('any number of exchanges, however cut and stalled, end as they would without a tunnel between', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(plan, { minLength: 1, maxLength: 8 }), pieces, pieces, async (plans, there, back) => {
      const [bodies, gone] = [new Map<number, Buffer>(), new Set<number>()]
      const limits = { streamWindow: 20_000, maxStreamWindow: 50_000, connectionWindow: 200_000 }
      const { proxy, agent, sockets } = tunnelPair((exchange) => void serve(exchange, plans, bodies, gone), {
        proxy: { limits },
        agent: { limits },
      })
      sockets[0].pieces = there
      sockets[1].pieces = back
      const asked: Asked[] = plans.map(({ request, stallTurns }, index) => {
        const one = ask(proxy.target, { path: `/${index}`, body: bytes(request, index) })
        if (stallTurns > 0) one.stall()
        return one
      })
      for (let round = 0; round < 20; round++) {
        plans.forEach(({ stallTurns }, index) => stallTurns === round && asked[index]!.take())
        await settle(1)
      }
      asked.forEach((one) => one.take())
      for (
        let round = 0;
        round < 400 && asked.some(({ outcome }, index) => outcome === 'open' && /end|abort/.test(plans[index]!.ending));
        round++
      )
        await settle(1)
      await settle()
      asked.forEach((one, index) => plans[index]!.ending === 'leave' && one.leave())
      await settle()
      for (const [index, one] of asked.entries()) {
        const { ending, request } = plans[index]!
        const answer = answerOf(plans[index]!, index)
        expect(bodies.get(index)?.equals(bytes(request, index))).toBe(true)
        expect(one.headers['mcp-index']).toBe(String(index))
        if (ending === 'abort') expect([one.outcome, answer.subarray(0, one.body.length).equals(one.body)]).toEqual(['aborted', true])
        else expect([one.outcome, one.body.equals(answer)]).toEqual([ending === 'end' ? 'ended' : 'open', true])
        expect(gone.has(index)).toBe(ending === 'leave')
      }
      expect(proxy.load()).toBe(plans.filter(({ ending }) => ending === 'wait').length)
      proxy.close()
      await Promise.all([proxy.closed, agent.closed])
      expect(plans.every(({ ending }, index) => ending !== 'wait' || asked[index]!.outcome === 'aborted')).toBe(true)
    }),
    { numRuns: 40 },
  )
})
