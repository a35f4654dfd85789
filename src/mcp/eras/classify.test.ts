import { expect, test } from 'vitest'
import { readClientMessages } from '../message.ts'
import { classify, clientInfoText } from './classify.ts'

const VERSION = 'io.modelcontextprotocol/protocolVersion'
const CAPABILITIES = 'io.modelcontextprotocol/clientCapabilities'
const MODERN = '2026-07-28'
const META = { [VERSION]: MODERN, [CAPABILITIES]: {} }

function run(message: unknown, headers: Record<string, string> = {}) {
  const { batch, messages } = readClientMessages(Buffer.from(JSON.stringify(message)))
  return classify(messages, batch, headers)
}

const request = (method: string, params?: object) => ({ jsonrpc: '2.0', id: 1, method, ...(params && { params }) })
const headersFor = (method: string, more: Record<string, string> = {}) => ({
  'mcp-protocol-version': MODERN,
  'mcp-method': method,
  ...more,
})

// The order of 2026-07-28, Streamable HTTP: each step only when the ones before it passed.
test.each([
  ['a posted response under a modern header', { jsonrpc: '2.0', id: 1, result: {} }, { 'mcp-protocol-version': MODERN }, -32600],
  ['a batch under a modern header', [request('ping')], { 'mcp-protocol-version': MODERN }, -32600],
  ['a batch with a modern member', [request('ping'), request('tools/list', { _meta: META })], {}, -32600],
  ['initialize under a modern header', request('initialize'), { 'mcp-protocol-version': MODERN }, -32020],
  ['a modern header without a claim', request('tools/list'), headersFor('tools/list'), -32602],
  ['a claim that is no string', request('tools/list', { _meta: { ...META, [VERSION]: 1 } }), headersFor('tools/list'), -32602],
  ['no capabilities', request('tools/list', { _meta: { [VERSION]: MODERN } }), headersFor('tools/list'), -32602],
  ['capabilities that are a list', request('tools/list', { _meta: { ...META, [CAPABILITIES]: [] } }), headersFor('tools/list'), -32602],
  ['a claim without a header', request('tools/list', { _meta: META }), {}, -32020],
  ['a claim under a legacy header', request('tools/list', { _meta: META }), { 'mcp-protocol-version': '2025-11-25' }, -32020],
  ['a method other than the header says', request('tools/list', { _meta: META }), headersFor('tools/call'), -32020],
  ['a method in other case', request('tools/list', { _meta: META }), headersFor('Tools/List'), -32020],
  [
    'an unknown revision',
    request('tools/list', { _meta: { ...META, [VERSION]: '2030-01-01' } }),
    { ...headersFor('tools/list'), 'mcp-protocol-version': '2030-01-01' },
    -32022,
  ],
  [
    'a legacy revision as claim',
    request('tools/list', { _meta: { ...META, [VERSION]: '2025-11-25' } }),
    { ...headersFor('tools/list'), 'mcp-protocol-version': '2025-11-25' },
    -32022,
  ],
  ['no Mcp-Method', request('tools/list', { _meta: META }), { 'mcp-protocol-version': MODERN }, -32020],
  ['no Mcp-Name', request('tools/call', { _meta: META, name: 'echo' }), headersFor('tools/call'), -32020],
  ['another Mcp-Name', request('tools/call', { _meta: META, name: 'echo' }), headersFor('tools/call', { 'mcp-name': 'rm' }), -32020],
  [
    'two values of Mcp-Name',
    request('tools/call', { _meta: META, name: 'echo' }),
    headersFor('tools/call', { 'mcp-name': 'echo, rm' }),
    -32020,
  ],
  [
    'base64 without padding',
    request('tools/call', { _meta: META, name: 'echo' }),
    headersFor('tools/call', { 'mcp-name': '=?base64?ZWNobw?=' }),
    -32020,
  ],
  [
    'a marker in another case',
    request('tools/call', { _meta: META, name: 'echo' }),
    headersFor('tools/call', { 'mcp-name': '=?BASE64?ZWNobw==?=' }),
    -32020,
  ],
  ['another task', request('tasks/get', { _meta: META, taskId: 't1' }), headersFor('tasks/get', { 'mcp-name': 't2' }), -32020],
  ['initialize with a claim', request('initialize', { _meta: META }), headersFor('initialize'), -32601],
  ['ping with a claim', request('ping', { _meta: META }), headersFor('ping'), -32601],
  ['a legacy header nobody published', request('tools/list'), { 'mcp-protocol-version': '1999-01-01' }, -32600],
  ['a header that is a key of every object', request('tools/list'), { 'mcp-protocol-version': '__proto__' }, -32600],
])('%s is refused', (_, message, headers, rpc) => {
  expect(() => run(message, headers)).toThrow(expect.objectContaining({ details: expect.objectContaining({ rpc }) }))
})

test('an unsupported revision is told which are supported, and an unknown method is an HTTP 404', () => {
  const claim = { ...META, [VERSION]: '2030-01-01' }
  expect(() => run(request('x', { _meta: claim }), { ...headersFor('x'), 'mcp-protocol-version': '2030-01-01' })).toThrow(
    expect.objectContaining({ code: 'invalid_argument', details: { rpc: -32022, data: { supported: [MODERN], requested: '2030-01-01' } } }),
  )
  expect(() => run(request('initialize', { _meta: META }), headersFor('initialize'))).toThrow(
    expect.objectContaining({ details: { rpc: -32601, http: 404 } }),
  )
})

test.each([
  ['initialize', request('initialize', { protocolVersion: '2030-01-01' }), {}, { era: 'legacy', opens: true }],
  ['initialize with a claim that is none', request('initialize', { _meta: { [VERSION]: 7 } }), {}, { era: 'legacy', opens: true }],
  ['a request that names no revision, as all of Gemini CLI,', request('tools/list'), {}, { era: 'legacy', opens: false }],
  ['a request with its revision', request('tools/list'), { 'mcp-protocol-version': '2025-06-18' }, { era: 'legacy', opens: false }],
  ['a response', { jsonrpc: '2.0', id: 1, result: {} }, {}, { era: 'legacy', opens: false }],
  ['a batch of legacy members', [request('ping')], {}, { era: 'legacy', opens: false }],
])('%s without a modern sign is legacy', (_, message, headers, dialect) => {
  expect(run(message, headers)).toEqual(dialect)
})

test('a modern request stands for itself', () => {
  const info = { 'io.modelcontextprotocol/clientInfo': { name: 'c', version: '1' } }
  expect(run(request('tools/list', { _meta: { ...META, ...info } }), headersFor('tools/list'))).toEqual({
    era: 'modern',
    revision: MODERN,
    clientInfo: 'c/1',
  })
  const names: [string, string][] = [
    ['echo', ' echo '],
    ['é', '=?base64?w6k=?='],
    ['=?base64?x?=', '=?base64?PT9iYXNlNjQ/eD89?='],
    ['', ''],
  ]
  for (const [name, header] of names) {
    expect(run(request('tools/call', { _meta: META, name }), headersFor('tools/call', { 'mcp-name': header }))).toMatchObject({
      era: 'modern',
    })
  }
  const note = { jsonrpc: '2.0', method: 'notifications/progress', params: { _meta: { [VERSION]: MODERN } } }
  expect(run(note, { 'mcp-protocol-version': MODERN })).toMatchObject({ era: 'modern' })
})

test('what a client calls itself is short text or nothing', () => {
  expect(clientInfoText({ name: 7 })).toBeUndefined()
  expect(clientInfoText(null)).toBeUndefined()
  expect(clientInfoText({ name: 'x'.repeat(500) })).toHaveLength(200)
})
