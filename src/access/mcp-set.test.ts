import { expect, test } from 'vitest'
import { mcpSetSchema } from '../resources/mcp-set.ts'
import { compileSet, findSetFaults } from './mcp-set.ts'

const setOf = (spec: unknown) => mcpSetSchema.parse({ kind: 'mcp_set', version: 'v1', metadata: { name: 's' }, spec })
const chosen = (tools: unknown, names: readonly string[]): string[] => {
  const { includesTool } = compileSet(setOf({ servers: { names: ['git'] }, tools }))
  return names.filter((name) => {
    const [server = '', ...tool] = name.split('/')
    return includesTool?.(server, tool.join('/')) ?? true
  })
}

const TOOLS = ['git/log', 'git/push', 'db/query', 'db/log', 'db/a/b']

test.each([
  ['nothing for an empty include', { include: [] }, []],
  ['nothing for a bad pattern to include', { include: ['^(?=x)$'] }, []],
  ['nothing for a bad pattern to exclude', { exclude: ['^(?=x)$'] }, []],
  ['a good pattern beside a bad one', { include: ['^(?=x)$', 'log'] }, ['git/log', 'db/log']],
  ['not what is excluded', { include: ['*'], exclude: ['git/push', 'query'] }, ['git/log', 'db/log', 'db/a/b']],
  ['one tool of one server', { include: ['git/log'] }, ['git/log']],
  ['all of a pattern of servers', { include: ['d*/*'] }, ['db/query', 'db/log', 'db/a/b']],
  ['a regex over tools', { include: ['^(log|a/b)$'] }, ['git/log', 'db/log', 'db/a/b']],
  ['a regex over the tools of one server', { include: ['db/^l.g$'] }, ['db/log']],
  ['all without patterns', {}, TOOLS],
])('a set has %s', (_, tools, expected) => {
  expect(chosen(tools, TOOLS)).toEqual(expected)
})

test('a set shows the servers with its labels and those it names', () => {
  const { includesServer } = compileSet(setOf({ servers: { labels: { env: ['dev', 'stag*'] }, names: ['git'] } }))
  expect(includesServer('x', { env: 'prod' })).toBe(false)
  expect(includesServer('x', {})).toBe(false)
  expect(includesServer('x', { env: 'staging' })).toBe(true)
  expect(includesServer('git', {})).toBe(true)
  expect(compileSet(setOf({ servers: { labels: { env: '^(?=x)$' } } })).includesServer('x', { env: 'x' })).toBe(false)
  expect(compileSet(setOf({ servers: { labels: { '*': '*' } } })).includesServer('x', {})).toBe(true)
  expect(compileSet(setOf({ servers: { names: ['git'] } })).includesServer('x', {})).toBe(false)
})

test('patterns that will not work are named with their place', () => {
  expect(
    findSetFaults(setOf({ servers: { labels: { env: '^(?=x)$' } }, tools: { include: ['git/^($', 'fine'], exclude: ['^[$'] } })),
  ).toEqual([
    expect.stringMatching(/^spec\.servers\.labels: "\^\(\?=x\)\$" is not a regular expression/),
    expect.stringMatching(/^spec\.tools\.include: "\^\(\$" is not a regular expression/),
    expect.stringMatching(/^spec\.tools\.exclude: "\^\[\$" is not a regular expression/),
  ])
})
