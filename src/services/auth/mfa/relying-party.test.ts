import { expect, test } from 'vitest'
import { createLiveResources } from '../live-resources.ts'
import { silentLogger } from '../../../lib/log.ts'
import { parseResource } from '../../../resources/registry.ts'
import { checkRelyingParty, findPasskeyOrigin, findRelyingParty, isUsableAt } from './relying-party.ts'

function preference(spec: object) {
  const metadata = { name: 'cluster-auth-preference' }
  return parseResource('cluster_auth_preference', { kind: 'cluster_auth_preference', version: 'v2', metadata, spec })
}

function cluster(publicAddress: string, { rp_id, others = [] }: { rp_id?: string; others?: string[] } = {}) {
  const live = createLiveResources(silentLogger)
  const spec = rp_id === undefined ? {} : { webauthn: { rp_id } }
  live.put('cluster_auth_preference', preference(spec))
  return { live, publicAddress: () => publicAddress, otherAddresses: others }
}

test('there are no passkeys for an address, and none off the domain', () => {
  expect(findRelyingParty(cluster('192.0.2.1:443'), '192.0.2.1')).toBeUndefined()
  expect(findRelyingParty(cluster('[2001:db8::1]:443'), '[2001:db8::1]:443')).toBeUndefined()
  const party = findRelyingParty(cluster('door.example.com:443', { others: ['other.example.org'] }), 'evil.example.com')
  expect(party).toEqual({ id: 'door.example.com', origins: ['https://door.example.com'] })
  expect(party && ['evil.example.com', 'example.com', 'xdoor.example.com', '', undefined].map((host) => isUsableAt(party, host))).toEqual([
    false,
    false,
    false,
    false,
    false,
  ])
})

test.each<[string, object, string]>([
  [
    'door.example.com:443',
    { webauthn: { rp_id: 'example.org' } },
    'must be the host of the proxy (door.example.com:443) or a domain above it',
  ],
  ['door.example.com:443', { webauthn: { rp_id: 'inner.door.example.com' } }, 'or a domain above it'],
  ['192.0.2.1:443', { second_factor: 'webauthn' }, 'browsers keep no passkeys for 192.0.2.1:443'],
])('at %s a preference %j is refused', (address, spec, message) => {
  expect(() => checkRelyingParty(cluster(address), preference(spec))).toThrow(message)
})

test('what browsers can do is taken', () => {
  checkRelyingParty(cluster('door.example.com:443'), preference({ webauthn: { rp_id: 'example.com' }, second_factor: 'webauthn' }))
  checkRelyingParty(cluster('127.0.0.1:3080'), preference({ webauthn: { rp_id: 'localhost' }, second_factor: 'webauthn' }))
  checkRelyingParty(cluster('192.0.2.1:443'), preference({ second_factor: 'on' }))
})

test('the domain is that of the public address, or what the cluster says; pages of hosts below it count', () => {
  const wide = cluster('door.example.com:3080', { rp_id: 'example.com', others: ['back.example.com', 'other.example.org'] })
  expect(findRelyingParty(wide, 'door.example.com:3080')).toEqual({
    id: 'example.com',
    origins: ['https://door.example.com:3080', 'https://back.example.com'],
  })
  expect(findPasskeyOrigin(wide, '192.0.2.1')).toBe('https://door.example.com:3080')
})

test('an address of this machine alone stands for localhost', () => {
  const local = cluster('127.0.0.1:3080')
  expect(findRelyingParty(local, 'localhost:3080')).toEqual({
    id: 'localhost',
    origins: ['http://localhost:3080', 'https://localhost:3080'],
  })
  expect(findRelyingParty(local, '127.0.0.1:3080')).toEqual({ id: 'localhost', origins: [] })
  expect(findPasskeyOrigin(local, '127.0.0.1:3080')).toBe('http://localhost:3080')
})
