import { expect, test } from 'vitest'
import { createFixture } from '../../test/fakes/mcp-endpoint.ts'
import { result } from '../../test/fakes/memory-upstream.ts'

const RUN = '{"jsonrpc":"2.0","id":7,"method":"acme/run","params":{"job":1.0,"token":"t"}}'

test.each([
  ['no role names it', {}, 'acme/run', -32601, 'unknown_method'],
  ['a role names others', { methods: ['acme/stop'] }, 'acme/run', -32601, 'unknown_method'],
  ['it is a known one in other letters', { methods: ['*'] }, 'Tools/Call', -32601, 'unknown_method'],
  ['it is longer than any name', { methods: ['*'] }, `acme/${'x'.repeat(256)}`, -32601, 'unknown_method'],
  ['it is a known one with more around it', { methods: ['*'] }, ' tools/call', -32601, 'unknown_method'],
])('a request is refused when %s', async (_, allow, method, code, kind) => {
  const f = createFixture({ allow: { tools: ['*'], ...allow } })
  const session = await f.open()
  f.upstream.sent.length = 0
  const { text } = await f.call(session, JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { name: 'echo' } }))
  expect(JSON.parse(text).error).toMatchObject({ code, data: { reason: kind } })
  expect(f.upstream.sent).toEqual([])
  expect(f.events.at(-1)).toMatchObject({ event: 'mcp.session.request', success: false, decision: { allow: false, kind } })
})

test('a deny rule of a role refuses what another lets pass', async () => {
  const f = createFixture({ allow: { methods: ['*'] }, deny: { methods: ['acme/*'] } })
  const session = await f.open()
  f.upstream.sent.length = 0
  const { text } = await f.call(session, RUN)
  expect(JSON.parse(text).error).toMatchObject({ code: -32602, data: { reason: 'deny_rule' } })
  expect(f.upstream.sent).toEqual([])
})

test('known methods are not governed by it', async () => {
  const f = createFixture({ allow: { tools: ['echo'], methods: ['tools/call', '*'] }, deny: { methods: ['prompts/list'] } })
  const session = await f.open()
  f.upstream.script = (message) => result(message, '{"prompts":[]}')
  const refused = await f.call(session, '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"rm"}}')
  expect(JSON.parse(refused.text).error.data).toEqual({ reason: 'no_tool' })
  const listed = await f.call(session, '{"jsonrpc":"2.0","id":2,"method":"prompts/list"}')
  expect(listed.text).toBe('{"jsonrpc":"2.0","id":2,"result":{"prompts":[]}}')
})

test('what a role lets pass arrives as it was sent, its answer as it was given, and both are recorded', async () => {
  const f = createFixture({ allow: { methods: ['acme/*'] } })
  const session = await f.open()
  f.upstream.sent.length = 0
  f.upstream.script = (message) => result(message, '{"tools":[{"name":"rm"}], "resultType" : "acme/odd","n":1.50}')
  const { text } = await f.call(session, RUN)
  expect(f.upstream.sent).toEqual([RUN])
  expect(text).toBe('{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"rm"}], "resultType" : "acme/odd","n":1.50}}')
  expect(f.events.at(-1)).toMatchObject({
    code: 'TMCP003I',
    success: true,
    decision: { allow: true, by: 'tester' },
    message: { method: 'acme/run', params: { job: 1 } },
  })
})

test('a notification passes only where a role names it', async () => {
  const f = createFixture({ allow: { methods: ['notifications/acme/*'] } })
  const session = await f.open()
  f.upstream.sent.length = 0
  await f.call(session, '{"jsonrpc":"2.0","method":"notifications/other"}')
  expect(f.upstream.sent).toEqual([])
  await f.call(session, '{"jsonrpc":"2.0","method":"notifications/acme/tick"}')
  expect(f.upstream.sent).toEqual(['{"jsonrpc":"2.0","method":"notifications/acme/tick"}'])
  expect(f.events.slice(-2).map(({ event, success }) => [event, success])).toEqual([
    ['mcp.session.notification', false],
    ['mcp.session.notification', true],
  ])
})

test('rules that change in between hold for the very next message', async () => {
  const f = createFixture({ allow: { methods: ['acme/*'] } })
  const session = await f.open()
  await f.call(session, RUN)
  f.upstream.sent.length = 0
  f.rule({ allow: {} })
  await f.call(session, RUN)
  expect(f.upstream.sent).toEqual([])
})
