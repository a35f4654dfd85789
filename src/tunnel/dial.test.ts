import type { Duplex } from 'node:stream'
import { expect, test } from 'vitest'
import { AppError } from '../lib/errors.ts'
import { silentLogger } from '../lib/log.ts'
import { keepTunnel } from './dial.ts'
import type { KeepTunnelOptions, TunnelState } from './dial.ts'
import type { Exchange } from './exchange.ts'
import { openTunnel } from './proxy-tunnel.ts'
import type { ProxyTunnel } from './proxy-tunnel.ts'
import { ask, connectedPair, echo, fakeClock, settle } from './tunnel.fixture.ts'
import type { MemoryDuplex } from './tunnel.fixture.ts'

interface Kept {
  clock: ReturnType<typeof fakeClock>
  states: string[]
  /** The proxies' ends, in the order they were dialled. */
  proxies: ProxyTunnel[]
  sockets: MemoryDuplex[]
  tunnel: ReturnType<typeof keepTunnel>
}

/** Keeps a tunnel to a proxy in memory; `connect` may fail or wait instead. */
function keep(
  options: Partial<KeepTunnelOptions> = {},
  connect?: (attempt: number, signal: AbortSignal) => Promise<Duplex | undefined>,
): Kept {
  const clock = fakeClock()
  const kept: Pick<Kept, 'states' | 'proxies' | 'sockets'> = { states: [], proxies: [], sockets: [] }
  let attempt = 0
  const tunnel = keepTunnel({
    connect: async (signal) => {
      const other = await connect?.(++attempt, signal)
      if (other) return other
      const [ours, theirs] = connectedPair()
      kept.proxies.push(openTunnel(ours, { peer: 'the agent', clock }))
      kept.sockets.push(ours)
      return theirs
    },
    target: echo,
    onState: (state: TunnelState) => void kept.states.push(state.phase === 'waiting' ? `waiting ${state.retryInMs}` : state.phase),
    backoff: { firstMs: 100, maxMs: 1000, stableMs: 60_000 },
    random: () => 1,
    clock,
    log: silentLogger,
    ...options,
  })
  return { clock, tunnel, ...kept }
}

test('waits longer after each failure, up to a bound, and less for some than for others', async () => {
  for (const [random, waits] of [
    [1, [100, 200, 400, 800, 1000, 1000]],
    [0, [50, 100, 200, 400, 500, 500]],
  ] as const) {
    const kept = keep({ random: () => random }, () => Promise.reject(new AppError('unavailable', 'refused')))
    await settle()
    for (const wait of waits) await kept.clock.advance(wait)
    expect(kept.states.filter((state) => state.startsWith('waiting')).slice(0, 6)).toEqual(waits.map((wait) => `waiting ${wait}`))
    await kept.tunnel.close()
    expect(kept.tunnel.state()).toEqual({ phase: 'closed' })
  }
})

test('a connection that does not come is given up, and destroyed when it comes after all', async () => {
  const late = Promise.withResolvers<Duplex>()
  const kept = keep({ connectMs: 5000 }, (attempt) => (attempt === 1 ? late.promise : Promise.resolve(undefined)))
  await kept.clock.advance(5000)
  expect(kept.tunnel.state()).toMatchObject({ phase: 'waiting', error: { code: 'deadline_exceeded' } })
  const [, theirs] = connectedPair()
  late.resolve(theirs)
  await settle()
  expect(theirs.destroyed).toBe(true)
  await kept.clock.advance(100)
  expect(kept.tunnel.state()).toEqual({ phase: 'open' })
  await kept.tunnel.close()
})

test('dials again when the tunnel breaks; a stable tunnel makes the failures forgotten', async () => {
  const kept = keep()
  await settle()
  kept.sockets[0]!.destroy()
  await settle()
  await kept.clock.advance(100)
  kept.sockets[1]!.destroy()
  await settle()
  await kept.clock.advance(200)
  await kept.clock.advance(60_000)
  kept.sockets[2]!.destroy()
  await settle()
  expect(kept.states).toEqual([
    'connecting',
    'open',
    'waiting 100',
    'connecting',
    'open',
    'waiting 200',
    'connecting',
    'open',
    'waiting 100',
  ])
  await kept.tunnel.close()
})

test('when the proxy drains, another tunnel is there at once while the old one ends what it has', async () => {
  const waiting: Exchange[] = []
  const kept = keep({ target: (exchange) => void waiting.push(exchange) })
  await settle()
  const asked = ask(kept.proxies[0]!.target)
  await settle()
  kept.proxies[0]!.drain()
  await settle()
  expect([kept.proxies.length, kept.states]).toEqual([2, ['connecting', 'open', 'connecting', 'open']])
  const second = ask(kept.proxies[1]!.target)
  await settle()
  for (const { answer } of waiting) {
    answer.head(200, {})
    answer.end(Buffer.from('ok'))
  }
  await Promise.all([asked.over, second.over])
  expect([asked.body.toString(), second.body.toString(), await kept.proxies[0]!.closed]).toEqual(['ok', 'ok', undefined])
  await kept.tunnel.close()
})

test('a proxy that says goodbye to every tunnel is dialled ever more slowly, and old tunnels do not pile up', async () => {
  const kept = keep({ target: () => undefined })
  for (let round = 0; round < 8; round++) {
    await settle()
    const proxy = kept.proxies.at(-1)!
    ask(proxy.target)
    proxy.drain()
    await settle()
    await kept.clock.advance(1000)
  }
  expect(kept.states.filter((state) => state.startsWith('waiting'))).toEqual([
    'waiting 200',
    'waiting 400',
    'waiting 800',
    'waiting 1000',
    'waiting 1000',
    'waiting 1000',
    'waiting 1000',
  ])
  await settle()
  expect(kept.sockets.filter(({ destroyed }) => !destroyed).length).toBeLessThanOrEqual(5)
  const closing = kept.tunnel.close(0)
  await kept.clock.advance(0)
  await closing
})

test('closing lets exchanges end within the grace, and cuts what is left', async () => {
  const waiting: Exchange[] = []
  const kept = keep({ target: (exchange) => void waiting.push(exchange) })
  await settle()
  const [quick, endless] = [ask(kept.proxies[0]!.target), ask(kept.proxies[0]!.target)]
  await settle()
  const closing = kept.tunnel.close(5000)
  await settle()
  waiting[0]!.answer.head(200, {})
  waiting[0]!.answer.end(Buffer.from('ok'))
  await quick.over
  await kept.clock.advance(5000)
  await closing
  await endless.over
  expect([quick.body.toString(), endless.status, kept.tunnel.state(), kept.states.at(-1)]).toEqual([
    'ok',
    503,
    { phase: 'closed' },
    'closed',
  ])
  await kept.tunnel.close()
})
