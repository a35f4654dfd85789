import { beforeEach, describe, expect, it } from 'vitest'
import { createEraUpstream, DISCOVERED, type EraScript, type EraUpstream, httpError, rpcError } from '../../../test/fakes/era-upstream.ts'
import { eventsOf, INITIALIZED, never as silent, result } from '../../../test/fakes/memory-upstream.ts'
import { messageText, never, notification, readData, request } from '../../../test/fakes/outgoing.ts'
import { AppError } from '../../lib/errors.ts'
import { silentLogger } from '../../lib/log.ts'
import type { SseEvent } from '../../lib/sse.ts'
import { createQueue } from '../upstream/queue.ts'
import type { OpenOptions, Outgoing, Reply, Upstream, UpstreamSession } from '../upstream/upstream.ts'
import { createBridgedUpstream } from './bridged.ts'
import { eventOf } from './compose.ts'
import type { ProbeLimits } from './probe.ts'

const as = (era: OpenOptions['era']): OpenOptions => ({ era, headers: {}, caller: { name: 'alice', kind: 'user', roles: [] } })
const initialize = (revision = '2025-11-25'): Outgoing =>
  request('0', 'initialize', { protocolVersion: revision, capabilities: {}, clientInfo: { name: 'c', version: '1' } }, { whole: true })
const discovered: EraScript = (message) => result(message, message.method === 'server/discover' ? DISCOVERED : '{"resultType":"complete"}')
const initialized: EraScript = (message) => result(message, message.method === 'initialize' ? INITIALIZED : '{}')
const refusing: EraScript = (message) => rpcError(message, -32022, { supported: ['2026-07-28'] })

let clock = 0
beforeEach(() => {
  clock = 1_000_000
})

function bridge(inner: EraUpstream, limits: Partial<ProbeLimits> = {}): Upstream {
  const deps = { server: 's', now: () => clock, random: (bytes: number) => Buffer.alloc(bytes), log: silentLogger, version: '1' }
  return createBridgedUpstream(inner, deps, limits)
}

const NOTE = '{"jsonrpc":"2.0","method":"notifications/message","params":{}}'

/** A stream of these messages that the server leaves open. */
function endless(data: readonly string[]): { events: AsyncIterable<SseEvent>; isAbandoned: () => boolean } {
  let isAbandoned = false
  const events = createQueue<SseEvent>({ sizeOf: ({ raw }) => raw.length, onAbandon: () => (isAbandoned = true) })
  for (const one of data) events.push(eventOf(Buffer.from(one)))
  return { events, isAbandoned: () => isAbandoned }
}

const methods = (inner: EraUpstream): string[] => inner.arrived.map(({ era, message }) => `${era} ${String(message['method'])}`)
const send = (session: UpstreamSession, message: Outgoing): Promise<Reply> => session.send(message, never)
const textOf = async (reply: Promise<Reply>): Promise<unknown> => JSON.parse(messageText(await reply))

describe('a legacy client', () => {
  it('is passed the refusal of a server that is not modern either', async () => {
    const inner = createEraUpstream({ legacy: (message) => rpcError(message, -32602), modern: (message) => rpcError(message, -32601) })
    const session = await bridge(inner).open(as('legacy'))
    expect(await textOf(send(session, initialize()))).toMatchObject({ error: { code: -32602 } })
    expect(inner.openCount).toEqual({ legacy: 1, modern: 0 })
  })

  it.each([401, 403, 429, 500, 503])('is passed HTTP %i, which says nothing about eras', async (status) => {
    const inner = createEraUpstream({ legacy: () => httpError(status), modern: discovered })
    const session = await bridge(inner).open(as('legacy'))
    expect(await send(session, initialize())).toMatchObject({ kind: 'refused', status })
    expect(methods(inner)).toEqual(['legacy initialize'])
  })

  it('speaks with a legacy server without anything in between', async () => {
    const inner = createEraUpstream({ legacy: initialized, modern: discovered })
    const session = await bridge(inner).open(as('legacy'))
    expect(messageText(await send(session, initialize()))).toBe(`{"jsonrpc":"2.0","id":0,"result":${INITIALIZED}}`)
    const list = request('1', 'tools/list')
    await send(session, list)
    await send(session, notification('notifications/initialized'))
    expect(methods(inner)).toEqual(['legacy initialize', 'legacy tools/list', 'legacy notifications/initialized'])
    expect(inner.arrived[1]?.message).toEqual(JSON.parse(list.bytes.toString('utf8')))
  })

  it.each<[string, EraScript]>([
    ['code -32022', refusing],
    ['code -32601', (message) => rpcError(message, -32601)],
    ['HTTP 400 with code -32022', () => httpError(400, '{"jsonrpc":"2.0","id":0,"error":{"code":-32022,"message":"no"}}')],
    ['HTTP 404', () => httpError(404)],
    ['an event with code -32022', () => eventsOf(['{"jsonrpc":"2.0","id":0,"error":{"code":-32022,"message":"no"}}'])],
  ])('is served by a modern server that refuses it with %s', async (_, legacy) => {
    const inner = createEraUpstream({ legacy, modern: discovered })
    const session = await bridge(inner).open(as('legacy'))
    expect(await textOf(send(session, initialize('2025-06-18')))).toEqual({
      jsonrpc: '2.0',
      id: 0,
      result: {
        protocolVersion: '2025-06-18',
        capabilities: {
          tools: { listChanged: true },
          resources: { subscribe: true, listChanged: true },
          logging: {},
          extensions: { 'io.example/x': {} },
        },
        serverInfo: { name: 'modern', version: '3' },
        instructions: 'how to use it',
      },
    })
    expect(await textOf(send(session, request('1', 'ping')))).toEqual({ jsonrpc: '2.0', id: 1, result: {} })
    expect(methods(inner)).toEqual(['legacy initialize', 'modern server/discover'])
    expect(inner.openCount).toEqual({ legacy: 0, modern: 1 })
  })

  it('goes to a server known to be modern only at once, until that is too long ago', async () => {
    const inner = createEraUpstream({ legacy: refusing, modern: discovered })
    const upstream = bridge(inner)
    for (const wait of [0, 1, 600_000]) {
      clock += wait
      await send(await upstream.open(as('legacy')), initialize())
    }
    expect(methods(inner)).toEqual([
      'legacy initialize',
      'modern server/discover',
      'modern server/discover',
      'legacy initialize',
      'modern server/discover',
    ])
  })

  it('cannot make others believe that the server is modern only', async () => {
    const strict: EraScript = (message) => (message.bytes.includes('1999') ? refusing(message, never) : initialized(message, never))
    const inner = createEraUpstream({ legacy: strict, modern: discovered })
    const upstream = bridge(inner)
    expect(await textOf(send(await upstream.open(as('legacy')), initialize('1999-01-01')))).toMatchObject({
      result: { protocolVersion: '2025-11-25' },
    })
    await send(await upstream.open(as('legacy')), initialize())
    expect(methods(inner)).toEqual(['legacy initialize', 'modern server/discover', 'legacy initialize'])
  })

  it('shows the server to be modern only by a code of the modern revision alone', async () => {
    const inner = createEraUpstream({ legacy: (message) => rpcError(message, -32602), modern: discovered })
    const upstream = bridge(inner)
    await send(await upstream.open(as('legacy')), initialize())
    await send(await upstream.open(as('legacy')), initialize())
    expect(methods(inner)).toEqual(['legacy initialize', 'modern server/discover', 'legacy initialize', 'modern server/discover'])
  })

  it('is served by a server that has become legacy', async () => {
    let isModern = true
    const inner = createEraUpstream({
      legacy: (message) => (isModern ? refusing(message, never) : initialized(message, never)),
      modern: (message) => (isModern ? discovered(message, never) : rpcError(message, -32601)),
    })
    const upstream = bridge(inner)
    await send(await upstream.open(as('legacy')), initialize())
    isModern = false
    const session = await upstream.open(as('legacy'))
    expect(await textOf(send(session, initialize()))).toMatchObject({ result: { serverInfo: { name: 'fake' } } })
    expect(inner.openCount).toEqual({ legacy: 1, modern: 1 })
  })

  it('is told when the server speaks only revisions that nobody here knows', async () => {
    const inner = createEraUpstream({ legacy: refusing, modern: (message) => result(message, '{"supportedVersions":["2031-01-01"]}') })
    const session = await bridge(inner).open(as('legacy'))
    await expect(send(session, initialize())).rejects.toMatchObject({
      code: 'unavailable',
      message: 'MCP server "s" cannot be used: it speaks only 2031-01-01',
    })
  })

  it('is told when the server says more of itself than can be kept for every session', async () => {
    const large = JSON.stringify({ supportedVersions: ['2026-07-28'], capabilities: {}, instructions: 'x'.repeat(1024 * 1024) })
    const inner = createEraUpstream({ legacy: refusing, modern: (message) => result(message, large) })
    const session = await bridge(inner).open(as('legacy'))
    await expect(send(session, initialize())).rejects.toMatchObject({
      code: 'unavailable',
      message: 'MCP server "s" cannot be used: it describes itself in more than 1048576 characters',
    })
  })

  it('loses its session when the modern server goes away, and not when the one it replaced does', async () => {
    const inner = createEraUpstream({ legacy: refusing, modern: discovered })
    const session = await bridge(inner).open(as('legacy'))
    const exitOfLegacy = inner.exit
    await send(session, initialize())
    exitOfLegacy('replaced')
    inner.exit('gone')
    expect(await session.ended).toBe('gone')
  })

  it('closes what it opened', async () => {
    const inner = createEraUpstream({ legacy: refusing, modern: discovered })
    const session = await bridge(inner).open(as('legacy'))
    await send(session, initialize())
    await session.close()
    expect(inner.openCount).toEqual({ legacy: 0, modern: 0 })
  })

  it('gets an answer in events event by event', async () => {
    const data = ['{"jsonrpc":"2.0","method":"notifications/message","params":{}}', `{"jsonrpc":"2.0","id":0,"result":${INITIALIZED}}`]
    const inner = createEraUpstream({ legacy: () => eventsOf(data), modern: discovered })
    const reply = await send(await bridge(inner).open(as('legacy')), initialize())
    if (reply.kind !== 'events') throw new Error(reply.kind)
    expect(await readData(reply.events)).toEqual(data)
  })

  it('of another date gets the whole stream of the answer, and its end is that of the stream at the server', async () => {
    const { events, isAbandoned } = endless([NOTE, `{"jsonrpc":"2.0","id":0,"result":${INITIALIZED}}`])
    const inner = createEraUpstream({ legacy: () => ({ kind: 'events', events }), modern: discovered })
    const reply = await send(await bridge(inner).open(as('legacy')), initialize('2024-11-05'))
    if (reply.kind !== 'events') throw new Error(reply.kind)
    const told = reply.events[Symbol.asyncIterator]()
    expect((await told.next()).value?.data.toString()).toBe(NOTE)
    expect(JSON.parse((await told.next()).value?.data.toString() ?? '')).toMatchObject({ id: 0, result: { protocolVersion: '2024-11-05' } })
    await told.return?.()
    expect(isAbandoned()).toBe(true)
  })

  it('is not kept in memory what a server says without end before it answers', async () => {
    const large = `{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"${'x'.repeat(100_000)}"}}`
    const { events, isAbandoned } = endless(Array.from({ length: 60 }, () => large))
    const inner = createEraUpstream({ legacy: () => ({ kind: 'events', events }), modern: discovered })
    const session = await bridge(inner).open(as('legacy'))
    await expect(send(session, initialize())).rejects.toMatchObject({ message: 'the MCP server does not answer initialize' })
    expect(isAbandoned()).toBe(true)
  })

  it('keeps its session when a program that knows only the modern revision refuses it and exits', async () => {
    const inner = createEraUpstream({ legacy: (message) => (inner.exit('exited'), rpcError(message, -32601)), modern: discovered })
    const session = await bridge(inner).open(as('legacy'))
    expect(await textOf(send(session, initialize()))).toMatchObject({ result: { serverInfo: { name: 'modern' } } })
    inner.exit('gone')
    expect(await session.ended).toBe('gone')
  })

  it('loses its session when a program refuses it and exits, and is no modern one either', async () => {
    const refuse: EraScript = (message) => rpcError(message, -32601)
    const inner = createEraUpstream({ legacy: (message) => (inner.exit('exited'), refuse(message, never)), modern: refuse })
    const session = await bridge(inner).open(as('legacy'))
    expect(await textOf(send(session, initialize()))).toMatchObject({ error: { code: -32601 } })
    expect(await session.ended).toBe('exited')
  })
})

describe('a modern client', () => {
  it.each<[string, EraScript, string[]]>([
    ['HTTP 401', () => httpError(401), ['modern server/discover', 'modern server/discover']],
    ['HTTP 503', () => httpError(503), ['modern server/discover', 'modern server/discover']],
    [
      'a server that cannot be reached',
      () => Promise.reject(new AppError('unavailable', 'refused', { origin: 'upstream_unreachable' })),
      ['modern server/discover', 'modern server/discover'],
    ],
  ])('learns nothing from %s', async (_, modern, expected) => {
    const inner = createEraUpstream({ legacy: initialized, modern })
    const upstream = bridge(inner)
    await upstream.open(as('modern'))
    await upstream.open(as('modern'))
    expect(methods(inner)).toEqual(expected)
  })

  it('speaks with a modern server without anything in between, asked once', async () => {
    const inner = createEraUpstream({ legacy: initialized, modern: discovered })
    const upstream = bridge(inner)
    const [session] = await Promise.all([upstream.open(as('modern')), upstream.open(as('modern'))])
    clock += 86_400_000
    await upstream.open(as('modern'))
    await send(session, request('1', 'tools/list', { _meta: { a: 1 } }))
    expect(methods(inner)).toEqual(['modern server/discover', 'modern tools/list'])
    expect(inner.arrived[1]?.message['params']).toEqual({ _meta: { a: 1 } })
    expect(inner.openCount).toEqual({ legacy: 0, modern: 3 })
  })

  it.each<[string, EraScript, number]>([
    ['code -32601', (message) => rpcError(message, -32601), 600_000],
    ['code -32022 that offers legacy revisions', (message) => rpcError(message, -32022, { supported: ['2025-11-25'] }), 600_000],
    ['a description that names legacy revisions', (message) => result(message, '{"supportedVersions":["2025-11-25"]}'), 600_000],
    ['HTTP 400', () => httpError(400), 600_000],
    ['silence', (_, signal) => silent(signal), 60_000],
    ['its end', () => Promise.reject(new AppError('unavailable', 'exited', { origin: 'upstream' })), 600_000],
  ])('is bridged to a server that answers with %s, and it is asked again later', async (_, modern, ms) => {
    const inner = createEraUpstream({ legacy: initialized, modern })
    const upstream = bridge(inner, { discoverMs: 5 })
    await upstream.open(as('modern'))
    clock += ms - 1
    await upstream.open(as('modern'))
    expect(methods(inner)).toEqual(['modern server/discover'])
    clock += 1
    await upstream.open(as('modern'))
    expect(methods(inner)).toEqual(['modern server/discover', 'modern server/discover'])
    expect(inner.openCount.modern).toBe(0)
  })

  it('does not make others pay for a page that is missing for itself', async () => {
    const inner = createEraUpstream({ legacy: initialized, modern: () => httpError(404) })
    const upstream = bridge(inner)
    await upstream.open(as('modern'))
    await upstream.open(as('modern'))
    expect(methods(inner)).toEqual(['modern server/discover', 'modern server/discover'])
  })

  it('is bridged after its server was found to be modern no longer', async () => {
    let modern = discovered
    const inner = createEraUpstream({ legacy: initialized, modern: (message, signal) => modern(message, signal) })
    const upstream = bridge(inner)
    const session = await upstream.open(as('modern'))
    modern = (message) => rpcError(message, -32601)
    await send(session, request('1', 'server/discover'))
    await upstream.open(as('modern'))
    expect(methods(inner)).toEqual(['modern server/discover', 'modern server/discover', 'modern server/discover'])
  })
})
