import { expect, test } from 'vitest'
import { createFixture, type Fixture } from '../../test/fakes/mcp-endpoint.ts'
import { eventsOf, result } from '../../test/fakes/memory-upstream.ts'

const VERSION = '2026-07-28'
const META = {
  'io.modelcontextprotocol/protocolVersion': VERSION,
  'io.modelcontextprotocol/clientCapabilities': { extensions: { 'acme/odd': { deep: [1] } } },
  'acme/trace': { id: 'x' },
}

/** A request of the modern revision with the headers that repeat it. */
function modern(f: Fixture, method: string, params: Record<string, unknown> = {}) {
  const name = params['name'] ?? params['uri'] ?? params['taskId']
  return f.ask({
    text: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { ...params, _meta: META } }),
    headers: { 'mcp-protocol-version': VERSION, 'mcp-method': method, ...(typeof name === 'string' && { 'mcp-name': name }) },
  })
}

const SKILLS =
  '{"skills":[{"uri":"skill://a/SKILL.md","resources":[{"uri":"skill://a/x"}]},{"uri":"skill://b/SKILL.md"},{"frontmatter":{}}]}'

test('skills are listed to whom may read them, and one that may not be read cannot be asked for', async () => {
  const f = createFixture({ allow: { resources: ['skill://a/*'] } })
  f.upstream.script = (message) => result(message, message.method === 'skills/list' ? SKILLS : '{"skill":{}}')
  expect(JSON.parse((await modern(f, 'skills/list')).text).result).toEqual({
    skills: [{ uri: 'skill://a/SKILL.md', resources: [{ uri: 'skill://a/x' }] }],
  })
  f.upstream.sent.length = 0
  expect(JSON.parse((await modern(f, 'skills/get', { uri: 'skill://b/SKILL.md' })).text).error.data).toEqual({ reason: 'no_resource' })
  expect(f.upstream.sent).toEqual([])
  expect(JSON.parse((await modern(f, 'skills/get', { uri: 'skill://a/SKILL.md' })).text).result).toEqual({ skill: {} })
})

test('a directory is a resource, and so is what it lists', async () => {
  const f = createFixture({ allow: { resources: ['skill://a', 'skill://a/open*'] } })
  f.upstream.script = (message) => result(message, '{"resources":[{"uri":"skill://a/open"},{"uri":"skill://a/shut"}]}')
  expect(JSON.parse((await modern(f, 'resources/directory/read', { uri: 'skill://a' })).text).result).toEqual({
    resources: [{ uri: 'skill://a/open' }],
  })
  f.upstream.sent.length = 0
  const refused = await modern(f, 'resources/directory/read', { uri: 'skill://b' })
  expect(JSON.parse(refused.text).error.data).toEqual({ reason: 'no_resource' })
  expect(f.upstream.sent).toEqual([])
})

test('a tool for an app alone is a tool, and its page a resource that need not be listed', async () => {
  const f = createFixture({ allow: { tools: ['refresh'], resources: ['ui://clock/*'] } })
  const tools = '{"tools":[{"name":"refresh","_meta":{"ui":{"visibility":["app"],"resourceUri":"ui://clock/page"}}},{"name":"rm"}]}'
  f.upstream.script = (message) => result(message, message.method === 'tools/list' ? tools : '{"contents":[]}')
  expect(JSON.parse((await modern(f, 'tools/list')).text).result.tools).toEqual([
    { name: 'refresh', _meta: { ui: { visibility: ['app'], resourceUri: 'ui://clock/page' } } },
  ])
  expect(JSON.parse((await modern(f, 'tools/call', { name: 'refresh' })).text).result).toEqual({ contents: [] })
  expect(JSON.parse((await modern(f, 'resources/read', { uri: 'ui://clock/page' })).text).result).toEqual({ contents: [] })
  expect(JSON.parse((await modern(f, 'resources/read', { uri: 'ui://other' })).text).error.data).toEqual({ reason: 'no_resource' })
})

test('a task is refused to whom the server is refused, and asked for by its id otherwise', async () => {
  const f = createFixture({ allow: { tools: ['slow'] } })
  f.upstream.script = (message) => result(message, '{"resultType":"task","taskId":"t-1","status":"working","ttlMs":null}')
  expect(JSON.parse((await modern(f, 'tools/call', { name: 'slow' })).text).result).toEqual({
    resultType: 'task',
    taskId: 't-1',
    status: 'working',
    ttlMs: null,
  })
  f.upstream.script = (message) => result(message, '{"resultType":"complete","taskId":"t-1","status":"completed","result":{"content":[]}}')
  expect(JSON.parse((await modern(f, 'tasks/get', { taskId: 't-1' })).text).result.result).toEqual({ content: [] })
  f.upstream.sent.length = 0
  const barred = f.caller('ana', { servers: ['other'] })
  const refused = await f.ask({ text: '{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"t-1"}}' }, barred)
  expect(refused.status).toBe(403)
  expect(f.upstream.sent).toEqual([])
})

test.each([
  ['content', '{"content":[{"type":"acme/hologram","depth":1.0,"_meta":{"acme/x":[null]}}],"resultType":"complete"}'],
  ['kind of result', '{"resultType":"acme/later","ticket":12345678901234567890,"acme":{"b":1,"a":2}}'],
  ['members', '{"content":[],"isError":false,"structuredContent":{"z":1},"acme/extra":{"x":true},"_meta":{"acme/y":1e2}}'],
])('a result with unknown %s arrives to the letter, as JSON and as events', async (_, text) => {
  const f = createFixture({ allow: { tools: ['*'] } })
  f.upstream.script = (message) => result(message, text)
  expect((await modern(f, 'tools/call', { name: 'echo' })).text).toBe(`{"jsonrpc":"2.0","id":1,"result":${text}}`)
  f.upstream.script = () => eventsOf([`{"jsonrpc":"2.0","id":1,"result":${text}}`])
  expect((await modern(f, 'tools/call', { name: 'echo' })).text).toContain(`{"jsonrpc":"2.0","id":1,"result":${text}}`)
})

test('unknown capabilities and `_meta` arrive to the letter, both ways', async () => {
  const f = createFixture({ allow: { tools: ['*'] } })
  const discovered =
    '{"supportedVersions":["2026-07-28"],"capabilities":{"acme":{"z":1.0},"extensions":{"acme/odd":{}}},"_meta":{"acme/z":0}}'
  f.upstream.script = (message) => result(message, discovered)
  expect((await modern(f, 'server/discover')).text).toBe(`{"jsonrpc":"2.0","id":1,"result":${discovered}}`)
  expect(JSON.parse(f.upstream.sent.at(-1) ?? '').params._meta).toEqual(META)
})

test('what a listed item says that is not known stays with it', async () => {
  const f = createFixture({ allow: { tools: ['a'] } })
  f.upstream.script = (message) =>
    result(message, '{"tools":[{"name":"a","acme":{"n":1.0}},{"name":"b"}],"acme/page":12345678901234567890}')
  expect((await modern(f, 'tools/list')).text).toBe(
    '{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a","acme":{"n":1.0}}],"acme/page":12345678901234567890}}',
  )
})

test('unknown requests and notifications of a server reach the client', async () => {
  const f = createFixture({ allow: { tools: ['*'] } })
  const session = await f.open()
  const asked = '{"jsonrpc":"2.0","id":"q","method":"acme/ask","params":{"x":1.0}}'
  const told = '{"jsonrpc":"2.0","method":"notifications/acme","params":{"y":[]}}'
  f.upstream.script = () => eventsOf([told, asked, '{"jsonrpc":"2.0","id":1,"result":{}}'])
  const { text } = await f.call(session, '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}')
  expect(text).toContain(told)
  expect(text).toContain(asked)
  f.upstream.sent.length = 0
  await f.call(session, '{"jsonrpc":"2.0","id":"q","result":{"acme":1.0}}')
  expect(f.upstream.sent).toEqual(['{"jsonrpc":"2.0","id":"q","result":{"acme":1.0}}'])
})

test('whoever listens to tasks hears of them, beside resources that the role allows', async () => {
  const f = createFixture({ allow: { resources: ['note://a'] } })
  const told = '{"jsonrpc":"2.0","method":"notifications/tasks","params":{"taskId":"t-1","status":"completed","result":{"content":[]}}}'
  f.upstream.script = () => eventsOf([told, '{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete"}}'])
  expect((await modern(f, 'subscriptions/listen', { notifications: { taskIds: ['t-1'] } })).text).toContain(told)
  f.upstream.sent.length = 0
  const refused = await modern(f, 'subscriptions/listen', { notifications: { taskIds: ['t-1'], resourceSubscriptions: ['note://b'] } })
  expect(JSON.parse(refused.text).error.data).toEqual({ reason: 'no_resource' })
  expect(f.upstream.sent).toEqual([])
})
