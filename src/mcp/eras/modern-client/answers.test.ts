import { describe, expect, it } from 'vitest'
import { faultOf, notification, response } from '../../../../test/fakes/outgoing.ts'
import { eventually } from '../../../../test/wait.ts'
import { connectModern, createLegacyServer, messagesOf, type LegacyServer, type PlayedCall } from './legacy-server.fixture.ts'

// What a legacy server says, as a modern client gets it.

const SERVER = { 'io.modelcontextprotocol/serverInfo': { name: 'old', version: '1' } }
const never = new AbortController().signal

describe('errors', () => {
  it.each([
    [-32601, 'no such method', undefined, { code: -32601, message: 'no such method' }],
    [-32002, 'not found', undefined, { code: -32602, message: 'not found', data: { uri: 'note://1' } }],
    [-32000, 'mine', { a: 1 }, { code: -32000, message: 'mine', data: { a: 1 } }],
    [-32021, 'not what it seems', undefined, { code: -32603, message: 'not what it seems' }],
    [-32042, 'no list of URLs', { elicitations: [] }, { code: -32603, message: 'no list of URLs', data: { elicitations: [] } }],
  ])('%i', async (code, message, data, error) => {
    const client = await connectModern(createLegacyServer((call) => call.error(code, message, data)))
    expect(await client.answerTo('1', 'resources/read', { uri: 'note://1' })).toEqual({ jsonrpc: '2.0', id: 1, error })
  })

  it('an answer that is none, and a task nobody asked for', async () => {
    const server = createLegacyServer((call) => call.refuse(503))
    const client = await connectModern(server)
    expect(await faultOf(client.ask('1', 'tools/list'))).toMatchObject({
      code: 'unavailable',
      message: 'MCP server "tools" answered with HTTP 503',
    })
    server.play = (call) => call.result({ task: { taskId: 't' } })
    expect(await faultOf(client.ask('1', 'tools/call', { name: 'a' }))).toMatchObject({ code: 'unavailable', origin: 'upstream' })
  })

  it('messages that this revision has not', async () => {
    const client = await connectModern(createLegacyServer())
    expect(await faultOf(client.session.send(response('1', {}), never))).toMatchObject({ code: 'invalid_argument' })
    expect(await client.session.send(notification('notifications/roots/list_changed'), never)).toEqual({ kind: 'accepted' })
    expect(await client.session.listen({}, never)).toMatchObject({ kind: 'refused', status: 405 })
    expect(await client.answerTo('1', 'tasks/get', { taskId: 't' })).toMatchObject({ error: { code: -32601 } })
    const oversized = { experimental: { x: 'y'.repeat(20_000) } }
    expect(await faultOf(client.ask('1', 'tools/list', {}, { can: oversized }))).toMatchObject({ code: 'invalid_argument' })
  })
})

describe('results', () => {
  it('are complete, name the server, and are not to be cached where they could be', async () => {
    const client = await connectModern(createLegacyServer((call) => call.result({ contents: [], _meta: { own: 1 }, cacheScope: 'public' })))
    expect(await client.answerTo('"x"', 'resources/read', { uri: 'note://1' })).toEqual({
      jsonrpc: '2.0',
      id: 'x',
      result: { contents: [], _meta: { own: 1, ...SERVER }, resultType: 'complete', ttlMs: 0, cacheScope: 'private' },
    })
    expect(await client.answerTo('2', 'completion/complete')).toMatchObject({ result: { resultType: 'complete', cacheScope: 'public' } })
  })

  it('keep numbers to the letter', async () => {
    const server = createLegacyServer((call) => call.result({ n: JSON.rawJSON('1.0'), big: JSON.rawJSON('12345678901234567890') }))
    const client = await connectModern(server)
    const reply = await client.ask('12345678901234567890', 'tools/call', { name: 'a', arguments: { x: JSON.rawJSON('2.50') } })
    const text = reply.kind === 'message' ? reply.bytes.toString() : ''
    expect(text).toContain('"id":12345678901234567890,')
    expect(text).toContain('"n":1.0,"big":12345678901234567890')
    expect(JSON.stringify(server.sessions[0]?.received[1])).toContain('{"x":2.50}')
  })

  it('take away how tools run as tasks, and refuse one that runs so only', async () => {
    const server = createLegacyServer((call) =>
      call.result({
        tools: [
          { name: 'slow', execution: { taskSupport: 'required' } },
          { name: 'quick', execution: { taskSupport: 'optional' } },
        ],
      }),
    )
    const client = await connectModern(server)
    expect(await client.answerTo('1', 'tools/list')).toMatchObject({ result: { tools: [{ name: 'slow' }, { name: 'quick' }] } })
    expect(await faultOf(client.ask('2', 'tools/call', { name: 'slow' }))).toMatchObject({ code: 'invalid_argument' })
    server.play = (call) => call.result({ content: [] })
    expect(await client.answerTo('3', 'tools/call', { name: 'quick' })).toMatchObject({ result: { content: [] } })
  })

  it('of server/discover come from initialize', async () => {
    const server = createLegacyServer()
    server.hello = {
      ...server.hello,
      protocolVersion: '2025-06-18',
      capabilities: { tools: { listChanged: true }, tasks: { list: {} } },
      instructions: 'Ask.',
    }
    const client = await connectModern(server)
    expect(await client.answerTo('1', 'server/discover')).toEqual({
      jsonrpc: '2.0',
      id: 1,
      result: {
        resultType: 'complete',
        supportedVersions: ['2026-07-28'],
        capabilities: { tools: { listChanged: true } },
        instructions: 'Ask.',
        ttlMs: 0,
        cacheScope: 'private',
        _meta: SERVER,
      },
    })
    await client.answerTo('2', 'server/discover')
    expect(server.sessions.length).toBe(1)
  })
})

describe('requests', () => {
  it('go up without what belongs to the modern revision', async () => {
    const server = createLegacyServer()
    const client = await connectModern(server)
    const meta = { traceparent: '00-a-b-01', 'io.modelcontextprotocol/logLevel': 'info', 'com.example/x': 1 }
    await client.answerTo('1', 'tools/call', { name: 'a', inputResponses: {} }, { meta })
    expect(server.sessions[0]?.received[1]).toEqual({
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: { name: 'a', _meta: { traceparent: '00-a-b-01', 'com.example/x': 1 } },
    })
  })
})

describe('log messages', () => {
  const LEVEL = 'io.modelcontextprotocol/logLevel'
  const log = (level: string): object => ({ method: 'notifications/message', params: { level, data: level } })
  const logging = (play: (call: PlayedCall) => void): LegacyServer => {
    const server = createLegacyServer((call) => (call.method === 'logging/setLevel' ? call.result({}) : play(call)))
    server.hello = { ...server.hello, capabilities: { logging: {} } }
    return server
  }
  const levelsSet = ({ sessions }: LegacyServer): unknown[] =>
    sessions.flatMap(({ received }) => received.filter(({ method }) => method === 'logging/setLevel').map(({ params }) => params))

  it('are kept from who did not ask for them', async () => {
    const server = logging((call) => {
      call.send(log('emergency'))
      call.result({})
    })
    const client = await connectModern(server)
    expect(await messagesOf(await client.ask('1', 'tools/call', { name: 'a' }))).toMatchObject([{ id: 1 }])
    expect(levelsSet(server)).toEqual([])
    expect(await faultOf(client.ask('1', 'tools/call', {}, { meta: { [LEVEL]: 'loud' } }))).toMatchObject({ code: 'invalid_argument' })
  })

  it('are left out where the server does not take the level, which is no fault of the call and not asked for twice', async () => {
    const server = createLegacyServer((call) => (call.method === 'logging/setLevel' ? call.refuse(503) : call.result({})))
    server.hello = { ...server.hello, capabilities: { logging: {} } }
    const client = await connectModern(server)
    for (const id of ['1', '2'])
      expect(await client.answerTo(id, 'tools/call', { name: 'a' }, { meta: { [LEVEL]: 'info' } })).toMatchObject({
        id: Number(id),
        result: {},
      })
    expect(levelsSet(server)).toEqual([{ level: 'info' }])
  })

  it('come from the level on that was asked for, which the server is told when it changes', async () => {
    const server = logging((call) => {
      call.session.emit(log('info'))
      call.session.emit(log('warning'))
      call.result({})
    })
    const client = await connectModern(server)
    const ask = async (level: string): Promise<unknown[]> =>
      (await messagesOf(await client.ask('1', 'tools/call', { name: 'a' }, { meta: { [LEVEL]: level } }))).map(({ params }) => params)
    expect(await ask('debug')).toEqual([{ level: 'info', data: 'info' }, { level: 'warning', data: 'warning' }, undefined])
    expect(await ask('warning')).toEqual([{ level: 'warning', data: 'warning' }, undefined])
    expect(await ask('warning')).toEqual([{ level: 'warning', data: 'warning' }, undefined])
    expect(levelsSet(server)).toEqual([{ level: 'debug' }, { level: 'warning' }])
  })

  it('of no stream in particular are dropped while several requests run, and the lowest level is the session', async () => {
    const calls: PlayedCall[] = []
    const server = logging((call) => void calls.push(call))
    const client = await connectModern(server)
    const quiet = client.ask('1', 'tools/call', { name: 'a' }, { meta: { [LEVEL]: 'error' } })
    await eventually('the first', () => calls[0])
    const loud = client.ask('2', 'tools/call', { name: 'b' }, { meta: { [LEVEL]: 'info' } })
    await eventually('the second', () => calls[1])
    calls[0]?.session.emit(log('alert'))
    calls[0]?.send(log('info'))
    calls[1]?.send(log('info'))
    calls[0]?.result({})
    calls[1]?.result({})
    expect(await messagesOf(await quiet)).toMatchObject([{ id: 1 }])
    expect(await messagesOf(await loud)).toMatchObject([{ params: { level: 'info' } }, { id: 2 }])
    expect(levelsSet(server)).toEqual([{ level: 'error' }, { level: 'info' }])
  })
})

it('icons of the server that no URI names are left out', async () => {
  const server = createLegacyServer((call) => call.result({ tools: [] }))
  const icon = { src: 'https://example.com/a.png', sizes: ['48x48'] }
  const serverInfo = { name: 'old', version: '1', icons: [{ src: './mcp.svg' }, icon, 7] }
  server.hello = { ...server.hello, serverInfo }
  const client = await connectModern(server)
  expect(await client.answerTo('1', 'tools/list')).toMatchObject({
    result: { _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'old', version: '1', icons: [icon] } } },
  })
})
