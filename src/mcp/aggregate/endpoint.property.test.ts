import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Call, createFixture, fakeMember, MODERN } from './aggregate.fixture.ts'

const METHODS = [
  'initialize',
  'ping',
  'tools/list',
  'tools/call',
  'prompts/list',
  'prompts/get',
  'resources/list',
  'resources/templates/list',
  'resources/read',
  'resources/subscribe',
  'resources/unsubscribe',
  'completion/complete',
  'logging/setLevel',
  'tasks/get',
  'tasks/list',
  'tasks/result',
  'tasks/cancel',
  'tasks/update',
  'server/discover',
  'notifications/initialized',
  'notifications/cancelled',
  'notifications/progress',
  'no/method',
]
const value = fc.oneof(
  fc.constantFrom('a_x', 'a', 'search_tools', 'call_tool', 'sallyport://a/note://1', 'ui://a/p', 'a/t', 's-1', 'info', '', '2025-11-25'),
  fc.jsonValue({ maxDepth: 3 }),
)
const params = fc.dictionary(
  fc.constantFrom(
    'name',
    'uri',
    'arguments',
    'cursor',
    'ref',
    'argument',
    'taskId',
    'level',
    'requestId',
    'progressToken',
    'protocolVersion',
    'clientInfo',
    '_meta',
    'x',
  ),
  fc.oneof(value, fc.dictionary(fc.constantFrom('name', 'uri', 'type', 'arguments', 'progressToken'), value)),
)
const request = fc.record({
  jsonrpc: fc.constant('2.0'),
  id: fc.oneof(fc.integer(), fc.string()),
  method: fc.constantFrom(...METHODS),
  params,
})
/** What a member hears of. */
const forwarded = fc
  .constantFrom(
    ['tools/call', { name: 'a_x', arguments: {} }],
    ['tools/call', { name: 'call_tool', arguments: { name: 'a_x' } }],
    ['resources/read', { uri: 'sallyport://a/note://1' }],
    ['resources/subscribe', { uri: 'sallyport://a/note://1' }],
    ['completion/complete', { ref: { type: 'ref/resource', uri: 'ui://a/p' }, argument: { name: 'x', value: '' } }],
    ['tasks/get', { taskId: 'a/t' }],
  )
  .map(([method, given]) => ({ jsonrpc: '2.0', id: 1, method, params: given }))
const message = fc.oneof(
  { weight: 8, arbitrary: forwarded },
  { weight: 8, arbitrary: request },
  { weight: 1, arbitrary: fc.record({ jsonrpc: fc.constant('2.0'), method: fc.constantFrom(...METHODS), params }) },
  { weight: 1, arbitrary: fc.record({ jsonrpc: fc.constant('2.0'), id: value, result: value, params }) },
)

/** What a hostile member may say. */
const SAYINGS: ((call: Call, said: unknown) => void)[] = [
  (call, said) => call.result(said),
  (call, said) =>
    call.events(
      said,
      { jsonrpc: '2.0', id: call.message.id, method: 'roots/list', params: said },
      { jsonrpc: '2.0', id: call.message.id, result: said },
    ),
  (call, said) => call.events({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: said }),
  (call, said) => {
    call.exchange.answer.head(typeof said === 'number' ? 404 : 200, { 'content-type': 'application/json' })
    call.exchange.answer.end(Buffer.from(JSON.stringify(said).slice(0, -1)))
  },
  (call) => call.exchange.answer.abort('no'),
]

test('every exchange has one whole answer, whatever clients and members say', async () => {
  const scenario = fc.record({
    messages: fc.array(fc.tuple(message, fc.boolean()), { maxLength: 6 }),
    batch: fc.boolean(),
    said: value,
    saying: fc.nat(4),
    search: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(scenario, async ({ messages, batch, said, saying, search }) => {
      const a = fakeMember('a', ['x'])
      const f = createFixture([a, fakeMember('b', ['y'])])
      const session = await f.open({ revision: '2025-03-26' })
      await f.call(session, 'tools/list')
      f.views = { discovery: search ? 'search' : 'auto', expiresAt: Number.MAX_SAFE_INTEGER }
      for (const method of METHODS) if (!method.startsWith('initialize')) a.on[method] = (call) => SAYINGS[saying]?.(call, said)
      const texts = messages.map(([one, isModern]) =>
        JSON.stringify(isModern ? { ...one, params: { ...(typeof one.params === 'object' ? one.params : {}), _meta: META } } : one),
      )
      const bodies = batch ? [`[${texts.join(',')}]`] : texts
      for (const text of bodies) {
        const method = /"method":"([^"]*)"/.exec(text)?.[1] ?? ''
        const headers: Record<string, string> = text.includes(MODERN)
          ? { 'mcp-protocol-version': MODERN, 'mcp-method': method, 'mcp-name': /"(?:name|uri|taskId)":"([^"]*)"/.exec(text)?.[1] ?? '' }
          : { 'mcp-session-id': session }
        const answered = f.send({ text, headers })
        await f.timers.advance(20 * 60_000)
        expect([answered.heads, answered.ends, answered.status === 500 ? answered.text : '']).toEqual([1, 1, ''])
      }
    }),
    { numRuns: 200 },
  )
})

const META = { 'io.modelcontextprotocol/protocolVersion': MODERN, 'io.modelcontextprotocol/clientCapabilities': {} }
