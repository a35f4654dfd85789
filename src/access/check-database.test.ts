import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ana, role } from './check.fixture.ts'
import { checkDatabase, databasePatterns } from './check-database.ts'
import { serverAccess } from './check.ts'
import { compileRoles } from './role-set.ts'

const server = { name: 'db:orders', labels: { env: 'prod' }, kind: 'db' as const }
const session = { user: 'reader', name: 'shop' }
const full = { db_labels: { env: 'prod' }, db_users: ['reader'], db_names: ['shop'] }
const facts = { mfaVerified: false, requireMfa: false }

type Spec = Record<string, unknown>

function decide(specs: Spec[], { identity = {}, as = session } = {}) {
  return checkDatabase(
    compileRoles(
      specs.map((spec, index) => role(`r${index}`, spec)),
      { ...ana, ...identity },
    ),
    server,
    as,
    facts,
  )
}

describe('denied', () => {
  test.each<[string, Spec[], string]>([
    ['without roles', [], 'no_role'],
    ['by labels of apps', [{ allow: { ...full, db_labels: undefined, app_labels: { '*': '*' } } }], 'no_labels'],
    ['by other labels', [{ allow: { ...full, db_labels: { env: 'dev' } } }], 'no_labels'],
    ['by an expression that cannot be evaluated', [{ allow: { ...full, db_labels_expression: 'labels[' } }], 'no_labels'],
    ['without users', [{ allow: { ...full, db_users: undefined } }], 'no_db_user'],
    ['without names', [{ allow: { ...full, db_names: [] } }], 'no_db_name'],
    [
      'by a user of one role and a name of another',
      [{ allow: { ...full, db_names: ['x'] } }, { allow: { ...full, db_users: ['x'] } }],
      'no_db_name',
    ],
    [
      'by a user that only a role with other labels lists',
      [{ allow: { ...full, db_users: [] } }, { allow: { ...full, db_labels: { env: 'dev' } } }],
      'no_db_user',
    ],
    ['by denied labels', [{ allow: full, deny: { db_labels: { env: '*' } } }], 'deny_rule'],
    ['by a denied user of another role', [{ allow: full }, { deny: { db_users: ['read*'] } }], 'deny_rule'],
    ['by a denied name', [{ allow: full, deny: { db_names: ['shop'] } }], 'deny_rule'],
    ['by a bad pattern in deny', [{ allow: full, deny: { db_users: ['^($'] } }], 'deny_rule'],
    ['by a template without a value', [{ allow: { ...full, db_users: ['{{internal.db_users}}'] } }], 'no_db_user'],
    ['without a second factor', [{ allow: full, options: { require_session_mfa: true } }], 'mfa_required'],
  ])('%s', (_name, specs, kind) => {
    expect(decide(specs)).toMatchObject({ allow: false, kind })
  })

  test('by the scope of a token', () => {
    expect(decide([{ allow: full }], { identity: { servers: ['files'] } })).toMatchObject({ kind: 'token_scope' })
  })

  test('in spite of a deny rule, whatever else the roles allow', () => {
    const words = fc.constantFrom('reader', 'shop', '*', 'x', '^read.*$', '{{external.team}}')
    const conditions = fc
      .record({ db_users: fc.array(words), db_names: fc.array(words) })
      .map((some) => ({ ...some, db_labels: { '*': '*' } }))
    fc.assert(
      fc.property(
        fc.array(conditions),
        fc.constantFrom({ db_users: ['reader'] }, { db_names: ['^sho.$'] }, { db_labels: { env: 'prod' } }),
        (allows, deny) => {
          expect(decide([...allows.map((allow) => ({ allow })), { deny }])).toMatchObject({ allow: false })
        },
      ),
    )
  })
})

test('is allowed by one role with labels, user and name', () => {
  expect(decide([{ allow: {} }, { allow: full }])).toEqual({ allow: true, by: 'r1' })
  expect(decide([{ allow: { ...full, db_users: ['*'], db_names: ['^sh(op|ed)$'] } }])).toMatchObject({ allow: true })
  const traits = { db_users: ['reader'], database: ['shop'] }
  const templates = { db_labels: { '*': '*' }, db_users: ['{{internal.db_users}}'], db_names: ['{{external.database}}'] }
  expect(decide([{ allow: templates }], { identity: { traits } })).toMatchObject({ allow: true })
})

test('what roles say of tools of apps opens no tool of a database, and closes one', () => {
  const of = (spec: Spec) => serverAccess(compileRoles([role('a', spec)], ana), server, facts)
  expect(of({ allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } }).check('tool', 'teleport_postgres_query').allow).toBe(false)
  expect(of({ allow: full }).check('tool', 'teleport_postgres_query').allow).toBe(true)
  expect(of({ allow: full, deny: { mcp: { tools: ['*query'] } } }).check('tool', 'teleport_postgres_query').allow).toBe(false)
  expect(of({ allow: full }).check('method', 'acme/x').allow).toBe(false)
  expect(of({ allow: full }).allowedTools()).toEqual({ allowed: ['*'], denied: [] })
})

test('lists what roles that reach the database list', () => {
  const set = compileRoles(
    [role('a', { allow: full }), role('b', { allow: { ...full, db_labels: { env: 'dev' } }, deny: { db_users: ['x'] } })],
    ana,
  )
  expect(databasePatterns(set, server)).toEqual({ users: { allowed: ['reader'], denied: ['x'] }, names: { allowed: ['shop'], denied: [] } })
})
