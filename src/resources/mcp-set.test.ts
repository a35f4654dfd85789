import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parseYamlDocuments } from '../lib/yaml.ts'
import { parseResource } from './registry.ts'

const parse = (spec: unknown) => parseResource('mcp_set', { kind: 'mcp_set', version: 'v1', metadata: { name: 'dev' }, spec })
const rename = (...entries: [server: string, tool: string, name: string][]) => ({
  servers: { names: ['git'] },
  rename: entries.map(([server, tool, name]) => ({ server, tool, name })),
})

test.each([
  ['no servers', {}, 'spec.servers'],
  ['an empty choice of servers', { servers: {} }, 'spec.servers: needs labels or names'],
  ['a name with a slash', { servers: { names: ['a/b'] } }, 'spec.servers.names.0: must not contain'],
  ['another discovery', { servers: { names: [] }, discovery: 'some' }, 'spec.discovery'],
  ['an unknown key', { servers: { names: [] }, tool: {} }, 'spec'],
  ['an illegal name', rename(['git', 'log', 'git.log']), 'spec.rename.0.name: must be 1 to 48'],
  ['a name that is too long', rename(['git', 'log', 'x'.repeat(49)]), 'spec.rename.0.name: must be 1 to 48'],
  ['a name of our own tools', rename(['git', 'log', 'Search-Tools']), 'spec.rename.0.name: must be 1 to 48'],
  ['a name twice', rename(['git', 'log', 'a-b'], ['git', 'show', 'A_B']), 'spec.rename.1.name: "A_B" is the name of another tool'],
  ['a tool twice', rename(['git', 'log', 'a'], ['git', 'log', 'b']), 'spec.rename.1.name: tool "log" of server "git" has a name already'],
])('%s is a fault', (_, spec, fault) => {
  expect(() => parse(spec)).toThrow(fault)
})

test('a set is discovered by what the client can take, unless it says otherwise', () => {
  expect(parse({ servers: { labels: { env: 'dev' } } }).spec).toEqual({ servers: { labels: { env: 'dev' } }, discovery: 'auto' })
})

test('the set of the guide is one', () => {
  const guide = readFileSync(join(import.meta.dirname, '../../docs/guides/one-url.md'), 'utf8')
  const [document] = parseYamlDocuments(/```yaml\n(.*?)```/s.exec(guide)?.[1] ?? '', 'one-url.md')
  expect(parseResource('mcp_set', document?.value).metadata.name).toBe('backend')
})
