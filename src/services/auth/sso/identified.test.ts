import { expect, test } from 'vitest'
import { parseResource } from '../../../resources/registry.ts'
import { describeClaims, identify } from './identified.ts'

function connector(spec: Record<string, unknown> = {}) {
  const claims_to_roles = [{ claim: 'groups', value: 'dev', roles: ['dev'] }]
  return parseResource('oidc', {
    kind: 'oidc',
    version: 'v3',
    metadata: { name: 'corp' },
    spec: { issuer_url: 'https://idp.example.com', client_id: 'c', claims_to_roles, ...spec },
  })
}

const ANA = { sub: '1', email: 'ana@example.com', email_verified: true }

test.each([
  ['no name', { sub: '1', groups: ['dev'] }, 'does not send the claim "email"'],
  ['a name that is no text', { ...ANA, email: ['ana@example.com'] }, 'does not send the claim "email"'],
  ['an unverified email', { ...ANA, email_verified: 'false' }, 'is verified'],
  ['a long value', { ...ANA, note: 'x'.repeat(1025) }, 'at the claim "note"'],
  ['many claims', { ...ANA, ...Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`c${n}`, 'x'])) }, 'more of you than can be kept'],
  ['much in all', { ...ANA, groups: Array.from({ length: 999 }, (_, n) => `${n}-${'x'.repeat(40)}`) }, 'more of you than can be kept'],
])('%s is refused', (_, claims, message) => {
  expect(() => identify(connector(), claims)).toThrow(message)
})

test('texts and lists of texts are traits; what is of the protocol is not', () => {
  const claims = JSON.parse(
    '{"sub":"1","iss":"i","aud":"a","exp":1,"email":"ana@example.com","email_verified":"true","groups":["dev",1,null,"dev",""],"n":1,"o":{"a":"b"},"__proto__":["x"],"constructor":"c"}',
  )
  const { traits, roles, user, identity } = identify(connector(), claims)
  expect({ user, identity, roles }).toEqual({ user: 'ana@example.com', identity: '1', roles: ['dev'] })
  expect(Object.entries(traits)).toEqual([
    ['email', ['ana@example.com']],
    ['groups', ['dev']],
    ['constructor', ['c']],
  ])
})

test('a second factor counts where the provider says that there was more than one', () => {
  expect(identify(connector(), { ...ANA, amr: ['pwd', 'otp'] }).mfaVerified).toBe(false)
  expect(identify(connector(), { ...ANA, amr: 'mfa' }).mfaVerified).toBe(false)
  expect(identify(connector(), { ...ANA, amr: ['pwd', 'mfa'] }).mfaVerified).toBe(true)
})

test('names of claims are told within bounds', () => {
  expect(describeClaims([])).toBe('It sent no claims of yours.')
  expect(describeClaims(Array.from({ length: 32 }, (_, n) => `c${n}`))).toMatch(/c29 and 2 more\.$/)
})
