import { expect, test } from 'vitest'
import { createFixture, fakeMember } from './aggregate.fixture.ts'
import { findReconnect, fitTool, isTooMany } from './clients.ts'

test.each([
  ['Visual Studio Code', 128],
  ['Visual-Studio-Code', 128],
  ['Visual Studio Code - Insiders', 128],
  ['JetBrains Client', 128],
  ['IntelliJ IDEA', 128],
  ['PyCharm', 128],
  ['WebStorm', 128],
  ['GoLand', 128],
  ['cursor-vscode', 40],
  ['windsurf-client', 100],
  ['antigravity-client', 50],
])('%s takes %i tools', (name, limit) => {
  expect([isTooMany(name, limit), isTooMany(name, limit + 1)]).toEqual([false, true])
})

test.each([['claude-code'], ['codex-mcp-client'], ['opencode'], [undefined]])('%s takes as many as there are', (name) => {
  expect(isTooMany(name, 5000)).toBe(false)
})

test('Claude Code has to be reconnected to see a change', () => {
  expect([findReconnect('claude-code'), findReconnect('opencode'), findReconnect(undefined)]).toEqual([
    'type /mcp and reconnect',
    undefined,
    undefined,
  ])
})

test.each(['gemini-cli-mcp-client', 'antigravity-client'])('%s is given items for every array, the others what the server said', (name) => {
  const tool = { name: 'x', inputSchema: { type: 'object', properties: { a: { type: 'array' } } } }
  expect(fitTool(name, tool)).toEqual({
    name: 'x',
    inputSchema: { type: 'object', properties: { a: { type: 'array', items: {} } } },
  })
  expect(fitTool('claude-code', tool)).toBe(tool)
})

// What some clients need and all of them get.

test('Gemini CLI 0.61 names its revision in initialize only: the session has it', async () => {
  const a = fakeMember('a', ['x'])
  const f = createFixture([a])
  const session = await f.open({ client: 'gemini-cli-mcp-client', revision: '2025-06-18' })
  expect((await f.call(session, 'tools/list')).json.result.tools).toHaveLength(1)
  expect((await f.call(session, 'tools/call', { name: 'a_x' })).json.result).toEqual({})
  const told = a.calls.filter(({ message }) => message.method === 'tools/call').map(({ headers }) => headers['mcp-protocol-version'])
  expect(told).toEqual(['2025-06-18'])
})

test.each([
  ['2025-06-18', '2025-06-18'], // Codex 0.169
  ['2025-03-26', '2025-03-26'],
  ['2024-11-05', '2024-11-05'],
  ['2030-01-01', '2025-11-25'],
])('a client that opens with %s is answered in %s', async (asked, given) => {
  const f = createFixture([])
  const params = { protocolVersion: asked, capabilities: {}, clientInfo: { name: 'codex-mcp-client', version: '1' } }
  const answer = await f.ask({ text: JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'initialize', params }) })
  expect(answer.json.result.protocolVersion).toBe(given)
})

test('Cline skips a server that takes three seconds to begin: initialize waits for no server, and a fifth of a second for who is there', async () => {
  const a = fakeMember('a', ['x'])
  a.on['initialize'] = () => undefined
  const f = createFixture([a])
  expect(await f.open({ client: 'cline' })).not.toBe('')
  f.views.members = () => new Promise(() => undefined)
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'cline', version: '1' } }
  const answer = f.send({ text: JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'initialize', params }) })
  await f.timers.advance(200)
  expect(answer.json.result.protocolVersion).toBe('2025-11-25')
})
