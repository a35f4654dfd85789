import { describe, expect, test } from 'vitest'
import type { Role } from '../resources/role.ts'
import { accessOf, all, allTools, role } from './check.fixture.ts'

describe('a server is denied', () => {
  test.each<[string, Role[], string, string | null]>([
    ['without roles', [], 'no_role', null],
    ['by a role that says nothing', [role('a', {})], 'no_labels', null],
    ['by an empty selector', [role('a', { allow: { app_labels: {}, mcp: { tools: ['*'] } } })], 'no_labels', null],
    ['by tools alone', [role('a', { allow: { mcp: { tools: ['*'] } } })], 'no_labels', null],
    ['by other labels', [role('a', { allow: { app_labels: { env: 'dev' } } })], 'no_labels', null],
    [
      'when the expression does not hold with the labels',
      [role('a', { allow: { ...all, app_labels_expression: 'labels["env"] == "dev"' } })],
      'no_labels',
      null,
    ],
    [
      'when the labels do not match with the expression',
      [role('a', { allow: { app_labels: { env: 'dev' }, app_labels_expression: 'true' } })],
      'no_labels',
      null,
    ],
    ['by a bad expression', [role('a', { allow: { ...all, app_labels_expression: 'labels[' } })], 'no_labels', null],
    ['by a bad regex', [role('a', { allow: { app_labels: { env: '^($' } } })], 'no_labels', null],
    ['by a bad template', [role('a', { allow: { app_labels: { env: '{{internal.nope}}' } } })], 'no_labels', null],
    ['by a missing trait', [role('a', { allow: { app_labels: { env: '{{external.nope}}' } } })], 'no_labels', null],
    ['by deny labels of any role', [role('a', { allow: all }), role('b', { deny: { app_labels: { env: 'prod' } } })], 'deny_rule', 'b'],
    ['by a deny expression', [role('a', { allow: all, deny: { app_labels_expression: 'labels["env"] == "prod"' } })], 'deny_rule', 'a'],
    [
      'by a deny expression beside labels that do not match',
      [role('a', { allow: all, deny: { app_labels: { env: 'x' }, app_labels_expression: 'true' } })],
      'deny_rule',
      'a',
    ],
    [
      'by a deny expression that cannot be evaluated',
      [role('a', { allow: all, deny: { app_labels_expression: 'nope' } })],
      'deny_rule',
      'a',
    ],
    ['by a deny regex that cannot be compiled', [role('a', { allow: all, deny: { app_labels: { env: '^($' } } })], 'deny_rule', 'a'],
    ['by a deny template that is none', [role('a', { allow: all, deny: { app_labels: { env: '{{internal.nope}}' } } })], 'deny_rule', 'a'],
  ])('%s', (_name, roles, kind, by) => {
    expect(accessOf(roles).decision).toMatchObject({ allow: false, kind, by })
    expect(accessOf(roles).check('tool', 'get_a')).toMatchObject({ allow: false, kind, by })
    expect(accessOf(roles).check('resource', 'file:///a')).toMatchObject({ allow: false, kind, by })
  })

  test('by a token that is limited to others, before anything else', () => {
    const roles = [role('a', { allow: allTools, deny: all })]
    expect(accessOf(roles, { servers: ['other'] }).decision).toMatchObject({ kind: 'token_scope' })
    expect(accessOf(roles, { servers: [] }).check('tool', 'x')).toMatchObject({ kind: 'token_scope' })
    expect(accessOf([role('a', { allow: allTools })], { servers: ['files'] }).check('tool', 'x')).toEqual({ allow: true, by: 'a' })
  })
})

describe('a tool is denied', () => {
  test.each<[string, Role[], string, string, string | null]>([
    ['when no role lists tools', [role('a', { allow: all })], 'get_a', 'no_tool', null],
    ['when its name has another case', [role('a', { allow: { ...all, mcp: { tools: ['get_*'] } } })], 'GET_a', 'no_tool', null],
    [
      'when another role than the one that grants the server lists it',
      [role('a', { allow: all }), role('b', { allow: { app_labels: { env: 'dev' }, mcp: { tools: ['*'] } } })],
      'get_a',
      'no_tool',
      null,
    ],
    ['when the trait it needs is missing', [role('a', { allow: { ...all, mcp: { tools: ['{{external.nope}}'] } } })], '', 'no_tool', null],
    ['when the only pattern is bad', [role('a', { allow: { ...all, mcp: { tools: ['^($'] } } })], '^($', 'no_tool', null],
    [
      'by deny tools without labels',
      [role('a', { allow: allTools }), role('b', { deny: { mcp: { tools: ['rm_*'] } } })],
      'rm_all',
      'deny_rule',
      'b',
    ],
    [
      'by a bad deny pattern, whatever its name',
      [role('a', { allow: allTools, deny: { mcp: { tools: ['^($'] } } })],
      'get_a',
      'deny_rule',
      'a',
    ],
    [
      'by a bad deny template, whatever its name',
      [role('a', { allow: allTools, deny: { mcp: { tools: ['{{internal.nope}}'] } } })],
      'get_a',
      'deny_rule',
      'a',
    ],
    [
      'when its name is missing and nothing matches that',
      [role('a', { allow: { ...all, mcp: { tools: ['get_*'] } } })],
      '',
      'no_tool',
      null,
    ],
  ])('%s', (_name, roles, tool, kind, by) => {
    expect(accessOf(roles).check('tool', tool)).toMatchObject({ allow: false, kind, by })
    expect(accessOf(roles).check('tool', tool, {})).toMatchObject({ allow: false, kind, by })
  })

  test('reasons name what was asked for and nothing of the rules', () => {
    const roles = [role('a', { allow: { ...all, mcp: { tools: ['secret_*'] } }, deny: { mcp: { tools: ['rm_*'] } } })]
    expect(accessOf(roles).check('tool', 'put')).toMatchObject({
      reason: 'access to tool "put" of MCP server "files" denied: no role allows it; ask your administrator',
    })
    expect(accessOf(roles).check('tool', 'rm_all')).toMatchObject({
      reason: 'access to tool "rm_all" of MCP server "files" denied by a deny rule; ask your administrator',
    })
    expect(accessOf([]).decision).toMatchObject({
      reason: 'access to MCP server "files" denied: no role allows it; ask your administrator',
    })
  })

  test('a hostile name is quoted and cut in the reason', () => {
    const denied = accessOf([]).check('tool', `a"\n${'x'.repeat(100_000)}`)
    expect(denied.allow ? '' : denied.reason).toMatch(/^access to tool "a\\"\\nx{125}…" of/)
  })
})

describe('a tool is allowed', () => {
  test.each<[string, Record<string, unknown>, string]>([
    ['by a pattern', { ...all, mcp: { tools: ['put', 'get_*'] } }, 'get_a'],
    ['by a trait', { ...all, mcp: { tools: ['{{internal.mcp_tools}}'] } }, 'get_a'],
    ['by a label of a trait', { app_labels: { team: '{{external.team}}' }, mcp: { tools: ['*'] } }, 'x'],
    ['by an expression alone', { app_labels_expression: 'labels["env"] == "prod"', mcp: { tools: ['*'] } }, 'x'],
    ['beside a bad pattern', { ...all, mcp: { tools: ['^($', 'x'] } }, 'x'],
    ['without a name by the star', allTools, ''],
  ])('%s', (_name, allow, tool) => {
    expect(accessOf([role('none', {}), role('a', { allow })]).check('tool', tool)).toEqual({ allow: true, by: 'a' })
  })

  test('a missing name is an empty one', () => {
    expect(accessOf([role('a', { allow: allTools })]).check('tool', undefined, {})).toEqual({ allow: true, by: 'a' })
  })
})

describe('resources and prompts', () => {
  const granting = role('a', { allow: all })

  test('are not restricted by a role that grants the server and lists none', () => {
    expect(accessOf([granting]).check('resource', 'file:///x')).toEqual({ allow: true, by: 'a' })
    expect(accessOf([granting]).check('prompt', 'x')).toEqual({ allow: true, by: 'a' })
  })

  test('are restricted by a list, an empty one and one of missing traits too', () => {
    const listed = (resources: string[]) => accessOf([role('a', { allow: { ...all, mcp: { resources, prompts: resources } } })])
    expect(listed(['file:///a/*']).check('resource', 'file:///b')).toMatchObject({ kind: 'no_resource' })
    expect(listed([]).check('resource', 'file:///b')).toMatchObject({ kind: 'no_resource' })
    expect(listed(['{{external.nope}}']).check('prompt', 'x')).toMatchObject({ kind: 'no_prompt' })
    expect(listed(['file:///a/*']).check('resource', 'file:///a/b')).toEqual({ allow: true, by: 'a' })
  })

  test('are denied by any role', () => {
    const denying = role('b', { deny: { mcp: { resources: ['*secret*'], prompts: ['*'] } } })
    expect(accessOf([granting, denying]).check('resource', 'file:///secret/a')).toMatchObject({ kind: 'deny_rule', by: 'b' })
    expect(accessOf([granting, denying]).check('prompt', 'x')).toMatchObject({ kind: 'deny_rule', by: 'b' })
    expect(accessOf([granting, denying]).check('resource', 'file:///a')).toEqual({ allow: true, by: 'a' })
  })
})

describe('allowed tools', () => {
  test('patterns of granting roles with traits filled in, denied ones of all roles', () => {
    const roles = [
      role('a', { allow: { ...all, mcp: { tools: ['{{internal.mcp_tools}}', 'put', '{{internal.nope}}'] } } }),
      role('b', { allow: { app_labels: { env: 'dev' }, mcp: { tools: ['hidden'] } }, deny: { mcp: { tools: ['rm_*'] } } }),
      role('c', { allow: { ...all, mcp: { tools: ['put', 'list'] } } }),
    ]
    expect(accessOf(roles).allowedTools()).toEqual({ allowed: ['get_*', 'put', 'list'], denied: ['rm_*'] })
  })

  test('none on a server that is denied', () => {
    expect(accessOf([role('a', { allow: allTools, deny: all })]).allowedTools()).toEqual({ allowed: [], denied: [] })
  })
})

test('more names than are remembered are still decided', () => {
  const access = accessOf([role('a', { allow: { ...all, mcp: { tools: ['get_*'] } } })])
  for (let i = 0; i < 10_100; i += 1) access.check('tool', `put_${i}`)
  expect(access.check('tool', 'get_10099').allow).toBe(true)
  expect(access.check('tool', 'put_10099').allow).toBe(false)
  expect(access.check('tool', 'put_1').allow).toBe(false)
})

describe('a method the gateway does not know', () => {
  const passes = (...methods: string[]) => role('a', { allow: { ...all, mcp: { methods } } })

  test.each<[string, Role[], string, string, string | null]>([
    ['is denied by default', [role('a', { allow: allTools })], 'acme/run', 'unknown_method', null],
    ['is denied when its name has another case', [passes('acme/*')], 'Acme/run', 'unknown_method', null],
    [
      'is denied when only a role that does not grant the server lists it',
      [role('a', { allow: all }), role('b', { allow: { app_labels: { env: 'dev' }, mcp: { methods: ['*'] } } })],
      'acme/run',
      'unknown_method',
      null,
    ],
    ['is denied when the only pattern is bad', [passes('^($')], '^($', 'unknown_method', null],
    [
      'is denied by deny methods without labels',
      [passes('*'), role('b', { deny: { mcp: { methods: ['acme/*'] } } })],
      'acme/run',
      'deny_rule',
      'b',
    ],
    ['is denied by a bad deny pattern', [passes('*'), role('b', { deny: { mcp: { methods: ['^($'] } } })], 'acme/run', 'deny_rule', 'b'],
  ])('%s', (_name, roles, method, kind, by) => {
    expect(accessOf(roles).check('method', method)).toMatchObject({ allow: false, kind, by })
  })

  test('passes where a role that grants the server lists it, and opens no tool', () => {
    const access = accessOf([passes('acme/*', '{{internal.mcp_tools}}')])
    expect(access.check('method', 'acme/run')).toEqual({ allow: true, by: 'a' })
    expect(access.check('method', 'get_x')).toEqual({ allow: true, by: 'a' })
    expect(access.check('tool', 'acme/run')).toMatchObject({ allow: false, kind: 'no_tool' })
  })
})
