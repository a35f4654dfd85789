import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createFixture } from '../../test/fakes/mcp-endpoint.ts'
import { result, streamed } from '../../test/fakes/memory-upstream.ts'

const NAMES = ['echo', 'get_a', 'get_b', 'Get_a', 'rm', 'rm_all', 'set-x', '', ' echo', 'écho', '*', '^echo$', 'a\nb', '__proto__']
const PATTERNS = [
  '*',
  'echo',
  'get_*',
  '^(get|set).*$',
  '^rm',
  'rm*',
  '^.*_a$',
  '*a*',
  '^(?i)get_.*$',
  '',
  'é*',
  '^echo$',
  '^((a+)+)$',
  '^[bad$',
  '{{internal.mcp_tools}}',
]

const patterns = fc.uniqueArray(fc.constantFrom(...PATTERNS), { maxLength: 3 })
const isolated = { numRuns: 60 }

test.each([
  ['JSON', result],
  ['events', streamed],
] as const)('lists and calls agree, always, over %s', async (_, reply) => {
  await fc.assert(
    fc.asyncProperty(
      patterns,
      patterns,
      fc.uniqueArray(fc.oneof(fc.constantFrom(...NAMES), fc.string({ maxLength: 6 })), { maxLength: 8 }),
      async (allow, deny, names) => {
        const f = createFixture({ allow: { tools: allow }, deny: { tools: deny } })
        const session = await f.open()
        f.upstream.script = (message) =>
          reply(message, message.method === 'tools/list' ? JSON.stringify({ tools: names.map((name) => ({ name })) }) : '{"content":[]}')
        const listed = await f.call(session, '{"jsonrpc":"2.0","id":1,"method":"tools/list"}')
        const shown: string[] = JSON.parse(listed.text.replace(/^data: /, '')).result.tools.map((tool: { name: string }) => tool.name)
        f.upstream.sent.length = 0
        for (const name of names) {
          await f.call(session, JSON.stringify({ jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name } }))
        }
        expect(f.upstream.sent.map((text) => JSON.parse(text).params.name)).toEqual(shown)
      },
    ),
    isolated,
  )
})

test('rules changed in between hold for the very next message, also of a list under way', async () => {
  const f = createFixture({ allow: { tools: ['echo', 'rm'] } })
  const session = await f.open()
  f.upstream.script = (message) => {
    f.rule({ allow: { tools: ['echo'] } })
    return result(message, '{"tools":[{"name":"echo"},{"name":"rm"}]}')
  }
  expect((await f.call(session, '{"jsonrpc":"2.0","id":1,"method":"tools/list"}')).text).toBe(
    '{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"echo"}]}}',
  )
  f.upstream.sent.length = 0
  await f.call(session, '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"rm"}}')
  expect(f.upstream.sent).toEqual([])
})

test.each([
  ['is larger than 4194304 bytes', `[{"name":"get_a","description":"${'x'.repeat(4 * 1024 * 1024)}"}]`],
  ['has more than 20000 entries', `[${'{"name":"get_a"},'.repeat(20_001).slice(0, -1)}]`],
  ['more than 100000 numbers', `[{"name":"get_a","x":[${'1.0,'.repeat(100_001).slice(0, -1)}]}]`],
  ['nested too deeply', `[{"name":"get_a","x":${'['.repeat(200_000)}1.0${']'.repeat(200_000)}}]`],
])('a list that %s is refused with the reason', async (reason, tools) => {
  const f = createFixture()
  const session = await f.open()
  f.upstream.script = (message) => result(message, `{"tools":${tools}}`)
  const { status, text } = await f.call(session, '{"jsonrpc":"2.0","id":1,"method":"tools/list"}')
  expect(status).toBe(502)
  expect(JSON.parse(text)).toMatchObject({ id: 1, error: { code: -32603, message: expect.stringContaining(reason) } })
})

test('a list as large as is allowed is passed on', async () => {
  const f = createFixture()
  const session = await f.open()
  const tools = `{"tools":[${'{"name":"get_a","x":1.0},'.repeat(20_000).slice(0, -1)}]}`
  f.upstream.script = (message) => result(message, tools)
  const { text } = await f.call(session, '{"jsonrpc":"2.0","id":1,"method":"tools/list"}')
  expect(text).toBe(`{"jsonrpc":"2.0","id":1,"result":${tools}}`)
})

test.each(['Name', 'NAME', 'n\u0041me'])('an entry with a second name, spelled %s, is taken out', async (spelling) => {
  const f = createFixture()
  const session = await f.open()
  f.upstream.script = (message) => result(message, `{"tools":[{"name":"get_a","${spelling}":"rm"},{"name":"get_b","names":"rm"}]}`)
  const { text } = await f.call(session, '{"jsonrpc":"2.0","id":1,"method":"tools/list"}')
  expect(text).toBe('{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"get_b","names":"rm"}]}}')
})

test('a second list in another spelling makes both unreadable', async () => {
  const f = createFixture()
  const session = await f.open()
  f.upstream.script = (message) => result(message, '{"tools":[{"name":"get_a"}],"Tools":[{"name":"rm"}],"toolſ":[]}')
  const { status, text } = await f.call(session, '{"jsonrpc":"2.0","id":1,"method":"tools/list"}')
  expect([status, JSON.parse(text).error.message]).toEqual([502, 'the MCP server sent a response without a readable list "tools"'])
})
