import { generateKeyPairSync } from 'node:crypto'
import { expect, test } from 'vitest'
import { parseResource } from './registry.ts'

const withKey = (key: unknown) => () =>
  parseResource('oauth_client', {
    kind: 'oauth_client',
    version: 'v1',
    metadata: { name: 'ci' },
    spec: { grant_types: ['client_credentials'], bot: 'ci', token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [key] } },
  })

test.each([
  ['a placeholder', { kty: 'EC', crv: 'P-256', x: '…', y: '…' }],
  ['a part of a key', { kty: 'EC', crv: 'P-256', x: 'AQAB' }],
  ['a key without its curve', { kty: 'OKP', x: 'AQAB' }],
  ['no type', { n: 'AQAB', e: 'AQAB' }],
])('%s is no key', (_, key) => {
  expect(withKey(key)).toThrow(/jwks.*is no key/)
})

test('keys of every type are taken', () => {
  for (const { publicKey } of [
    generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    generateKeyPairSync('ed25519'),
    generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ])
    expect(withKey(publicKey.export({ format: 'jwk' }))).not.toThrow()
})
