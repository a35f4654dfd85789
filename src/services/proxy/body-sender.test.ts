import { generateKeyPairSync } from 'node:crypto'
import { Socket } from 'node:net'
import { expect, test } from 'vitest'
import { issueAssertion } from '../../ca/assertion.ts'
import { senderByAssertion, senderByCertificate, senderByOwner } from './body-sender.ts'

test('whoever proves nothing has one share with all others like it', () => {
  expect(senderByCertificate(new Socket())).toBe('strangers')
  expect(['a.b.c', 'x', undefined].map((assertion) => senderByAssertion(assertion))).toEqual(['strangers', 'strangers', 'strangers'])
  expect(senderByOwner(undefined)).toBe('strangers')
})

test('a caller is the same by all tokens, at single endpoints and at the one URL', async () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const identity = {
    kind: 'user' as const,
    name: 'ana',
    roles: ['dev'],
    traits: {},
    credential: 'api_token' as const,
    credentialId: 'T1',
    expiresAt: 4_000_000_000_000,
    mfaVerified: false,
  }
  const now = Date.parse('2027-01-01T00:00:00Z')
  const assertion = await issueAssertion({ kid: 'k', privateKey }, { clusterName: 'c', server: 'tools', identity }, { now, ttlMs: 60_000 })
  expect(senderByAssertion(assertion)).toBe('user:ana')
  expect([senderByOwner('user:ana'), senderByOwner('user:ana:T1'), senderByOwner('user:ana:all:T2')]).toEqual([
    'user:ana',
    'user:ana',
    'user:ana',
  ])
})
