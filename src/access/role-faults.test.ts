import { expect, test } from 'vitest'
import { roleSchema } from '../resources/role.ts'
import { findRoleFaults } from './role-faults.ts'

function faultsOf(spec: Record<string, unknown>): string[] {
  return findRoleFaults(roleSchema.parse({ kind: 'role', version: 'v8', metadata: { name: 'r' }, spec }))
}

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
