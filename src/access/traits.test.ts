import { describe, expect, test } from 'vitest'
import { roleSchema } from '../resources/role.ts'
import { checkTemplates, expandList, expandSelector, expandValue } from './traits.ts'

const traits = {
  logins: ['ana', 'root'],
  mcp_tools: ['get_*', 'list_*'],
  team: ['a', 'b'],
  email: ['Ana@example.com', 'Bo <bo@example.com>', 'nobody'],
  groups: ['env-prod', 'env-dev', 'other'],
  empty: [],
  blank: [''],
  'https://idp.example/claim': ['x'],
}

describe('refused templates', () => {
  test.each([
    '{{internal.nope}}',
    '{{internal.team}}',
    '{{internal}}',
    '{{team}}',
    '{{}}',
    '{{external.}}',
    '{{external.team',
    'external.team}}',
    '}}{{',
    '{{external.team}}{{external.team}}',
    '{{external.team external.team}}',
    '{{email.domain(external.email)}}',
    '{{email.local(external.email}}',
    '{{regexp.replace(external.team, "a")}}',
    '{{regexp.replace(external.team, a, "b")}}',
    '{{regexp.replace(external.team, "^($", "b")}}',
    `{{${'email.local('.repeat(20)}external.email${')'.repeat(20)}}}`,
  ])('%s', (text) => {
    expect(() => expandValue(text, traits)).toThrow(expect.objectContaining({ code: 'invalid_argument' }))
  })
})

describe('values', () => {
  test.each<[string, string[]]>([
    ['{{external.nope}}', []],
    ['{{external.constructor}}', []],
    ['{{external.empty}}', []],
    ['{{external.blank}}', []],
    ['{{internal.jwt}}', []],
    ['x-{{external.nope}}', []],
    ['plain', ['plain']],
    ['^a{2}$', ['^a{2}$']],
    ['{{internal.mcp_tools}}', ['get_*', 'list_*']],
    ['{{ internal.logins }}', ['ana', 'root']],
    ['{{external.logins}}', ['ana', 'root']],
    ['pre_{{external.team}}_post', ['pre_a_post', 'pre_b_post']],
    ['{{external["https://idp.example/claim"]}}', ['x']],
    ['{{email.local(external.email)}}', ['Ana', 'bo']],
    ['{{regexp.replace(external.groups, "^env-(\\w+)$", "$1")}}', ['prod', 'dev']],
    ['{{regexp.replace(external.groups, "^env-(\\\\w+)$", "$1")}}', ['prod', 'dev']],
    ['{{regexp.replace(email.local(external.email), "^A(.*)$", "a$1")}}', ['ana']],
  ])('%s', (text, expected) => {
    expect(expandValue(text, traits)).toEqual(expected)
  })
})

test('entries of missing traits vanish from lists, repetitions too', () => {
  expect(expandList(['{{external.nope}}', 'a', '{{external.team}}'], traits)).toEqual(['a', 'b'])
})

describe('selectors', () => {
  test('a value of a missing trait becomes the empty text, so that it selects nothing', () => {
    expect(expandSelector({ env: '{{external.nope}}', team: ['{{external.team}}', 'c'] }, traits)).toEqual({
      env: [''],
      team: ['a', 'b', 'c'],
    })
  })

  test('a key takes the first value of its trait', () => {
    expect(expandSelector({ '{{external.team}}': 'x' }, traits)).toEqual({ a: ['x'] })
    expect(expandSelector({ '{{external.nope}}': 'x' }, traits)).toEqual({ '': ['x'] })
  })

  test('two keys that become one are refused', () => {
    expect(() => expandSelector({ '{{external.team}}': 'x', a: 'y' }, traits)).toThrow('two keys of a label selector become "a"')
  })
})

test('checkTemplates names every bad template with its place', () => {
  const role = roleSchema.parse({
    kind: 'role',
    version: 'v8',
    metadata: { name: 'dev' },
    spec: {
      allow: { app_labels: { team: '{{internal.team}}' }, mcp: { tools: ['{{internal.mcp_tools}}', '{{x}}'] } },
      deny: { mcp: { prompts: ['{{regexp.replace(external.a, "(", "x")}}'], rules: [{ tools: ['{{'], where: 'true' }] } },
    },
  })
  const faults = checkTemplates(role)
  expect(faults).toHaveLength(4)
  expect(faults[0]).toMatch(/^spec\.allow\.app_labels: unsupported variable "internal\.team"/)
  expect(faults[1]).toMatch(/^spec\.allow\.mcp\.tools: "\{\{x\}\}" is not a template/)
  expect(faults[2]).toMatch(/^spec\.deny\.mcp\.prompts: "\(" is not a regular expression/)
  expect(faults[3]).toMatch(/^spec\.deny\.mcp\.rules: "\{\{" is not a template/)
})
