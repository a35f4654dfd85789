import { describe, expect, test } from 'vitest'
import type { Identity } from '../resources/identity.ts'
import { roleSchema, type Verb } from '../resources/role.ts'
import { checkVerb } from './check.ts'
import { compileRoles } from './role-set.ts'

interface RuleText {
  resources: string[]
  verbs: string[]
  where?: string
}

const ana: Identity = {
  kind: 'user',
  name: 'ana',
  roles: ['r'],
  traits: { team: ['a'] },
  credential: 'certificate',
  credentialId: '1',
  expiresAt: 0,
  mfaVerified: false,
}

function setOf(allow: RuleText[], deny: RuleText[] = [], identity: Partial<Identity> = {}) {
  const spec = { allow: { rules: allow }, deny: { rules: deny } }
  return compileRoles([roleSchema.parse({ kind: 'role', version: 'v8', metadata: { name: 'r' }, spec })], { ...ana, ...identity })
}

function app(name: string, labels: Record<string, string>) {
  return { kind: 'app', version: 'v3', metadata: { name, labels }, spec: {} }
}

const everything = { resources: ['*'], verbs: ['*'] }
const ofTeam = {
  resources: ['app'],
  verbs: ['list', 'read'],
  where: 'contains(user.spec.traits["team"], resource.metadata.labels["team"])',
}

describe('denied', () => {
  test.each<[string, RuleText[], RuleText[], string, Verb]>([
    ['without rules', [], [], 'role', 'read'],
    ['another kind', [{ resources: ['role'], verbs: ['*'] }], [], 'user', 'read'],
    ['another verb', [{ resources: ['role'], verbs: ['read'] }], [], 'role', 'update'],
    ['reading secrets with readnosecrets', [{ resources: ['user'], verbs: ['readnosecrets'] }], [], 'user', 'read'],
    ['by deny, though allowed', [everything], [{ resources: ['role'], verbs: ['update'] }], 'role', 'update'],
    ['by a deny of all', [everything], [everything], 'role', 'update'],
    ['readnosecrets by a deny of read', [everything], [{ resources: ['user'], verbs: ['read'] }], 'user', 'readnosecrets'],
    ['read by a deny of readnosecrets', [everything], [{ resources: ['user'], verbs: ['readnosecrets'] }], 'user', 'read'],
    ['by a where that cannot be evaluated', [{ ...everything, where: 'nope' }], [], 'role', 'read'],
    ['by a deny with a where that cannot be evaluated', [everything], [{ ...everything, where: 'nope' }], 'role', 'read'],
    ['by a where about a resource that is not given', [ofTeam], [], 'app', 'list'],
  ])('%s', (_name, allow, deny, kind, verb) => {
    expect(checkVerb(setOf(allow, deny), kind, verb)).toMatchObject({
      allow: false,
      reason: `access denied to perform action "${verb}" on "${kind}"`,
    })
  })

  test('to a token that is limited to servers', () => {
    expect(checkVerb(setOf([everything], [], { servers: ['files'] }), 'role', 'read')).toMatchObject({ kind: 'token_scope' })
  })

  test('to a user who merely bears the name of a system role', () => {
    expect(checkVerb(setOf([], [], { roles: ['Admin'] }), 'role', 'read')).toMatchObject({ kind: 'no_role' })
  })

  test('where says which resources', () => {
    expect(checkVerb(setOf([ofTeam]), 'app', 'read', app('x', { team: 'b' })).allow).toBe(false)
    expect(checkVerb(setOf([ofTeam]), 'app', 'read', app('x', {})).allow).toBe(false)
    expect(checkVerb(setOf([everything], [ofTeam]), 'app', 'read', app('x', { team: 'a' }))).toMatchObject({ kind: 'deny_rule', by: 'r' })
  })
})

describe('allowed', () => {
  test.each<[string, RuleText[], string, Verb]>([
    ['kind and verb', [{ resources: ['user', 'role'], verbs: ['list', 'read'] }], 'role', 'read'],
    ['any kind', [{ resources: ['*'], verbs: ['read'] }], 'role', 'read'],
    ['any verb', [{ resources: ['role'], verbs: ['*'] }], 'role', 'delete'],
    ['readnosecrets by read', [{ resources: ['user'], verbs: ['read'] }], 'user', 'readnosecrets'],
  ])('%s', (_name, allow, kind, verb) => {
    expect(checkVerb(setOf(allow), kind, verb)).toEqual({ allow: true, by: 'r' })
  })

  test('where says which resources', () => {
    expect(checkVerb(setOf([ofTeam]), 'app', 'read', app('x', { team: 'a' }))).toEqual({ allow: true, by: 'r' })
    expect(checkVerb(setOf([everything], [ofTeam]), 'app', 'read', app('x', { team: 'b' })).allow).toBe(true)
  })
})

describe('services', () => {
  test.each<[string, string, Verb, boolean]>([
    ['App', 'user', 'read', false],
    ['App', 'role', 'update', false],
    ['App', 'token', 'list', false],
    ['App', 'lock', 'create', false],
    ['Proxy', 'app_server', 'create', false],
    ['Proxy', 'role', 'read', false],
    ['Proxy', 'user', 'readnosecrets', false],
    ['Bot', 'role', 'read', false],
    ['constructor', 'role', 'read', false],
    ['App', 'user', 'readnosecrets', true],
    ['App', 'role', 'read', true],
    ['App', 'cluster_auth_preference', 'read', true],
    ['App', 'app_server', 'update', true],
    ['App', 'event', 'create', true],
    ['Proxy', 'lock', 'list', true],
    ['Proxy', 'app_server', 'read', true],
    ['Admin', 'cert_authority', 'rotate', true],
  ])('%s on %s: %s', (systemRole, kind, verb, allow) => {
    const set = compileRoles([], { ...ana, kind: 'host', roles: [systemRole] })
    expect(checkVerb(set, kind, verb).allow).toBe(allow)
  })
})
