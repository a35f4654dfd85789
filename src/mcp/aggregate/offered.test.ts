import { expect, test } from 'vitest'
import { type Call, createFixture, type FakeMember, fakeMember } from './aggregate.fixture.ts'

const LISTS = ['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list']
const offering = (capabilities: Record<string, unknown>) => (call: Call) => call.result({ supportedVersions: ['2026-07-28'], capabilities })
const unknownMethod = ({ exchange, message }: Call): void => {
  // 404 is for the end of a session where there are any.
  exchange.answer.head(exchange.headers['mcp-session-id'] === undefined ? 404 : 200, { 'content-type': 'application/json' })
  exchange.answer.end(Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: message.id, error: { code: -32601, message: 'no' } })))
}
const asked = (member: FakeMember, method: string) => member.methods().filter((one) => one === method).length

test('a member is not asked for what it says it has not, and is asked once what it has', async () => {
  const [a, b] = [fakeMember('a', ['x']), fakeMember('b')]
  b.lists.prompts = [{ name: 'greet' }]
  a.on['server/discover'] = offering({ tools: {} })
  b.on['server/discover'] = offering({ prompts: {}, resources: {} })
  const f = createFixture([a, b])
  const starting = LISTS.map((method, id) => f.send(f.modernRequest(method, {}, id)))
  await f.timers.advance(0)
  expect(starting.map(({ isOver }) => isOver)).toEqual([true, true, true, true])
  expect(a.methods()).toEqual(['server/discover', 'tools/list'])
  expect(b.methods()).toEqual(['server/discover', 'prompts/list', 'resources/list', 'resources/templates/list'])
  expect(starting[1]?.json.result.prompts).toMatchObject([{ name: 'b_greet' }])
  for (const method of LISTS) await f.modern(method)
  expect([asked(a, 'server/discover'), asked(a, 'prompts/list'), asked(b, 'tools/list')]).toEqual([1, 0, 0])
})

test('a member that comes to have more is found to, by its word, by a change of members, or after a minute', async () => {
  const a = fakeMember('a', ['x'])
  a.lists.prompts = [{ name: 'greet' }]
  const prompts = async () => (await f.modern('prompts/list')).json.result
  const f = createFixture([a])
  for (const learn of [
    async () => {
      a.on['tools/call'] = (call) =>
        call.events(
          { jsonrpc: '2.0', method: 'notifications/prompts/list_changed' },
          { jsonrpc: '2.0', id: call.message.id, result: { content: [] } },
        )
      await f.modern('tools/list')
      await f.modern('tools/call', { name: 'a_x' })
    },
    async () => f.endpoint.membersChanged('user:ana'),
    async () => f.endpoint.forgetLists(),
    async () => f.timers.advance(60_000),
  ]) {
    f.endpoint.forgetLists()
    a.on['server/discover'] = offering({ tools: {} })
    expect(await prompts()).toMatchObject({ prompts: [], ttlMs: 60_000 })
    a.on['server/discover'] = offering({ tools: {}, prompts: {} })
    expect((await prompts()).prompts).toEqual([])
    await learn()
    expect((await prompts()).prompts).toMatchObject([{ name: 'a_greet' }])
  }
})

test('a member that says nothing of what it has and does not know a list is not asked for it at every start of a client', async () => {
  const a = fakeMember('a', ['x'])
  a.on['server/discover'] = unknownMethod
  a.on['prompts/list'] = unknownMethod
  const f = createFixture([a])
  for (let start = 0; start < 3; start++) for (const method of LISTS) await f.modern(method)
  expect([asked(a, 'server/discover'), asked(a, 'prompts/list'), asked(a, 'tools/list')]).toEqual([1, 1, 3])
  // What one was told is nobody else's knowledge.
  await f.ask(f.modernRequest('prompts/list'), f.view('user:bob'))
  expect(asked(a, 'prompts/list')).toBe(2)
  await f.timers.advance(5 * 60_000)
  await f.modern('prompts/list')
  expect(asked(a, 'prompts/list')).toBe(3)
  f.endpoint.membersChanged()
  await f.modern('prompts/list')
  expect(asked(a, 'prompts/list')).toBe(4)
  a.on['tools/call'] = (call) =>
    call.events({ jsonrpc: '2.0', method: 'notifications/prompts/list_changed' }, { jsonrpc: '2.0', id: call.message.id, result: {} })
  await f.modern('tools/list')
  await f.modern('tools/call', { name: 'a_x' })
  await f.modern('prompts/list')
  expect(asked(a, 'prompts/list')).toBe(5)
})

test('a legacy client, too, brings a member to refuse a list it does not know once and not in every session', async () => {
  const a = fakeMember('a', ['x'])
  a.on['resources/templates/list'] = unknownMethod
  const f = createFixture([a])
  for (let start = 0; start < 3; start++) await f.call(await f.open(), 'resources/templates/list')
  expect(asked(a, 'resources/templates/list')).toBe(1)
  // To clients of another revision it may say something else.
  await f.call(await f.open({ revision: '2025-06-18' }), 'resources/templates/list')
  expect(asked(a, 'resources/templates/list')).toBe(2)
})

test('a member that refuses to say what it has shows nothing, and is asked again', async () => {
  const a = fakeMember('a', ['x'])
  const f = createFixture([a])
  a.on['server/discover'] = ({ exchange }) => {
    exchange.answer.head(403, { 'content-type': 'application/json' })
    exchange.answer.end(Buffer.from('{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"no role"}}'))
  }
  const { result } = (await f.modern('tools/list')).json
  expect(result).toMatchObject({ tools: [], _meta: { 'sallyport.dev/unavailable': [{ server: 'a', reason: 'no role' }] } })
  expect(asked(a, 'tools/list')).toBe(0)
  delete a.on['server/discover']
  expect((await f.modern('tools/list')).json.result.tools).toHaveLength(1)
})

test('without servers a list may not be kept', async () => {
  expect((await createFixture([]).modern('tools/list')).json.result).toMatchObject({ tools: [], ttlMs: 0 })
})
