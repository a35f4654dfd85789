import type { Duplex } from 'node:stream'
import { expect, test } from 'vitest'
import { AppError } from '../../lib/errors.ts'
import { silentLogger } from '../../lib/log.ts'
import { renderProxyAddress } from '../../client/proxy-address.ts'
import { openTunnel, type ProxyTunnel } from '../../tunnel/proxy-tunnel.ts'
import { connectedPair, echo, fakeClock, settle } from '../../tunnel/tunnel.fixture.ts'
import { createFeed } from '../../../test/fakes/feed.ts'
import { ProxyTunnels } from './proxy-tunnels.ts'

/** Where the way in leads, proxies by their addresses, and what the agent did. */
function start(lead: Record<string, string | undefined>) {
  const clock = fakeClock()
  const feed = createFeed()
  const [dialled, told]: [string[], string[]] = [[], []]
  const open = new Map<string, ProxyTunnel>()
  const announce = (id: string, tunnel_addr?: string): void =>
    feed.put('proxy', {
      version: 'v2',
      metadata: { name: id },
      spec: { version: '1', hostname: id, host_id: id, ...(tunnel_addr && { tunnel_addr }) },
    })
  const begin = (): ProxyTunnels =>
    new ProxyTunnels({
      feed,
      wayIn: { host: 'way-in', port: 1 },
      reach: (address) => address,
      connect: async (proxy): Promise<Duplex> => {
        const address = renderProxyAddress(proxy)
        dialled.push(address)
        const proxyId = lead[address]
        if (proxyId === undefined) throw new AppError('unavailable', 'nobody is there')
        const [ours, theirs] = connectedPair()
        open.set(proxyId, openTunnel(ours, { peer: 'the agent', clock, proxyId }))
        return theirs
      },
      target: echo,
      onChange: (ids) => void told.push(ids.join('+')),
      backoff: { firstMs: 100, maxMs: 100, stableMs: 60_000 },
      random: () => 1,
      clock,
      log: silentLogger,
    })
  return { clock, feed, dialled, told, open, announce, begin }
}

test('while nobody tells of itself, whoever answers at the way in is served; it is the same one when it does', async () => {
  const { begin, announce, dialled, told } = start({ 'way-in:1': 'a' })
  const tunnels = begin()
  await settle()
  expect(tunnels.connected()).toEqual([])
  announce('a', 'a:1')
  await settle()
  expect(dialled).toEqual(['way-in:1'])
  expect([tunnels.connected(), told.at(-1)]).toEqual([['a'], 'a'])
  await tunnels.close(0)
})

test('a load balancer is dialled until it has led to each proxy', async () => {
  const lead: Record<string, string> = { 'way-in:1': 'a' }
  const { begin, announce, clock } = start(lead)
  announce('a')
  announce('b')
  const tunnels = begin()
  await settle()
  expect(tunnels.connected()).toEqual(['a'])
  await clock.advance(100)
  expect(tunnels.connected()).toEqual(['a'])
  lead['way-in:1'] = 'b'
  await clock.advance(100)
  expect(tunnels.connected()).toEqual(['a', 'b'])
  await tunnels.close(0)
})

test('an address that leads nowhere is left for the way in, and one that nobody can read too', async () => {
  const { begin, announce, clock, dialled } = start({ 'way-in:1': 'a' })
  announce('a', '10.0.0.1:1')
  announce('b', 'no address')
  const tunnels = begin()
  await settle()
  await clock.advance(100)
  await clock.advance(100)
  expect(tunnels.connected()).toEqual(['a'])
  expect(dialled).not.toContain('no address')
  await tunnels.close(0)
})

test('a tunnel that works is used when its proxy tells of itself no more, and not dialled again when it breaks', async () => {
  const { begin, announce, clock, feed, dialled, open, told } = start({ 'a:1': 'a', 'b:1': 'b', 'way-in:1': 'a' })
  announce('a', 'a:1')
  announce('b', 'b:1')
  const tunnels = begin()
  await settle()
  await clock.advance(100)
  expect(tunnels.connected()).toEqual(['a', 'b'])
  feed.remove('proxy', 'b')
  await settle()
  expect(tunnels.connected()).toEqual(['a', 'b'])
  const before = dialled.length
  open.get('b')?.close()
  await clock.advance(1000)
  expect([tunnels.connected(), told.at(-1)]).toEqual([['a'], 'a'])
  expect(dialled.length).toBe(before)
  feed.remove('proxy', 'a')
  await clock.advance(1000)
  expect(tunnels.connected()).toEqual(['a'])
  await tunnels.close(0)
})

test('a proxy that comes later is dialled within two seconds, and no two agents at the same moment', async () => {
  const { begin, announce, clock, dialled } = start({ 'way-in:1': 'a', 'b:1': 'b' })
  announce('a')
  const tunnels = begin()
  await settle()
  announce('b', 'b:1')
  await settle()
  expect(dialled).toEqual(['way-in:1'])
  await clock.advance(2000)
  expect(tunnels.connected()).toEqual(['a', 'b'])
  await tunnels.close(0)
})
