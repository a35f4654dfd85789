import { expect, test } from 'vitest'
import { createFixture, type Fixture } from '../../../test/fakes/mcp-endpoint.ts'
import { result } from '../../../test/fakes/memory-upstream.ts'

const META = '"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}'

const tool = (properties: unknown) => ({ name: 'echo', inputSchema: { type: 'object', properties } })
const annotated = tool({
  region: { type: 'string', 'x-mcp-header': 'Region' },
  deep: {
    type: 'object',
    properties: { count: { type: 'integer', 'x-mcp-header': 'Count' }, dry: { type: 'boolean', 'x-mcp-header': 'Dry' } },
  },
})

async function list(f: Fixture, tools: unknown): Promise<void> {
  f.upstream.script = (message) => result(message, JSON.stringify({ tools, resultType: 'complete' }))
  await f.ask({
    text: `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{${META}}}`,
    headers: { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/list' },
  })
  f.upstream.script = (message) => result(message, '{"content":[],"resultType":"complete"}')
}

async function call(f: Fixture, args: unknown, headers: Record<string, string> = {}): Promise<string> {
  const { status, text } = await f.ask({
    text: `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{${META},"name":"echo","arguments":${JSON.stringify(args)}}}`,
    headers: { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'echo', ...headers },
  })
  const { error } = JSON.parse(text)
  return error === undefined ? `${status}` : `${status} ${error.code} ${error.message}`
}

// 2026-07-28, Streamable HTTP, custom headers from tool parameters.
test.each([
  ['no header', { region: 'eu' }, {}, '400 -32020 mcp-param-region and params.arguments.region differ'],
  ['another value', { region: 'eu' }, { 'mcp-param-region': 'us' }, '400 -32020 mcp-param-region and params.arguments.region differ'],
  ['two values', { region: 'eu' }, { 'mcp-param-region': 'eu, us' }, '400 -32020 mcp-param-region and params.arguments.region differ'],
  [
    'base64 without padding',
    { region: 'Hello' },
    { 'mcp-param-region': '=?base64?SGVsbG8?=' },
    '400 -32020 mcp-param-region and params.arguments.region differ',
  ],
  [
    'letters that base64 has not',
    { region: 'Hello' },
    { 'mcp-param-region': '=?base64?SGVs!!!bG8=?=' },
    '400 -32020 mcp-param-region and params.arguments.region differ',
  ],
  [
    'base64 of bytes that are no text',
    { region: '\ufffd' },
    { 'mcp-param-region': '=?base64?/w==?=' },
    '400 -32020 mcp-param-region and params.arguments.region differ',
  ],
  ['a nested argument without its header', { deep: { count: 1 } }, {}, '400 -32020 mcp-param-count and params.arguments.deep.count differ'],
  [
    'a number that is another',
    { deep: { count: 1 } },
    { 'mcp-param-count': '2' },
    '400 -32020 mcp-param-count and params.arguments.deep.count differ',
  ],
  [
    'a number in other words',
    { deep: { count: 1 } },
    { 'mcp-param-count': '0x1' },
    '400 -32020 mcp-param-count and params.arguments.deep.count differ',
  ],
  [
    'a boolean in another case',
    { deep: { dry: true } },
    { 'mcp-param-dry': 'True' },
    '400 -32020 mcp-param-dry and params.arguments.deep.dry differ',
  ],
])('refuses a call with %s', async (_, args, headers, answer) => {
  const f = createFixture()
  await list(f, [annotated])
  f.upstream.sent.length = 0
  expect(await call(f, args, headers)).toBe(answer)
  expect(f.upstream.sent).toEqual([])
  expect(f.events.at(-1)).toMatchObject({ tool: 'echo', success: false })
})

test.each([
  ['the same text', { region: 'eu' }, { 'mcp-param-region': ' eu ' }],
  ['base64', { region: 'Grüße' }, { 'mcp-param-region': '=?base64?R3LDvMOfZQ==?=' }],
  ['text that only begins like base64', { region: '=?base64?SGVsbG8=' }, { 'mcp-param-region': '=?base64?SGVsbG8=' }],
  ['the same number', { deep: { count: 42 } }, { 'mcp-param-count': '42.0' }],
  ['the same boolean', { deep: { dry: true } }, { 'mcp-param-dry': 'true' }],
  ['no such argument', {}, { 'mcp-param-region': 'eu' }],
  ['null', { region: null }, {}],
  ['a header nobody asked for', { text: 'x' }, { 'mcp-param-other': 'x' }],
])('lets a call pass with %s', async (_, args, headers) => {
  const f = createFixture()
  await list(f, [annotated])
  expect(await call(f, args, headers)).toBe('200')
})

test('asks for no header of a tool it knows no list of, and for none that a later list has dropped', async () => {
  const f = createFixture()
  expect(await call(f, { region: 'eu' })).toBe('200')
  await list(f, [annotated])
  expect(await call(f, { region: 'eu' })).toContain('-32020')
  await list(f, [tool({ region: { type: 'string' } })])
  expect(await call(f, { region: 'eu' })).toBe('200')
})

test.each([
  ['in an alternative', { region: { anyOf: [{ type: 'string', 'x-mcp-header': 'Region' }] } }],
  ['that is no header name', { region: { type: 'string', 'x-mcp-header': 'Re gion' } }],
  [
    'that two arguments share',
    { region: { type: 'string', 'x-mcp-header': 'Region' }, other: { type: 'string', 'x-mcp-header': 'REGION' } },
  ],
])('an annotation %s means nothing', async (_, properties) => {
  const f = createFixture()
  await list(f, [tool(properties), 'no tool'])
  expect(await call(f, { region: 'eu' })).toBe('200')
})

test('does not look for more arguments in every call than a server can mean', async () => {
  const f = createFixture()
  const properties = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, n) => [`p${n}`, { 'x-mcp-header': `P${n}` }]))
  await list(f, [tool(properties(101))])
  expect(await call(f, { p0: 'a' })).toBe('200')
  await list(f, [tool(properties(100))])
  expect(await call(f, { p0: 'a' })).toBe('400 -32020 mcp-param-p0 and params.arguments.p0 differ')
})
