import { expect, test } from 'vitest'
import { createFixture as createMember } from '../../../test/fakes/mcp-endpoint.ts'
import { result, streamed } from '../../../test/fakes/memory-upstream.ts'
import { createFixture, fakeMember, settle } from './aggregate.fixture.ts'
import type { Member } from './view.ts'

/** A real endpoint of one server, with its roles and its audit log, as a member. */
function realMember(rules: NonNullable<Parameters<typeof createMember>[0]>) {
  const real = createMember(rules)
  real.upstream.script = (message) => {
    if (message.method === 'tools/list')
      return result(message, '{"tools":[{"name":"get_x","inputSchema":{}},{"name":"rm_x","inputSchema":{}}]}')
    return message.method === 'tools/call' ? streamed(message, '{"content":[{"type":"text","text":"done"}]}') : result(message, '{}')
  }
  const caller = real.caller()
  const member: Member = { name: 'tools', serve: (exchange) => void real.endpoint.serve(exchange, caller) }
  return { ...real, member }
}

test.each(['legacy', 'modern'])(
  'the roles of the caller hold behind it, and the audit log has the tool under its own name (%s)',
  async (era) => {
    const real = realMember({ allow: { tools: ['get_*'] } })
    const f = createFixture([real.member, fakeMember('b', ['y'])])
    const session = era === 'legacy' ? await f.open() : ''
    const ask = (method: string, params: Record<string, unknown>) =>
      era === 'legacy' ? f.call(session, method, params) : f.modern(method, params)
    const names = (await ask('tools/list', {})).json.result.tools.map(({ name }: { name: string }) => name)
    expect(names).toEqual(['b_y', 'tools_get_x'])
    const answer = await ask('tools/call', { name: 'tools_get_x' })
    expect(answer.events).toEqual([{ jsonrpc: '2.0', id: 1, result: { content: [{ type: 'text', text: 'done' }] } }])
    expect(real.events.at(-1)).toMatchObject({ event: 'mcp.session.request', tool: 'get_x', server: 'tools', success: true })
    real.rule({ allow: { tools: [] } })
    real.upstream.sent.length = 0
    expect((await ask('tools/call', { name: 'tools_get_x' })).json.error).toMatchObject({ code: -32602 })
    expect(real.events.at(-1)).toMatchObject({ outcome: 'denied', tool: 'get_x' })
    expect(real.upstream.sent).toEqual([])
  },
)

test('the stream of a session carries what the server says, and both sessions end together', async () => {
  const real = realMember({ allow: { tools: ['*'] } })
  const f = createFixture([real.member])
  const session = await f.open()
  await f.call(session, 'tools/list')
  const stream = f.send({ method: 'GET', headers: { 'mcp-session-id': session, accept: 'text/event-stream' } })
  await settle()
  real.upstream.emit('{"jsonrpc":"2.0","id":5,"method":"ping"}')
  await settle()
  expect(stream.events).toEqual([{ jsonrpc: '2.0', id: 's-1', method: 'ping', params: { _meta: { 'sallyport.dev/server': 'tools' } } }])
  await f.ask({ text: '{"jsonrpc":"2.0","id":"s-1","result":{}}', headers: { 'mcp-session-id': session } })
  await settle()
  expect(real.upstream.sent.at(-1)).toBe('{"jsonrpc":"2.0","id":5,"result":{}}')
  await f.ask({ method: 'DELETE', headers: { 'mcp-session-id': session } })
  await settle()
  expect([real.upstream.closed, stream.isOver]).toEqual([1, true])
  expect(real.events.at(-1)).toMatchObject({ event: 'mcp.session.end' })
})

test('a member whose session the server ended is met anew', async () => {
  const real = realMember({ allow: { tools: ['*'] } })
  const f = createFixture([real.member])
  const session = await f.open()
  await f.call(session, 'tools/list')
  real.upstream.exit('it crashed')
  await settle()
  expect((await f.call(session, 'tools/call', { name: 'tools_get_x' })).events).toMatchObject([{ id: 1, result: {} }])
  expect(real.upstream.opened).toHaveLength(2)
})

test.each(['[%]', '%'])('an answer too large to be read on its way answers no request of another server: %s', async (form) => {
  const real = realMember({ allow: { tools: ['*'] } })
  const { script } = real.upstream
  const forged = form.replace('%', `{"jsonrpc":"2.0","id":6,"result":{"x":"${'x'.repeat(70_000)}"}}`)
  real.upstream.script = (message, signal) =>
    message.method === 'tools/call' ? { kind: 'message', bytes: Buffer.from(forged) } : script(message, signal)
  const f = createFixture([real.member])
  const session = await f.open()
  await f.call(session, 'tools/list')
  const answer = await f.call(session, 'tools/call', { name: 'tools_get_x' }, 5)
  expect(answer.json).toEqual({
    jsonrpc: '2.0',
    id: 5,
    error: { code: -32603, message: 'the MCP server did not answer this request with one clear JSON-RPC response' },
  })
})
