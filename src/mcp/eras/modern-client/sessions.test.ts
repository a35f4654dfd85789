import { describe, expect, it } from 'vitest'
import { faultOf } from '../../../../test/fakes/outgoing.ts'
import { eventually } from '../../../../test/wait.ts'
import { connectModern, createLegacyServer, messagesOf, type PlayedCall } from './legacy-server.fixture.ts'

// Which legacy session a request of a modern client goes to, and what becomes of one that is lost.

const SAMPLES = { sampling: {} }

/** Calls that are answered when the test says so. */
function held(): { play: (call: PlayedCall) => void; calls: PlayedCall[] } {
  const calls: PlayedCall[] = []
  return { calls, play: (call) => void calls.push(call) }
}

describe('opening', () => {
  it('declares what the request declared and nothing else', async () => {
    const server = createLegacyServer()
    const client = await connectModern(server)
    const ui = { mimeTypes: ['text/html'] }
    const can = {
      roots: { listChanged: true },
      elicitation: { url: {} },
      tasks: { list: {} },
      extensions: { 'io.modelcontextprotocol/tasks': {}, 'io.modelcontextprotocol/ui': ui },
    }
    const clientInfo = { name: 'editor', version: '3' }
    await client.answerTo('1', 'tools/list', {}, { can, meta: { 'io.modelcontextprotocol/clientInfo': clientInfo } })
    expect(server.sessions[0]?.hello).toEqual({
      protocolVersion: '2025-11-25',
      capabilities: { roots: {}, elicitation: { url: {} }, extensions: { 'io.modelcontextprotocol/ui': ui } },
      clientInfo,
    })
    expect(server.sessions[0]?.received[0]).toEqual({ jsonrpc: '2.0', method: 'notifications/initialized' })
  })

  it('says who the gateway is for a client that does not say who it is', async () => {
    const server = createLegacyServer()
    const client = await connectModern(server)
    await client.answerTo('1', 'tools/list')
    expect(server.sessions[0]?.hello['clientInfo']).toEqual({ name: 'sallyport', version: '9' })
  })

  it('fails in words when the server refuses or speaks another protocol, and leaves nothing open', async () => {
    const server = createLegacyServer()
    server.hello = { protocolVersion: '1999-01-01' }
    const client = await connectModern(server)
    expect(await faultOf(client.ask('1', 'tools/list'))).toEqual({
      code: 'unavailable',
      origin: 'upstream',
      message: 'MCP server "tools" speaks a revision that is not known here: "1999-01-01"',
    })
    expect(server.sessions.map(({ isClosed }) => isClosed)).toEqual([true])
  })
})

describe('a server that says too much of itself', () => {
  it('is refused: it would be kept for every session', async () => {
    const server = createLegacyServer()
    server.hello = { ...server.hello, serverInfo: { name: 'old', version: '1', title: 'x'.repeat(1024 * 1024) } }
    const client = await connectModern(server)
    expect(await faultOf(client.ask('1', 'tools/list'))).toEqual({
      code: 'unavailable',
      origin: 'upstream',
      message: 'MCP server "tools" describes itself in more than 1048576 characters',
    })
    expect(server.sessions.map(({ isClosed }) => isClosed)).toEqual([true])
  })
})

describe('sharing', () => {
  it('gives clients that can be asked nothing one session, with ids and tokens of its own', async () => {
    const { play, calls } = held()
    const server = createLegacyServer(play)
    const client = await connectModern(server)
    const first = client.ask('"same"', 'tools/call', { name: 'a' }, { meta: { progressToken: 1 } })
    const second = client.ask('"same"', 'tools/call', { name: 'b' }, { meta: { progressToken: 1 } })
    await eventually('both calls', () => calls[1])
    expect(server.sessions.length).toBe(1)
    expect(calls.map(({ id, params }) => ({ id, params }))).toEqual([
      { id: 1, params: { name: 'a', _meta: { progressToken: 1 } } },
      { id: 2, params: { name: 'b', _meta: { progressToken: 2 } } },
    ])
    calls[1]?.send({ method: 'notifications/progress', params: { progressToken: 2, progress: 5 } })
    calls[1]?.result({ who: 'b' })
    calls[0]?.result({ who: 'a' })
    expect(await messagesOf(await second)).toMatchObject([
      { params: { progressToken: 1, progress: 5 } },
      { id: 'same', result: { who: 'b' } },
    ])
    expect(await messagesOf(await first)).toMatchObject([{ id: 'same', result: { who: 'a' } }])
  })

  it('gives a client that can be asked a session alone, and the one used last again', async () => {
    const { play, calls } = held()
    const server = createLegacyServer(play)
    const client = await connectModern(server)
    const first = client.answerTo('1', 'tools/call', { name: 'a' }, { can: SAMPLES })
    await eventually('the call', () => calls[0])
    const second = client.answerTo('2', 'tools/call', { name: 'b' }, { can: SAMPLES })
    await eventually('the other call', () => calls[1])
    expect(server.sessions.length).toBe(2)
    client.clock.now += 10
    calls[1]?.result({})
    await second
    client.clock.now -= 5
    calls[0]?.result({})
    await first
    const third = client.answerTo('3', 'tools/call', { name: 'c' }, { can: SAMPLES })
    await eventually('the third call', () => calls[2])
    expect(calls[2]?.session).toBe(server.sessions[1])
    calls[2]?.result({})
    await third
  })

  it('gives no session to two calls, however close they come', async () => {
    const { play, calls } = held()
    const client = await connectModern(createLegacyServer(play))
    for (let n = 0; n < 35; n++) {
      void client.ask(String(n), 'tools/call', { name: 'a' }, { can: SAMPLES })
      await Promise.resolve()
    }
    await eventually('all calls', () => calls[34])
    expect(new Set(calls.map(({ session }) => session)).size).toBe(35)
  })

  it('keeps clients of different capabilities apart', async () => {
    const server = createLegacyServer()
    const client = await connectModern(server)
    for (const can of [{}, SAMPLES, { sampling: {}, roots: {} }, {}, SAMPLES]) await client.answerTo('1', 'tools/list', {}, { can })
    expect(server.sessions.map(({ hello }) => hello['capabilities'])).toEqual([{}, SAMPLES, { sampling: {}, roots: {} }])
  })

  it('refuses a 41st call at a time, and ends the idlest session for another need', async () => {
    const { play, calls } = held()
    const server = createLegacyServer(play)
    const client = await connectModern(server)
    const running = Array.from({ length: 40 }, (_, n) => client.answerTo(String(n), 'tools/call', { name: 'a' }, { can: SAMPLES }))
    await eventually('all calls', () => calls[39])
    expect(await faultOf(client.ask('41', 'tools/call', { name: 'a' }, { can: SAMPLES }))).toMatchObject({ code: 'resource_exhausted' })
    for (const call of calls) call.result({})
    await Promise.all(running)
    server.play = (call) => call.result({})
    await client.answerTo('42', 'tools/list')
    expect(server.sessions.filter(({ isClosed }) => isClosed).length).toBe(1)
  })

  it('ends a session that nobody used for five minutes, and everything at the end', async () => {
    const server = createLegacyServer()
    const client = await connectModern(server)
    await client.answerTo('1', 'tools/list', {}, { can: SAMPLES })
    client.clock.now += 5 * 60_000
    await client.answerTo('2', 'tools/list')
    expect(server.sessions.map(({ isClosed }) => isClosed)).toEqual([true, false])
    await client.session.close()
    await client.session.close()
    expect(server.sessions.map(({ isClosed }) => isClosed)).toEqual([true, true])
    expect(await faultOf(client.ask('3', 'tools/list'))).toMatchObject({ code: 'cancelled' })
  })
})

describe('a lost session', () => {
  const losing = (first: (call: PlayedCall) => void): ((call: PlayedCall) => void) => {
    let calls = 0
    return (call) => (++calls === 1 ? first(call) : call.result({ calls }))
  }

  it.each([
    ['tools/call', 'is unknown', (call: PlayedCall) => call.refuse(404), true],
    ['resources/read', 'is unknown', (call: PlayedCall) => call.refuse(404), true],
    ['resources/read', 'ended while it ran', (call: PlayedCall) => call.session.exit(), true],
    [
      'prompts/get',
      'is refused with 400',
      (call: PlayedCall) => call.refuse(400, { error: { code: -32000, message: 'no session' }, id: null }),
      true,
    ],
    ['tools/call', 'is refused with 400', (call: PlayedCall) => call.refuse(400), false],
    ['tools/call', 'ended while it ran', (call: PlayedCall) => call.session.exit(), false],
    ['tools/call', 'is unknown twice', undefined, false],
  ])('%s when the session %s', async (method, _name, first, isRepeated) => {
    const server = createLegacyServer(first ? losing(first) : (call) => call.refuse(404))
    const client = await connectModern(server)
    const answer = client.answerTo('1', method, { name: 'a', uri: 'a:b' })
    if (isRepeated) expect(await answer).toMatchObject({ id: 1, result: { calls: 2 } })
    else expect(await faultOf(answer)).toMatchObject({ code: 'unavailable', origin: 'upstream' })
    expect(server.sessions[0]?.isClosed).toBe(true)
  })

  it('is not the same as an answer with an HTTP error', async () => {
    const server = createLegacyServer((call) =>
      call.refuse(400, { jsonrpc: '2.0', id: call.id, error: { code: -32602, message: 'no such tool' } }),
    )
    const client = await connectModern(server)
    expect(await client.answerTo('7', 'tools/call', { name: 'a' })).toEqual({
      jsonrpc: '2.0',
      id: 7,
      error: { code: -32602, message: 'no such tool' },
    })
    expect(server.sessions.length).toBe(1)
  })
})
