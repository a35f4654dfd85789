import { expect, test } from 'vitest'
import { findReconnect, fitTool, isTooMany } from './clients.ts'

test.each([
  ['Visual Studio Code', 128],
  ['Visual-Studio-Code', 128],
  ['Visual Studio Code - Insiders', 128],
  ['JetBrains Client', 128],
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

test('Gemini is given items for every array, the others what the server said', () => {
  const tool = { name: 'x', inputSchema: { type: 'object', properties: { a: { type: 'array' } } } }
  expect(fitTool('gemini-cli-mcp-client', tool)).toEqual({
    name: 'x',
    inputSchema: { type: 'object', properties: { a: { type: 'array', items: {} } } },
  })
  expect(fitTool('claude-code', tool)).toBe(tool)
})
