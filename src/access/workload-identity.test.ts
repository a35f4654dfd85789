import { describe, expect, test } from 'vitest'
import type { Identity } from '../resources/identity.ts'
import { workloadIdentitySchema } from '../resources/workload-identity.ts'
import { ana, role } from './check.fixture.ts'
import { compileRoles } from './role-set.ts'
import {
  checkWorkloadIdentity,
  fillTemplate,
  fillTemplates,
  findWorkloadIdentityFaults,
  renderSpiffeId,
  workloadAttributes,
} from './workload-identity.ts'

const BOT: Partial<Identity> = { kind: 'bot', name: 'bot-ci', traits: { team: ['core'], many: ['a', 'b'] }, botInstanceId: 'i1' }
const JOIN = { method: 'gitlab', token: 'from-gitlab', claims: { project_path: 'acme/shop', environment: 'prod', protected: true } }
const bot = { ...ana, ...BOT }
const attributes = workloadAttributes(bot, JOIN)
const facts = { mfaVerified: false, requireMfa: false }

function workload(
  spec: { id?: string; rules?: unknown; x509?: unknown; jwt?: unknown } = {},
  labels: Record<string, string> = { env: 'prod' },
) {
  const { id = '/svc/{{user.name}}', rules, x509, jwt } = spec
  return workloadIdentitySchema.parse({
    kind: 'workload_identity',
    version: 'v1',
    metadata: { name: 'w', labels },
    spec: { spiffe: { id, x509, jwt }, rules },
  })
}

const GRANT = { allow: { workload_identity_labels: { env: 'prod' } } }

function decide(specs: Record<string, unknown>[], rules?: unknown, identity: Identity = bot) {
  const set = compileRoles(
    specs.map((spec, index) => role(`r${index}`, spec)),
    identity,
  )
  return checkWorkloadIdentity(set, workload({ rules }), attributes, facts)
}

const eq = (attribute: string, value: string) => ({ conditions: [{ attribute, eq: { value } }] })

describe('denied', () => {
  test.each<[string, Record<string, unknown>[], unknown, string]>([
    ['without roles', [], undefined, 'no_labels'],
    ['by labels of servers', [{ allow: { app_labels: { '*': '*' } } }], undefined, 'no_labels'],
    ['by other labels', [{ allow: { workload_identity_labels: { env: 'dev' } } }], undefined, 'no_labels'],
    ['by denied labels', [GRANT, { deny: { workload_identity_labels: { '*': '*' } } }], undefined, 'deny_rule'],
    [
      'by a deny expression that cannot be told',
      [GRANT, { deny: { workload_identity_labels_expression: 'labels[' } }],
      undefined,
      'deny_rule',
    ],
    ['by a rule', [GRANT], { allow: [eq('join.gitlab.environment', 'dev')] }, 'no_workload_rule'],
    ['by an attribute that is not there', [GRANT], { allow: [eq('join.github.repository', 'acme/shop')] }, 'no_workload_rule'],
    [
      'by what is not not there',
      [GRANT],
      { allow: [{ conditions: [{ attribute: 'join.github.x', not_eq: { value: 'y' } }] }] },
      'no_workload_rule',
    ],
    [
      'by one of two conditions',
      [GRANT],
      {
        allow: [
          {
            conditions: [
              { attribute: 'user.name', eq: { value: 'bot-ci' } },
              { attribute: 'join.gitlab.environment', not_in: { values: ['prod'] } },
            ],
          },
        ],
      },
      'no_workload_rule',
    ],
    ['by an expression', [GRANT], { allow: [{ expression: 'join.gitlab.environment == "dev"' }] }, 'no_workload_rule'],
    ['by an expression over what is not there', [GRANT], { allow: [{ expression: 'join.github.actor != "eve"' }] }, 'no_workload_rule'],
    [
      'by a deny rule, whatever is allowed',
      [GRANT],
      { allow: [eq('user.name', 'bot-ci')], deny: [eq('join.gitlab.environment', 'prod')] },
      'no_workload_rule',
    ],
    ['by a deny rule that cannot be told', [GRANT], { deny: [{ expression: 'join.github.actor == "eve"' }] }, 'no_workload_rule'],
    [
      'by a deny rule over what is not there',
      [GRANT],
      { deny: [{ conditions: [{ attribute: 'join.github.actor', not_in: { values: ['bob'] } }] }] },
      'no_workload_rule',
    ],
  ])('%s', (_, specs, rules, kind) => {
    expect(decide(specs, rules)).toMatchObject({ allow: false, kind })
  })

  test('a person without the second factor that the role asks for, but no bot', () => {
    const specs = [{ ...GRANT, options: { require_session_mfa: true } }]
    expect(decide(specs, undefined, ana)).toMatchObject({ allow: false, kind: 'mfa_required' })
    expect(decide(specs)).toMatchObject({ allow: true })
  })
})

test.each<[string, unknown]>([
  ['labels alone', undefined],
  ['a condition', { allow: [eq('join.gitlab.project_path', 'acme/shop')] }],
  [
    'one of several rules',
    { allow: [eq('user.name', 'bot-x'), { conditions: [{ attribute: 'user.bot_name', in: { values: ['a', 'ci'] } }] }] },
  ],
  ['a truth as text', { allow: [eq('join.gitlab.protected', 'true')] }],
  ['a trait with one value', { allow: [eq('user.traits.team', 'core')] }],
  ['an expression', { allow: [{ expression: 'join.gitlab.environment == "prod" && "core" in user.traits.team && user.is_bot' }] }],
])('allowed by %s', (_, rules) => {
  expect(decide([GRANT], rules)).toEqual({ allow: true, by: 'r0' })
})

test('templates take attributes, and nothing else', () => {
  expect(fillTemplate('/{{user.bot_name}}/{{ join.gitlab.project_path }}', attributes)).toBe('/ci/acme/shop')
  expect(fillTemplates({ a: ['x-{{user.name}}', 1, null], b: { c: '{{join.meta.join_method}}' } }, attributes)).toEqual({
    a: ['x-bot-ci', 1, null],
    b: { c: 'gitlab' },
  })
  const kubernetes = workloadAttributes(bot, { method: 'kubernetes', token: 't', claims: { sub: 'system:serviceaccount:shop:web' } })
  expect(fillTemplate('{{join.kubernetes.service_account.namespace}}/{{join.kubernetes.service_account.name}}', kubernetes)).toBe(
    'shop/web',
  )
  for (const text of ['{{join.github.actor}}', '{{user.traits.many}}', '{{user.traits}}', '{{user.constructor}}'])
    expect(() => fillTemplate(text, attributes)).toThrow('which this workload does not have')
  for (const text of ['{{user}}', '{{secret.x}}', '{{user.name', 'user.name}}', '{{{{user.name}}}}', '{{strings.upper(user.name)}}'])
    expect(() => fillTemplate(text, attributes)).toThrow('is not a template')
})

test.each(['/a//b', '/a/../b', '/..', '/a/', '/a b', '/ü', '/a/.', '/a%2fb', '/a?b'])(
  '%s makes no SPIFFE ID, however it comes about',
  (path) => {
    const claims = { path: path.slice(1) }
    expect(() =>
      renderSpiffeId('example', workload({ id: '/{{join.gitlab.path}}' }), workloadAttributes(bot, { ...JOIN, claims })),
    ).toThrow('a SPIFFE ID has')
    expect(findWorkloadIdentityFaults(workload({ id: path }))).toEqual([expect.stringContaining('makes no SPIFFE ID')])
  },
)

test('what is filled in is not read as a template again', () => {
  const claims = { path: '{{user.name}}' }
  expect(() => renderSpiffeId('example', workload({ id: '/{{join.gitlab.path}}' }), workloadAttributes(bot, { ...JOIN, claims }))).toThrow(
    'a SPIFFE ID has',
  )
})

test('faults are told when it is saved', () => {
  const rules = { allow: [{ expression: 'user.name ==' }], deny: [{ expression: '"x"' }] }
  const faults = findWorkloadIdentityFaults(workload({ id: '/x/{{nobody.name}}', rules, jwt: { extra_claims: { a: ['{{trait}}'] } } }))
  expect(faults).toEqual([
    expect.stringContaining('"user.name ==" is not valid'),
    expect.stringContaining('not a condition'),
    expect.stringContaining('"{{nobody.name}}" names no attribute'),
    expect.stringContaining('"{{trait}}" names no attribute'),
  ])
  expect(findWorkloadIdentityFaults(workload())).toEqual([])
  expect(renderSpiffeId('example', workload(), attributes)).toBe('spiffe://example/svc/bot-ci')
})
