import { expect, test } from 'vitest'
import { checkClaimMappings, rolesOfClaims, rolesOfTeams } from './connector-roles.ts'

test('nothing that is not said gives a role', () => {
  const mappings = [{ claim: 'groups', value: 'admins', roles: ['editor'] }]
  expect(rolesOfClaims(mappings, {})).toEqual([])
  expect(rolesOfClaims(mappings, { groups: ['admins2', 'Admins', 'xadmins', ''] })).toEqual([])
  expect(rolesOfClaims(mappings, { Groups: ['admins'] })).toEqual([])
  expect(rolesOfClaims([{ claim: 'constructor', value: '*', roles: ['editor'] }], {})).toEqual([])
  expect(rolesOfClaims([{ claim: 'groups', value: '^admins$', roles: ['editor'] }], { groups: ['admins\n', 'x-admins'] })).toEqual([])
})

test('literals, globs and regular expressions give their roles once', () => {
  const claims = { groups: ['admins', 'team-red', 'team-blue'], email: ['ana@example.com'] }
  expect(rolesOfClaims([{ claim: 'groups', value: 'admins', roles: ['editor', 'access'] }], claims)).toEqual(['editor', 'access'])
  expect(rolesOfClaims([{ claim: 'groups', value: 'team-*', roles: ['dev'] }], claims)).toEqual(['dev'])
  expect(rolesOfClaims([{ claim: 'email', value: '*@example.com', roles: ['staff'] }], claims)).toEqual(['staff'])
  expect(rolesOfClaims([{ claim: 'groups', value: '^team-(red|green)$', roles: ['warm'] }], claims)).toEqual(['warm'])
})

test('groups of a value stand in the names of roles', () => {
  const claims = { groups: ['team-red', 'team-blue', 'a.b-x'] }
  expect(
    rolesOfClaims([{ claim: 'groups', value: '^team-(?P<colour>[a-z]+)$', roles: ['dev-$1', 'ops-${colour}', 'dev'] }], claims),
  ).toEqual(['dev-red', 'ops-red', 'dev', 'dev-blue', 'ops-blue'])
  expect(rolesOfClaims([{ claim: 'groups', value: 'a.b-*', roles: ['role-$1'] }], claims)).toEqual(['role-x'])
  expect(rolesOfClaims([{ claim: 'groups', value: 'team-*', roles: ['$2'] }], claims)).toEqual([])
})

test('a value that is no pattern is named', () => {
  expect(() => checkClaimMappings([{ claim: 'groups', value: '^(?=x)$', roles: ['dev'] }])).toThrow(/not a regular expression/)
})

test('a team counts in its own organization only', () => {
  const mappings = [
    { organization: 'acme', team: 'platform', roles: ['editor'] },
    { organization: 'acme', team: '*', roles: ['access'] },
  ]
  expect(rolesOfTeams(mappings, [{ organization: 'evil', team: 'platform' }])).toEqual([])
  expect(rolesOfTeams(mappings, [])).toEqual([])
  expect(rolesOfTeams(mappings, [{ organization: 'Acme', team: 'Platform' }])).toEqual(['editor', 'access'])
  expect(rolesOfTeams(mappings, [{ organization: 'acme', team: 'web' }])).toEqual(['access'])
})
