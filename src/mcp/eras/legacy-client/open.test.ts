import { describe, expect, it } from 'vitest'
import { httpError } from '../../../../test/fakes/era-upstream.ts'
import { never as silent, result, streamed } from '../../../../test/fakes/memory-upstream.ts'
import { call, eventsOf, messageText, never, notification, request, response } from '../../../../test/fakes/outgoing.ts'
import { eventually } from '../../../../test/wait.ts'
import { LEGACY_CLIENT_LIMITS } from './limits.ts'
import { answering, answerTo, DONE, open, paramsAt, send } from './session.fixture.ts'

const ROOTS = { method: 'roots/list' }
const ASKING = JSON.stringify({ resultType: 'input_required', inputRequests: { r: ROOTS } })

describe('what goes up', () => {
  it('says who the client is and what it can be asked, whatever the client wrote itself', async () => {
    const { session, inner } = await open(answering(DONE))
    const message = call('"x"', 't', { n: 1 }, { progressToken: '7' })
    const forged = request('"x"', 'tools/call', {
      name: 't',
      arguments: { n: 1 },
      requestState: 'forged',
      inputResponses: { a: {} },
      _meta: { progressToken: 7, 'io.modelcontextprotocol/clientCapabilities': { sampling: { tools: {} } }, 'io.example/x': 1 },
    })
    await send(session, message)
    await send(session, forged)
    const meta = {
      progressToken: 7,
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientCapabilities': { sampling: {}, elicitation: { form: {}, url: {} }, roots: {} },
      'io.modelcontextprotocol/clientInfo': { name: 'c', version: '1' },
    }
    expect(inner.arrived.map(({ message: { id } }) => id)).toEqual([1, 2])
    expect(paramsAt(inner, 0)).toEqual({ name: 't', arguments: { n: 1 }, _meta: meta })
    expect(paramsAt(inner, 1)).toEqual({ name: 't', arguments: { n: 1 }, _meta: { ...meta, 'io.example/x': 1 } })
    expect(inner.arrived[0]?.headers).toEqual({ 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 't' })
  })

  it.each([
    ['2024-11-05', { sampling: {}, roots: {} }],
    ['2025-06-18', { sampling: {}, elicitation: {}, roots: {} }],
  ])('offers only what revision %s has', async (protocolVersion, expected) => {
    const { session, inner } = await open(answering(DONE), { who: { protocolVersion } })
    await send(session, call('1', 't'))
    expect(paramsAt(inner, 0)['_meta']).toMatchObject({ 'io.modelcontextprotocol/clientCapabilities': expected })
  })

  it('keeps numbers as they were written', async () => {
    const text = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"n":12345678901234567890,"f":1.0}}}'
    let sent = ''
    const { session } = await open((message) => {
      sent = message.bytes.toString('utf8')
      return result(message, '{"content":[],"structuredContent":{"n":98765432109876543210,"f":2.0},"resultType":"complete"}')
    })
    const answer = messageText(await send(session, { ...call('1', 't'), bytes: Buffer.from(text) }))
    expect(sent).toContain('"arguments":{"n":12345678901234567890,"f":1.0}')
    expect(answer).toBe('{"jsonrpc":"2.0","id":1,"result":{"content":[],"structuredContent":{"n":98765432109876543210,"f":2.0}}}')
  })

  it('repeats names that headers cannot carry as they are', async () => {
    const { session, inner } = await open(answering(DONE))
    await send(session, call('1', 'Größe'))
    await send(session, request('2', 'resources/read', { uri: '=?base64?eA==?=' }))
    expect(inner.arrived.map(({ headers }) => headers['mcp-name'])).toEqual(['=?base64?R3LDtsOfZQ==?=', '=?base64?PT9iYXNlNjQ/ZUE9PT89?='])
  })

  it('repeats arguments in headers after the list said so', async () => {
    const properties = { region: { type: 'string', 'x-mcp-header': 'Region' }, n: { type: 'integer', 'x-mcp-header': 'N' } }
    const tools = [{ name: 't', inputSchema: { type: 'object', properties } }]
    const { session, inner } = await open(answering(JSON.stringify({ tools, resultType: 'complete' }), DONE))
    await send(session, request('1', 'tools/list'))
    await send(session, call('2', 't', { region: 'Zürich', n: 3 }))
    expect(inner.arrived[1]?.headers).toMatchObject({ 'mcp-param-region': '=?base64?WsO8cmljaA==?=', 'mcp-param-n': '3' })
  })

  it('asks for the list when the headers were not enough, and calls again once', async () => {
    const tools = [{ name: 't', inputSchema: { type: 'object', properties: { r: { type: 'string', 'x-mcp-header': 'R' } } } }]
    const { session, inner } = await open((message) => {
      if (message.method === 'tools/list') return result(message, JSON.stringify({ tools }))
      const body = `{"jsonrpc":"2.0","id":${message.id},"error":{"code":-32020,"message":"no"}}`
      return message.headers['mcp-param-r'] === 'a' ? result(message, DONE) : httpError(400, body)
    })
    expect(await answerTo(session, call('1', 't', { r: 'a' }))).toMatchObject({ result: { content: [] } })
    expect(inner.arrived.map(({ message: { method } }) => method)).toEqual(['tools/call', 'tools/list', 'tools/call'])
    expect(await answerTo(session, call('2', 'u', { r: 'b' }))).toMatchObject({ result: { isError: true } })
    expect(inner.arrived).toHaveLength(6)
  })

  it('has the level of the log only after the client set one', async () => {
    const { session, inner } = await open(answering(DONE))
    expect(await answerTo(session, request('1', 'logging/setLevel', { level: 'loud' }))).toMatchObject({ error: { code: -32602 } })
    await send(session, call('2', 't'))
    expect(await answerTo(session, request('3', 'logging/setLevel', { level: 'warning' }))).toEqual({ jsonrpc: '2.0', id: 3, result: {} })
    await send(session, call('4', 't'))
    expect(paramsAt(inner, 0)['_meta']).not.toHaveProperty('io.modelcontextprotocol/logLevel')
    expect(paramsAt(inner, 1)['_meta']).toMatchObject({ 'io.modelcontextprotocol/logLevel': 'warning' })
  })

  it('is nothing at all for what only legacy servers know', async () => {
    const { session, inner } = await open(answering(DONE))
    for (const method of ['notifications/initialized', 'notifications/roots/list_changed', 'notifications/progress'])
      expect(await send(session, notification(method))).toEqual({ kind: 'accepted' })
    for (const method of ['initialize', 'tasks/update', 'subscriptions/listen'])
      expect(await answerTo(session, request('1', method))).toMatchObject({ error: {} })
    expect(await send(session, response('"unknown"', {}))).toEqual({ kind: 'accepted' })
    expect(inner.arrived).toEqual([])
  })
})

describe('breaking off', () => {
  it('by the signal or by the client’s notification cancels the request at the server', async () => {
    const signals: AbortSignal[] = []
    const { session } = await open((_, signal) => {
      signals.push(signal)
      return silent(signal)
    })
    const away = new AbortController()
    const first = session.send(call('1', 't'), away.signal)
    const second = session.send(call('"1"', 't'), never)
    away.abort()
    await expect(first).rejects.toMatchObject({ code: 'cancelled' })
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, false])
    await send(session, notification('notifications/cancelled', { requestId: '1' }))
    await expect(second).rejects.toMatchObject({ code: 'cancelled' })
  })

  it('while the client is asked ends the call', async () => {
    const { session, inner } = await open((message) => streamed(message, ASKING))
    const away = new AbortController()
    const reply = await session.send(call('1', 't'), away.signal)
    const iterator = eventsOf(reply)[Symbol.asyncIterator]()
    await iterator.next()
    const next = iterator.next()
    away.abort()
    await expect(next).rejects.toMatchObject({ code: 'cancelled' })
    expect(inner.arrived).toHaveLength(1)
  })

  it('while the request waits to be repeated ends the call', async () => {
    const { wait } = LEGACY_CLIENT_LIMITS
    const { session, inner } = await open(answering('{"resultType":"input_required","requestState":"s"}'), {
      limits: { wait, paceMs: 60_000 },
    })
    const away = new AbortController()
    const pending = session.send(call('1', 't'), away.signal)
    await eventually('the request', () => inner.arrived.length === 1 || undefined)
    away.abort()
    await expect(pending).rejects.toMatchObject({ code: 'cancelled' })
  })

  it('by closing ends every call and the session with the server', async () => {
    const { session, inner } = await open((_, signal) => silent(signal))
    const pending = send(session, call('1', 't'))
    const failed = expect(pending).rejects.toMatchObject({ code: 'cancelled' })
    await session.close()
    await failed
    expect(inner.openCount.modern).toBe(0)
  })
})
