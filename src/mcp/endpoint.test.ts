import { expect, test } from 'vitest'
import { createFixture, type Fixture } from '../../test/fakes/mcp-endpoint.ts'
import { result } from '../../test/fakes/memory-upstream.ts'

const call = (id: string, name: string) => `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"${name}"}}`
const VERSION = '2026-07-28'
const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"${VERSION}","io.modelcontextprotocol/clientCapabilities":{}}`

function modern(id: string, method: string, params = '') {
  const name = /"(?:name|uri)":"([^"]*)"/.exec(params)?.[1]
  return {
    text: `{"jsonrpc":"2.0","id":${id},"method":"${method}","params":{${meta}${params && `,${params}`}}}`,
    headers: { 'mcp-protocol-version': VERSION, 'mcp-method': method, ...(name !== undefined && { 'mcp-name': name }) },
  }
}

test('a denied call never reaches the server, and says who denied it', async () => {
  const f = createFixture({ allow: { tools: ['*'] }, deny: { tools: ['rm_*'] } })
  const session = await f.open()
  f.upstream.sent.length = 0
  const answer = await f.call(session, call('12345678901234567890', 'rm_all'))
  expect(answer.status).toBe(200)
  expect(answer.text).toMatch(/^\{"jsonrpc":"2.0","id":12345678901234567890,"error":\{"code":-32602,/)
  expect(f.upstream.sent).toEqual([])
  expect(f.events.at(-1)).toMatchObject({
    event: 'mcp.session.request',
    code: 'TMCP003E',
    outcome: 'denied',
    decision: { by: 'tester', kind: 'deny_rule' },
    tool: 'rm_all',
  })
  expect(f.events.filter(({ outcome }) => outcome === 'denied')).toHaveLength(1)
})

test.each([
  ['no session id', {}, 400, -32600, { event: 'mcp.session.request', code: 'TMCP003E', outcome: 'failure' }],
  // Clients begin again by themselves: no failure of theirs.
  ['an unknown session id', { 'mcp-session-id': 'made-up' }, 404, -32001, { event: 'mcp.session.begin_again', code: 'SPMCP001I' }],
])('a legacy request with %s is refused and recorded', async (_, headers, status, code, event) => {
  const f = createFixture()
  const answer = await f.ask({ text: call('7', 'echo'), headers })
  expect(answer.status).toBe(status)
  expect(JSON.parse(answer.text)).toMatchObject({ id: 7, error: { code } })
  expect(f.events).toMatchObject([{ ...event, user: 'ana', tool: 'echo', message: { method: 'tools/call', id: 'int64:7' } }])
  expect(f.upstream.sent).toEqual([])
})

test('the session of somebody else is as unknown as one that never was', async () => {
  const f = createFixture()
  const session = await f.open(f.caller('ana'))
  for (const method of ['POST', 'GET', 'DELETE']) {
    const answer = await f.ask(
      { method, text: method === 'POST' ? call('1', 'echo') : '', headers: { 'mcp-session-id': session, accept: '*/*' } },
      f.caller('bob'),
    )
    expect([method, answer.status]).toEqual([method, 404])
    expect(f.events.at(-1)).toMatchObject({ user: 'bob', success: false, error: 'unknown MCP session: initialize again' })
  }
  expect((await f.call(session, call('2', 'echo'))).status).toBe(200)
})

test('a stream that is asked of a session which has ended is no failure either', async () => {
  const f = createFixture()
  expect((await f.ask({ method: 'GET', headers: { 'mcp-session-id': 'ended', accept: '*/*' } })).status).toBe(404)
  expect(f.events).toMatchObject([
    { event: 'mcp.session.begin_again', outcome: 'success', method: 'GET', reason: 'unknown MCP session: initialize again' },
  ])
})

test('another credential of the same user may go on with a session', async () => {
  const f = createFixture()
  const session = await f.open(f.caller('ana'))
  expect((await f.call(session, call('1', 'echo'), f.caller('ana', { credentialId: 'ana-2' }))).status).toBe(200)
})

test.each(['PUT', 'PATCH', 'HEAD', 'OPTIONS', 'TRACE'])('%s is not allowed, and recorded', async (method) => {
  const f = createFixture()
  const answer = await f.ask({ method })
  expect(answer).toMatchObject({ status: 405, headers: { allow: 'GET, POST, DELETE' } })
  expect(f.events).toMatchObject([
    { event: 'mcp.session.invalid_http_request', code: 'TMCP006E', user: 'ana', method, path: '/mcp/apps/tools' },
  ])
})

test('a body that is no message is recorded with its beginning', async () => {
  const f = createFixture()
  const answer = await f.ask({ text: `no json ${'x'.repeat(5000)}` })
  expect(answer.status).toBe(400)
  expect(JSON.parse(answer.text)).toMatchObject({ id: null, error: { code: -32700 } })
  expect(f.events).toMatchObject([{ event: 'mcp.session.invalid_http_request', method: 'POST', body: `no json ${'x'.repeat(1016)}` }])
})

test('who may not reach the server is told so, and the denial recorded', async () => {
  const f = createFixture()
  const [ana] = [f.caller('ana')]
  const outsider = {
    ...ana,
    access: () => ({ ...ana.access(), decision: { allow: false as const, kind: 'no_role' as const, by: null, reason: 'no way' } }),
  }
  const answer = await f.ask({ text: call('1', 'echo') }, outsider)
  expect(answer.status).toBe(403)
  expect(f.events).toMatchObject([{ code: 'TMCP003E', outcome: 'denied', error: 'no way' }])
})

test('nothing is sent while the audit journal takes nothing', async () => {
  const f = createFixture()
  const session = await f.open()
  f.upstream.sent.length = 0
  f.journal.isFull = true
  const answer = await f.call(session, call('1', 'echo'))
  expect(answer.status).toBe(429)
  expect(JSON.parse(answer.text)).toMatchObject({ id: 1, error: { message: 'the audit journal is full' } })
  expect(f.upstream.sent).toEqual([])
  f.journal.isFull = false
  expect((await f.call(session, call('1', 'echo'))).status).toBe(200)
})

/** Lets no write of the journal end before what it returns is called. */
function hold({ journal }: Fixture): () => void {
  const gate = Promise.withResolvers<void>()
  journal.gate = gate.promise
  return gate.resolve
}
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('nothing goes to the server and no answer to the client before its record is written', async () => {
  const f = createFixture({ allow: { tools: ['echo'] } })
  const session = await f.open()
  f.upstream.sent.length = 0
  const headers = { 'mcp-session-id': session }
  const writeStart = hold(f)
  const called = f.send({ text: call('1', 'echo'), headers })
  const noted = f.send({ text: '{"jsonrpc":"2.0","method":"notifications/initialized"}', headers })
  const denied = f.send({ text: call('2', 'rm'), headers })
  const unknown = f.send({ text: call('3', 'echo'), headers: { 'mcp-session-id': 'nobody' } })
  await turn()
  expect([f.upstream.sent.length, called.text, noted.status, denied.text, unknown.text]).toEqual([0, '', 0, '', ''])
  const writeEnd = hold(f)
  writeStart()
  await Promise.all([noted.ended, denied.ended, unknown.ended])
  await turn()
  expect([f.upstream.sent.length, called.text]).toEqual([2, ''])
  writeEnd()
  await called.ended
  expect(called.text).toContain('result')
})

test.each([0, 1])('a request whose session ends while its record is written is not sent (%i turns later)', async (turns) => {
  const f = createFixture()
  const session = await f.open()
  f.upstream.sent.length = 0
  const write = hold(f)
  const called = f.send({ text: call('1', 'echo'), headers: { 'mcp-session-id': session } })
  if (turns > 0) await turn()
  f.endpoint.cut(() => 'locked')
  write()
  await called.ended
  expect(f.upstream.sent).toEqual([])
  expect(JSON.parse(called.text)).toMatchObject({ id: 1, error: { message: 'locked' } })
  expect(f.events.filter(({ event }) => event === 'mcp.session.request').at(-1)).toMatchObject({ tool: 'echo', error: 'locked' })
})

test('a session whose start cannot be recorded is not opened', async () => {
  const f = createFixture()
  const writeStart = hold(f)
  const opening = f.send({ text: '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}' })
  await turn()
  const writeEnd = hold(f)
  writeStart()
  await turn()
  expect([f.upstream.sent.length, opening.text]).toEqual([1, ''])
  f.journal.isFull = true
  writeEnd()
  await opening.ended
  expect(JSON.parse(opening.text)).toMatchObject({ id: 0, error: { message: 'the audit journal is full' } })
})

test('an answer whose end cannot be recorded is kept back', async () => {
  const f = createFixture()
  const session = await f.open()
  f.upstream.script = (message) => {
    f.journal.isFull = true
    return result(message, '{"secret":1}')
  }
  const answer = await f.call(session, call('1', 'echo'))
  expect(answer.text).not.toContain('secret')
  expect(JSON.parse(answer.text)).toMatchObject({ id: 1, error: { message: 'the audit journal is full' } })
})

test('an unknown method is refused in both eras, and what the modern one has not is unknown there', async () => {
  const f = createFixture({ allow: { tools: ['*'] } })
  const session = await f.open()
  f.upstream.sent.length = 0
  expect(await f.call(session, '{"jsonrpc":"2.0","id":1,"method":"tools/call2"}')).toMatchObject({
    status: 200,
    text: expect.stringContaining('-32601'),
  })
  expect(await f.ask(modern('1', 'tools/call2'))).toMatchObject({ status: 404, text: expect.stringContaining('-32601') })
  expect(await f.ask(modern('1', 'initialize'))).toMatchObject({ status: 404, text: expect.stringContaining('-32601') })
  expect(await f.call(session, '{"jsonrpc":"2.0","method":"notifications/evil"}')).toMatchObject({ status: 202 })
  expect(f.upstream.sent).toEqual([])
})
