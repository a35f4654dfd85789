import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Identity } from '../resources/identity.ts'
import { lockSchema } from '../resources/lock.ts'
import { type Conditions, type Role, roleSchema } from '../resources/role.ts'
import { serverAccess } from './check.ts'
import { explainAccess, type Question } from './explain.ts'
import { compileRoles } from './role-set.ts'

const ana: Identity = {
  kind: 'user',
  name: 'ana',
  roles: ['a', 'b'],
  traits: {},
  credential: 'api_token',
  credentialId: 'tok',
  expiresAt: 0,
  mfaVerified: false,
}
const server = { name: 'files', labels: { env: 'prod' } }

function role(name: string, spec: Record<string, unknown>): Role {
  return roleSchema.parse({ kind: 'role', version: 'v8', metadata: { name }, spec })
}

function explain(roles: Role[], rest: Partial<Question> = {}) {
  return explainAccess({ roles, identity: ana, server, locks: [], now: 0, requireMfa: false, ...rest })
}

function shown(roles: Role[], rest: Partial<Question> = {}): string[] {
  return explain(roles, rest).steps.map((step) => `${step.subject} ${step.name} ${step.verdict}: ${step.detail}`)
}

const all = { app_labels: { '*': '*' } }

describe('explains', () => {
  test('a lock', () => {
    const lock = lockSchema.parse({
      kind: 'lock',
      version: 'v2',
      metadata: { name: 'l1' },
      spec: { target: { user: 'ana' }, message: 'gone' },
    })
    const explanation = explain([role('a', { allow: all })], { locks: [lock] })
    expect(explanation.decision).toEqual({
      allow: false,
      kind: 'lock',
      by: 'lock/l1',
      reason: 'lock targeting user:"ana" is in force: gone',
    })
    expect(explanation.steps[0]).toEqual({
      subject: 'lock',
      name: 'l1',
      verdict: 'denies',
      detail: 'lock targeting user:"ana" is in force: gone',
    })
  })

  test('why a method that the gateway does not know passes or not', () => {
    const roles = [role('a', { allow: { ...all, mcp: { methods: ['acme/*'] } } }), role('b', { deny: { mcp: { methods: ['acme/stop'] } } })]
    expect(explain(roles, { method: 'acme/stop' }).decision).toMatchObject({ allow: false, kind: 'deny_rule', by: 'b' })
    expect(shown(roles, { method: 'acme/stop' })).toContain('method b denies: deny: mcp.methods acme/stop: matches')
    expect(explain(roles, { method: 'acme/run' }).decision).toEqual({ allow: true, by: 'a' })
    expect(shown(roles, { method: 'acme/run' })).toContain('method a allows: allow: mcp.methods acme/*: matches')
    expect(explain(roles, { method: 'other/run' }).decision).toMatchObject({ allow: false, kind: 'unknown_method', by: null })
  })

  test('why a tool is denied, with the patterns', () => {
    const roles = [
      role('a', { allow: { app_labels: { env: 'dev' }, mcp: { tools: ['*'] } } }),
      role('b', { allow: { ...all, mcp: { tools: ['get_*'] } }, deny: { mcp: { tools: ['rm_*'] } } }),
    ]
    expect(shown(roles, { tool: 'rm_all' })).toEqual([
      'lock ana does not apply: none of 0 locks is in force for this identity',
      'tool b denies: deny: mcp.tools rm_*: matches',
      'label a does not apply: allow: app_labels {"env":"dev"} for a server with {"env":"prod"}: does not match',
      'tool a allows: allow: mcp.tools *: matches',
      'role a does not apply: grants nothing here: its label part does not match',
      'label b allows: allow: app_labels {"*":"*"} for a server with {"env":"prod"}: matches',
      'tool b does not apply: allow: mcp.tools get_*: does not match',
      'role b does not apply: grants nothing here: its tool part does not match',
    ])
  })

  test('argument rules and what is wrong in them', () => {
    const roles = [role('a', { allow: { ...all, mcp: { tools: ['*'], rules: [{ tools: ['*'], where: 'args.limit <= 10' }] } } })]
    expect(shown(roles, { tool: 'query', args: {} })).toContainEqual(
      expect.stringMatching(/^rule a does not apply: allow: where args\.limit <= 10: counts as not matching, because .*No such key: limit/),
    )
    expect(explain(roles, { tool: 'query', args: {} }).decision).toMatchObject({ kind: 'no_argument_rule' })
    expect(shown(roles, { tool: 'query', args: { limit: 1 } })).toContain('rule a allows: allow: where args.limit <= 10: matches')
  })

  test('scope and second factor', () => {
    const roles = [role('a', { options: { require_session_mfa: true }, allow: all })]
    expect(shown(roles, { identity: { ...ana, servers: ['x', 'y'] } })).toEqual(
      expect.arrayContaining([
        'scope tok denies: the token is limited to x, y',
        'mfa a denies: every session requires a second factor, which was not given',
        'mfa a denies: options.require_session_mfa: a second factor was not given',
      ]),
    )
  })
})

const patterns = ['get', 'put', '*', '^g.*$', '^($']
const rule = fc.record({
  tools: fc.constantFrom<string>('get', '*').map((pattern) => [pattern]),
  where: fc.constantFrom('true', 'true', 'args.n == 1', 'false', '1 +'),
})
const expression = fc.constantFrom('true', 'labels["env"] == "dev"', 'nope')
const open: Record<string, string> = { '*': '*' }
const closed: Record<string, string>[] = [{}, { env: 'prod' }, { env: 'dev' }, { env: '^($' }]

/** Mostly grants, so that what denies is put to the test. */
const allow: fc.Arbitrary<Conditions> = fc.record(
  {
    app_labels: fc.constantFrom(open, open, open, ...closed),
    app_labels_expression: fc.oneof({ weight: 3, arbitrary: fc.constant('true') }, expression),
    mcp: fc.record({ tools: fc.subarray(patterns), rules: fc.array(rule, { maxLength: 2 }) }),
  },
  { requiredKeys: ['mcp'] },
)
/** At most one thing of each sort. */
const deny: fc.Arbitrary<Conditions> = fc.record(
  {
    app_labels: fc.constantFrom(open, ...closed),
    app_labels_expression: expression,
    mcp: fc.record({ tools: fc.subarray(patterns, { maxLength: 1 }), rules: fc.array(rule, { maxLength: 1 }) }),
  },
  { requiredKeys: [] },
)
interface Spec {
  options: { require_session_mfa: boolean }
  allow: Conditions
  deny: Conditions
}
const roleSpec: fc.Arbitrary<Spec> = fc.record({
  options: fc.record({ require_session_mfa: fc.boolean() }),
  allow,
  deny: fc.oneof({ weight: 2, arbitrary: fc.constant<Conditions>({}) }, deny),
})
const question = fc.record({
  specs: fc.array(roleSpec, { maxLength: 3 }),
  tool: fc.constantFrom('get', 'put', ''),
  args: fc.constantFrom<{ n?: number } | undefined>(undefined, {}, { n: 1 }, { n: 2 }),
  mfaVerified: fc.boolean(),
  requireMfa: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, fc.constant(true)),
  servers: fc.constantFrom<string[] | undefined>(undefined, undefined, ['files'], ['other']),
})

test('the steps always add up to the decision, and that is the one of the check', () => {
  fc.assert(
    fc.property(question, ({ specs, tool, args, mfaVerified, requireMfa, servers }) => {
      const roles = specs.map((spec, at) => role(`r${at}`, { ...spec }))
      const identity: Identity = { ...ana, mfaVerified, ...(servers && { servers }) }
      const { decision, steps } = explain(roles, { identity, tool, args, requireMfa })
      const access = serverAccess(compileRoles(roles, identity), server, { mfaVerified, requireMfa })
      expect(decision).toEqual(args === undefined ? access.check('tool', tool) : access.check('tool', tool, args))
      const denied = steps.some((step) => step.verdict === 'denies')
      const granted = steps.some((step) => step.subject === 'role' && step.verdict === 'allows')
      expect(decision.allow).toBe(!denied && granted)
    }),
    { numRuns: 1000 },
  )
})

test('the check agrees with the rules written down naively', () => {
  fc.assert(
    fc.property(question, ({ specs, tool, args, mfaVerified, requireMfa, servers }) => {
      const roles = specs.map((spec, at) => role(`r${at}`, { ...spec }))
      const identity: Identity = { ...ana, mfaVerified, ...(servers && { servers }) }
      const access = serverAccess(compileRoles(roles, identity), server, { mfaVerified, requireMfa })
      const decision = args === undefined ? access.check('tool', tool) : access.check('tool', tool, args)
      expect(decision.allow).toBe(naive(specs, tool, args, mfaVerified, requireMfa, servers))
    }),
    { numRuns: 2000 },
  )
})

type Truth = boolean | 'error'

/** Every text the generators know, looked up in a table: true, false or an error, for a server with env=prod. */
function truthOf(text: string, tool: string, args: { n?: number } | undefined): Truth {
  const table: Record<string, Truth> = {
    true: true,
    false: false,
    nope: 'error',
    '1 +': 'error',
    'labels["env"] == "dev"': false,
    'args.n == 1': args?.n === undefined ? 'error' : args.n === 1,
    '*': true,
    get: tool === 'get',
    put: tool === 'put',
    '^g.*$': tool === 'get',
    '^($': 'error',
  }
  return table[text] ?? 'error'
}

function naive(
  specs: Spec[],
  tool: string,
  args: { n?: number } | undefined,
  mfa: boolean,
  requireMfa: boolean,
  servers: string[] | undefined,
): boolean {
  if (servers && !servers.includes('files')) return false
  const strict = (spec: Spec) => spec.options.require_session_mfa
  if (!mfa && (requireMfa || (specs.length > 0 && specs.every(strict)))) return false
  const truth = (text: string) => truthOf(text, tool, args)
  const labels = (part: Conditions): Truth | undefined => {
    const [key, value] = Object.entries(part.app_labels ?? {})[0] ?? []
    if (key === undefined || value === undefined) return undefined
    return key === '*' || value === 'prod' || (value === '^($' ? 'error' : false)
  }
  const expression = (part: Conditions) => (part.app_labels_expression === undefined ? undefined : truth(part.app_labels_expression))
  const rulesOf = (part: Conditions) =>
    (args === undefined ? [] : (part.mcp?.rules ?? [])).filter((rule) => rule.tools.some((text) => truth(text) === true))

  for (const { deny } of specs) {
    const heard: (Truth | undefined)[] = [
      labels(deny),
      expression(deny),
      ...(deny.mcp?.tools ?? []).map(truth),
      ...rulesOf(deny).map((rule) => truth(rule.where)),
    ]
    if (heard.some((verdict) => verdict === true || verdict === 'error')) return false
  }
  const granting = specs.filter(({ allow }) => {
    const server = [labels(allow), expression(allow)].filter((verdict) => verdict !== undefined)
    return (
      server.length > 0 &&
      server.every((verdict) => verdict === true) &&
      (allow.mcp?.tools ?? []).some((text) => truth(text) === true) &&
      rulesOf(allow).every((rule) => truth(rule.where) === true)
    )
  })
  return granting.length > 0 && (mfa || !granting.some(strict))
}
