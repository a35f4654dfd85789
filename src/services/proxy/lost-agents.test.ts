import { beforeEach, expect, test } from 'vitest'
import { createFeed, type FakeFeed } from '../../../test/fakes/feed.ts'
import type { ApiClient } from '../../client/call.ts'
import { AppError } from '../../lib/errors.ts'
import { silentLogger } from '../../lib/log.ts'
import { fakeClock, settle } from '../../tunnel/tunnel.fixture.ts'
import { LostAgents } from './lost-agents.ts'

let feed: FakeFeed
let clock: ReturnType<typeof fakeClock>
let connected: Set<string>
/** What the cluster was told: `+` and `-` before the ids of hosts. */
let told: string[][]
let fault: AppError | undefined
let change: (hostId: string) => void
/** Runs before an answer comes. */
let meanwhile: () => void

beforeEach(() => {
  feed = createFeed()
  clock = fakeClock()
  connected = new Set()
  told = []
  fault = undefined
  meanwhile = () => {}
})

function start(): LostAgents {
  const api = (async (_route: unknown, { agents }: { agents: { host_id: string; is_connected: boolean }[] }) => {
    if (fault) throw fault
    told.push(agents.map(({ host_id, is_connected }) => `${is_connected ? '+' : '-'}${host_id}`))
    meanwhile()
    return {}
  }) as unknown as ApiClient // of the one route that is called
  const tunnels = {
    isConnected: (hostId: string) => connected.has(hostId),
    onChange: (listener: (hostId: string) => void) => (change = listener),
  }
  return new LostAgents({ tunnels, feed, proxyId: 'here', api, clock, log: silentLogger })
}

function putHost(name: string, ...proxy_ids: string[]): void {
  const status = { join_method: 'token', joined_at: '2027-01-01T00:00:00Z', last_seen: '2027-01-01T00:00:00Z', proxy_ids }
  const host = { version: 'v1', metadata: { name }, spec: { hostname: name, roles: ['App'] }, status }
  feed.put('host', host)
}

async function pass(ms: number): Promise<void> {
  await clock.advance(ms)
  await settle()
}

test('agents that come are none of its business, those that are lost together are told together', async () => {
  start()
  connected.add('a')
  change('a')
  await pass(10_000)
  expect(told).toEqual([])
  connected.clear()
  change('a')
  change('b')
  await pass(100)
  expect(told).toEqual([['-a', '-b']])
})

test('one that came back while the cluster was told is told of too', async () => {
  start()
  change('a')
  meanwhile = () => connected.add('a')
  await pass(100)
  await pass(100)
  await pass(100)
  expect(told).toEqual([['-a'], ['+a']])
})

test('what could not be told is told later', async () => {
  start()
  fault = new AppError('unavailable', 'the store is away')
  change('a')
  await pass(100)
  fault = undefined
  await pass(2000)
  expect(told).toEqual([['-a']])
})

test('what an agent said before it was lost does not count when it comes after', async () => {
  start()
  putHost('a', 'here', 'there')
  putHost('b', 'there')
  connected.add('c')
  putHost('c', 'here')
  await pass(100)
  expect(told).toEqual([['-a']])
})

test('after a start agents have ten seconds to come back', async () => {
  for (const name of ['a', 'b']) putHost(name, 'here')
  start()
  await pass(9000)
  expect(told).toEqual([])
  connected.add('b')
  await pass(1000)
  await pass(100)
  expect(told).toEqual([['-a']])
})

test('closed, it tells nothing more', async () => {
  const lost = start()
  change('a')
  await lost.close()
  putHost('b', 'here')
  await pass(20_000)
  expect(told).toEqual([])
})
