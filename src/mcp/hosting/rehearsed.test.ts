import { afterEach, expect, test } from 'vitest'
import { call, faultOf, messageText, never, notification, request, toolText } from '../../../test/fakes/outgoing.ts'
import { ECHO_STDIO, openAs, stdioApp, stdioDeps } from '../../../test/fakes/stdio-app.ts'
import type { Hosting } from '../../resources/hosting.ts'
import { createStdioUpstream } from '../upstream/stdio.ts'
import type { Upstream, UpstreamSession } from '../upstream/upstream.ts'

// Spares of a server that takes three seconds to answer `initialize`.

const opened: Upstream[] = []
afterEach(async () => {
  for (const upstream of opened.splice(0)) await upstream.close()
})

async function serve(hosting: Hosting, ...flags: string[]) {
  const deps = await stdioDeps()
  const upstream = createStdioUpstream(stdioApp(process.execPath, [ECHO_STDIO, ...flags], undefined, hosting), deps)
  opened.push(upstream)
  await expect.poll(() => deps.registry.count).toBe(hosting.warm)
  return { upstream, registry: deps.registry }
}

const DESKTOP = { protocolVersion: '2025-11-25', capabilities: { roots: {} }, clientInfo: { name: 'desktop', version: '1' } }

interface Begun {
  session: UpstreamSession
  answer: string
  ms: number
}

async function begin(upstream: Upstream, id: string, params: object = DESKTOP): Promise<Begun> {
  const since = performance.now()
  const session = await upstream.open(openAs('legacy'))
  const answer = messageText(await session.send(request(id, 'initialize', params), never))
  return { session, answer, ms: performance.now() - since }
}

/** What the process of a session was told by now, before this. */
async function received(session: UpstreamSession): Promise<unknown[]> {
  const lines = JSON.parse(toolText(await session.send(call('900', 'received'), never))) as string[] // as the tool answers
  return lines.slice(0, -1).map((line) => JSON.parse(line))
}

/** Waits until so many processes have answered `initialize`. */
async function ready(upstream: Upstream, count: number): Promise<void> {
  await expect.poll(() => upstream.stderrTail()).toHaveLength(count)
}

test('a session that begins as one before it has its answer at once, from a process of its own', async () => {
  const { upstream, registry } = await serve({ warm: 1 }, '--slow')
  const first = await begin(upstream, '7')
  expect(first.ms).toBeGreaterThan(2500)
  await ready(upstream, 2)
  const next = await begin(upstream, '"a"')
  expect(next.ms).toBeLessThan(2500)
  expect(next.answer).toMatch(/^\{"jsonrpc":"2\.0","id":"a","result":\{"protocolVersion":"2025-11-25"/)
  await next.session.send(notification('notifications/initialized'), never)
  expect(await received(next.session)).toEqual([
    { jsonrpc: '2.0', id: 2147483646, method: 'initialize', params: DESKTOP },
    { jsonrpc: '2.0', method: 'notifications/initialized', params: {} },
  ])
  expect(toolText(await next.session.send(call('2', 'pid'), never))).not.toBe(toolText(await first.session.send(call('2', 'pid'), never)))
  await next.session.close()
  await first.session.close()
  await expect.poll(() => registry.count).toBe(1)
})

test('one that comes while a process is being told waits for the rest of its time only', async () => {
  const { upstream, registry } = await serve({ warm: 1 }, '--slow')
  await begin(upstream, '1')
  await expect.poll(() => registry.count).toBe(2)
  const next = await begin(upstream, '1')
  expect(next.answer).toContain('"id":1,"result"')
  expect(await received(next.session)).toHaveLength(1)
})

test.each([
  ['another revision', { ...DESKTOP, protocolVersion: '2025-06-18' }],
  ['other capabilities', { ...DESKTOP, capabilities: { roots: { listChanged: true } } }],
  ['another client', { ...DESKTOP, clientInfo: { name: 'desktop', version: '2' } }],
])('a session with %s gets no process that was told something else', async (_, params) => {
  const { upstream } = await serve({ warm: 1 })
  await begin(upstream, '1')
  const other = await begin(upstream, '5', params)
  expect(await received(other.session)).toEqual([{ jsonrpc: '2.0', id: 5, method: 'initialize', params }])
})

test('what is said of one caller is said to no spare', async () => {
  const { upstream } = await serve({ warm: 1 })
  const params = { ...DESKTOP, _meta: { 'example.com/token': 'of alice' } }
  for (const id of [1, 2, 3]) {
    const { session } = await begin(upstream, String(id), params)
    expect(await received(session)).toEqual([{ jsonrpc: '2.0', id, method: 'initialize', params }])
  }
})

test(
  'what the server refuses is said to no spare, and clients of the other era get one that was told nothing',
  { timeout: 30_000 },
  async () => {
    const { upstream, registry } = await serve({ warm: 1 }, '--fussy')
    const params = { ...DESKTOP, clientInfo: { name: 'unwanted', version: '1' } }
    for (const id of ['1', '2']) expect((await begin(upstream, id, params)).answer).toContain('"error"')
    await expect.poll(() => registry.count).toBe(3)
    const modern = await upstream.open(openAs('modern'))
    expect(await received(modern)).toEqual([])
  },
)

test('a spare waits longer than a session that is not used', async () => {
  const { upstream, registry } = await serve({ warm: 1, idle_stop: '1s' })
  const first = await begin(upstream, '1')
  expect(await first.session.ended).toBe('MCP server "tools" was stopped for want of use')
  const next = await begin(upstream, '2')
  expect(await received(next.session)).toMatchObject([{ id: 2147483646 }])
  expect(await next.session.ended).toBe('MCP server "tools" was stopped for want of use')
  await expect.poll(() => registry.count).toBe(1)
})

test('nothing is left when the server goes while a session waits for its spare', async () => {
  const { upstream, registry } = await serve({ warm: 1 }, '--slow')
  await begin(upstream, '1')
  await expect.poll(() => registry.count).toBe(2)
  const session = await upstream.open(openAs('legacy'))
  const leaving = new AbortController()
  const left = faultOf(session.send(request('1', 'initialize', DESKTOP), leaving.signal))
  leaving.abort()
  expect((await left).code).toBe('cancelled')
  const waiting = faultOf((await upstream.open(openAs('legacy'))).send(request('1', 'initialize', DESKTOP), never))
  await upstream.close()
  expect((await waiting).code).toBe('cancelled')
  expect(registry.count).toBe(0)
})
