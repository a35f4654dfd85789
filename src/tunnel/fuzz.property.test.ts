import fc from 'fast-check'
import { expect, test } from 'vitest'
import { silentLogger } from '../lib/log.ts'
import { serveTunnel } from './agent-tunnel.ts'
import { FRAME, encodeGoaway } from './frame.ts'
import { openTunnel } from './proxy-tunnel.ts'
import { data, frame, hello, listen, open, ping, reset, widen } from './raw-peer.fixture.ts'
import { ask, connectedPair, echo, fakeClock, settle } from './tunnel.fixture.ts'

/** `FUZZ_SEED=1 FUZZ_RUNS=100000 npx vitest run src/tunnel/fuzz.property.test.ts` for a longer look. */
const settings = readSettings()

function readSettings(): { numRuns: number; seed?: number } {
  const { FUZZ_SEED: seed, FUZZ_RUNS: runs = '200' } = process.env
  return { numRuns: Number(runs), ...(seed !== undefined && { seed: Number(seed) }) }
}

const HEAD = Buffer.from([0, 200, 0, 0])
const request = ask(() => undefined, { text: 'ten bytes!' }).exchange
const IDS = [1, 2, 3, 4]

/** What a proxy says to an agent, and an agent to a proxy that has opened four streams, before anything is done to it. */
const fromProxy = [
  hello(),
  ...IDS.flatMap((id) => [open(id, request), data(id, 'ten '), widen(id, 100), data(id, 'bytes!', true), ping()]),
  reset(2),
  widen(0, 5),
  frame(FRAME.goaway, 0, encodeGoaway(0, 'closing', 'bye')),
]
const fromAgent = [
  hello(),
  ...IDS.flatMap((id) => [frame(FRAME.accept, id, HEAD), data(id, 'one '), widen(id, 100), data(id, 'two', id !== 2), ping()]),
  reset(2),
  widen(0, 5),
  frame(FRAME.goaway, 0, encodeGoaway(4, 'closing', 'bye')),
]

interface Change {
  at: number
  kind: 'set' | 'cut' | 'double' | 'insert' | 'swap'
  value: number
  length: number
}

const changes = fc.array(
  fc.record<Change>({
    at: fc.nat(2000),
    kind: fc.constantFrom('set', 'cut', 'double', 'insert', 'swap'),
    value: fc.oneof(fc.nat(9), fc.nat(255)),
    length: fc.nat(40),
  }),
  { minLength: 1, maxLength: 6 },
)
const sizes = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 5 })

/** `swap` moves whole frames about, the others do not know of frames. The hello mostly stays, or little would be seen behind it. */
function change(frames: readonly Buffer[], list: readonly Change[]): Buffer {
  const order = [...frames]
  for (const { kind, at, length } of list) {
    if (kind !== 'swap') continue
    const [moved] = order.splice(1 + (at % (order.length - 1)), 1)
    if (moved) order.splice(1 + (length % order.length), 0, moved)
  }
  let bytes: Buffer = Buffer.concat(order)
  for (const { at, kind, value, length } of list) {
    const place = (at * 7) % bytes.length
    const [before, after] = [bytes.subarray(0, place), bytes.subarray(place)]
    if (kind === 'set') bytes.fill(value, place, place + 1)
    else if (kind === 'cut') bytes = Buffer.concat([before, after.subarray(length)])
    else if (kind === 'double') bytes = Buffer.concat([before, after.subarray(0, length), after])
    else if (kind === 'insert') bytes = Buffer.concat([before, Buffer.alloc(length, value), after])
  }
  return bytes
}

test('bytes that were changed at will never make an agent throw, hang or grow', async () => {
  await fc.assert(
    fc.asyncProperty(changes, sizes, async (list, pieces) => {
      const clock = fakeClock()
      const [socket, theirs] = connectedPair()
      listen(socket)
      let served = 0
      const agent = serveTunnel(
        theirs,
        (exchange) => {
          served += 1
          echo(exchange)
        },
        { clock, log: silentLogger },
      )
      const bytes = change(fromProxy, list)
      socket.pieces = pieces
      socket.write(bytes)
      await settle(3)
      expect(served).toBeLessThanOrEqual(8)
      expect(theirs.written).toBeLessThan(10 * bytes.length + 2000)
      // Whatever state that left it in, silence ends it.
      socket.isFrozen = true
      await clock.advance(75_000)
      await agent.closed
      expect([agent.load(), theirs.destroyed]).toEqual([0, true])
    }),
    settings,
  )
})

test('bytes that were changed at will never make a proxy throw, hang or grow, and every client hears the end', async () => {
  await fc.assert(
    fc.asyncProperty(changes, sizes, async (list, pieces) => {
      const clock = fakeClock()
      const [socket, theirs] = connectedPair()
      listen(socket)
      const proxy = openTunnel(theirs, { peer: 'the agent', clock })
      const asked = IDS.map(() => ask(proxy.target))
      const bytes = change(fromAgent, list)
      socket.pieces = pieces
      socket.write(bytes)
      await settle(3)
      expect(theirs.written).toBeLessThan(10 * bytes.length + 3000)
      socket.isFrozen = true
      await clock.advance(75_000)
      await proxy.closed
      expect([proxy.load(), theirs.destroyed, asked.filter(({ outcome }) => outcome === 'open').length]).toEqual([0, true, 0])
    }),
    settings,
  )
})
