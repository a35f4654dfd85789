import { expect, test } from 'vitest'
import { agentConfigSchema, demoApp } from './config.ts'

const faultsOf = (section: unknown): string[] =>
  agentConfigSchema.safeParse(section).error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`) ?? []

test.each([
  ['an unknown key', { enabeld: true }],
  ['a resource without labels', { resources: [{}] }],
  ['an app without a name', { apps: [{ uri: 'mcp+http://127.0.0.1:1' }] }],
  ['an app that is no MCP server', { apps: [{ name: 'a', uri: 'http://127.0.0.1' }] }],
  ['a program without an account', { apps: [{ name: 'a', mcp: { command: 'x' } }] }],
  ['an unknown key of an app', { apps: [{ name: 'a', uri: 'mcp+http://127.0.0.1:1', color: 'red' }] }],
  ['a name with a slash', { apps: [{ name: 'a/b', uri: 'mcp+http://127.0.0.1:1' }] }],
  ['a header without a name', { apps: [{ name: 'a', uri: 'mcp+http://127.0.0.1:1', rewrite: { headers: ['nothing'] } }] }],
])('%s is a fault', (_, section) => {
  expect(faultsOf(section)).not.toEqual([])
})

test('without a word every app resource is served, and nothing else', () => {
  expect(agentConfigSchema.parse({})).toEqual({
    enabled: true,
    mcp_demo_server: false,
    allow_dynamic_commands: false,
    resources: [{ labels: { '*': '*' } }],
    apps: [],
    mcp_limits: { sessions: 20_000, sessions_per_user: 64, idle_timeout: '5m' },
  })
})

test('an app of the file becomes an app resource that says where it comes from', () => {
  const headers = ['Authorization: Bearer a:b', { name: 'X-A', value: '1' }]
  const { apps } = agentConfigSchema.parse({
    apps: [{ name: 'a', description: 'd', labels: { env: 'x' }, uri: 'mcp+http://127.0.0.1:1', rewrite: { headers } }],
  })
  expect(apps).toEqual([
    {
      kind: 'app',
      version: 'v3',
      metadata: { name: 'a', description: 'd', labels: { env: 'x', 'teleport.dev/origin': 'config-file' } },
      spec: {
        uri: 'mcp+http://127.0.0.1:1',
        rewrite: {
          headers: [
            { name: 'Authorization', value: 'Bearer a:b' },
            { name: 'X-A', value: '1' },
          ],
        },
      },
    },
  ])
})

test('the demo server has the name people know', () => {
  expect(demoApp()).toMatchObject({ metadata: { name: 'teleport-mcp-demo' }, spec: { uri: 'mcp+stdio://teleport-mcp-demo' } })
})

test('the commands of an app of the file become dynamic labels', () => {
  const commands = [{ name: 'load', command: ['/usr/bin/load', '-1'], period: '30s' }]
  const { apps } = agentConfigSchema.parse({ apps: [{ name: 'a', uri: 'mcp+http://127.0.0.1:1', commands }] })
  expect(apps[0]?.spec.dynamic_labels).toEqual({ load: { command: ['/usr/bin/load', '-1'], period: '30s' } })
  expect(() =>
    agentConfigSchema.parse({ apps: [{ name: 'a', uri: 'mcp+http://127.0.0.1:1', commands: [{ ...commands[0], period: 'x' }] }] }),
  ).toThrow('must be a duration')
})
