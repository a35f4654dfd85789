import { expect, test } from 'vitest'
import { roleSchema } from '../resources/role.ts'
import { findHalfRegexes, findRoleFaults } from './role-faults.ts'

function faultsOf(spec: Record<string, unknown>): string[] {
  return findRoleFaults(roleSchema.parse({ kind: 'role', version: 'v8', metadata: { name: 'r' }, spec }))
}

test('what begins like a regular expression and does not end like one is named with its place', () => {
  const role = roleSchema.parse({
    kind: 'role',
    version: 'v8',
    metadata: { name: 'r' },
    spec: {
      allow: {
        app_labels: { env: '^x' },
        mcp: { tools: ['^get_', '^get_$', 'a^', '^{{internal.x}}'], rules: [{ tools: ['^b'], where: 'true' }] },
      },
      deny: { mcp: { tools: ['^(delete|drop)_.*'], resources: ['^file:'], prompts: ['^p'], methods: ['^m'] } },
    },
  })
  expect(findHalfRegexes(role)).toEqual([
    'spec.allow.mcp.tools: "^get_" begins with ^, so it has to end with $: a regular expression has both',
    'spec.allow.mcp.rules: "^b" begins with ^, so it has to end with $: a regular expression has both',
    'spec.deny.mcp.tools: "^(delete|drop)_.*" begins with ^, so it has to end with $: a regular expression has both',
    'spec.deny.mcp.resources: "^file:" begins with ^, so it has to end with $: a regular expression has both',
    'spec.deny.mcp.prompts: "^p" begins with ^, so it has to end with $: a regular expression has both',
    'spec.deny.mcp.methods: "^m" begins with ^, so it has to end with $: a regular expression has both',
  ])
})

test('every fault is named with its place', () => {
  const faults = faultsOf({
    allow: { app_labels: { env: ['prod', '^($'] }, app_labels_expression: 'nope', mcp: { tools: ['^(?=a)$', '{{internal.nope}}'] } },
    deny: {
      mcp: { methods: ['^($', '{{nope}}'], rules: [{ tools: ['^[$'], where: 'args.' }] },
      rules: [{ resources: ['app'], verbs: ['read'], where: 'args.x' }],
    },
  })
  expect(faults.map((fault) => fault.split(': ')[0])).toEqual([
    'spec.allow.mcp.tools',
    'spec.deny.mcp.methods',
    'spec.allow.app_labels',
    'spec.allow.mcp.tools',
    'spec.allow.app_labels_expression',
    'spec.deny.mcp.methods',
    'spec.deny.mcp.rules',
    'spec.deny.mcp.rules',
    'spec.deny.rules',
  ])
})

test('a good role has none', () => {
  expect(
    faultsOf({
      allow: {
        app_labels: { '{{external.team}}': ['^(a|b)$', '*'] },
        app_labels_expression: 'labels["env"] == "prod"',
        mcp: { tools: ['{{internal.mcp_tools}}', 'get_*'], rules: [{ tools: ['*'], where: 'args.n < 3' }] },
        rules: [{ resources: ['app'], verbs: ['read'], where: 'equals(resource.metadata.name, "x")' }],
      },
    }),
  ).toEqual([])
})
