import { describe, expect, test } from 'vitest'
import type { Identity } from '../resources/identity.ts'
import { lockSchema } from '../resources/lock.ts'
import { findLock, lockReason } from './locks.ts'

const NOW = Date.parse('2027-01-01T00:00:00Z')
const bot: Identity = {
  kind: 'bot',
  name: 'bot-ci',
  roles: ['dev'],
  traits: {},
  credential: 'certificate',
  credentialId: '1',
  expiresAt: 0,
  mfaVerified: false,
  botInstanceId: 'i1',
  joinToken: 't1',
  accessRequests: ['q1'],
}
const facts = { serverId: 'h1', logins: ['www'] }

function lock(target: Record<string, string>, rest: Record<string, string> = {}) {
  return lockSchema.parse({ kind: 'lock', version: 'v2', metadata: { name: 'l' }, spec: { target, ...rest } })
}

describe('hits', () => {
  test.each<Record<string, string>>([
    { user: 'bot-ci' },
    { role: 'dev' },
    { login: 'www' },
    { access_request: 'q1' },
    { server_id: 'h1' },
    { bot_instance_id: 'i1' },
    { join_token: 't1' },
    { user: 'bot-ci', server_id: 'h1' },
  ])('%j', (target) => {
    expect(findLock([lock({ user: 'other' }), lock(target)], bot, NOW, facts)?.spec.target).toEqual(target)
  })

  test('until it expires', () => {
    expect(findLock([lock({ role: 'dev' }, { expires: '2027-01-01T00:00:01Z' })], bot, NOW)).toBeDefined()
    expect(findLock([lock({ role: 'dev' }, { expires: '2027-01-01T00:00:00Z' })], bot, NOW)).toBeUndefined()
    expect(findLock([lock({ role: 'dev' }, { expires: '2026-12-31T20:00:00-05:00' })], bot, NOW)).toBeDefined()
  })

  test('an agent by its host id', () => {
    const host: Identity = { ...bot, kind: 'host', name: 'h7', roles: ['App'] }
    expect(findLock([lock({ server_id: 'h7' })], host, NOW)).toBeDefined()
    expect(findLock([lock({ user: 'h7' })], host, NOW)).toBeUndefined()
  })
})

describe('does not hit', () => {
  test.each<Record<string, string>>([
    { user: 'ci' },
    { role: 'Dev' },
    { login: 'root' },
    { access_request: 'q2' },
    { server_id: 'bot-ci' },
    { bot_instance_id: 't1' },
    { join_token: 'i1' },
    { device: 'bot-ci' },
    { user: 'bot-ci', server_id: 'h2' },
    { user: 'bot-ci', mfa_device: 'x' },
  ])('%j', (target) => {
    expect(findLock([lock(target)], bot, NOW, facts)).toBeUndefined()
  })

  test('what is not known of the connection', () => {
    expect(findLock([lock({ server_id: 'h1' }), lock({ login: 'www' })], bot, NOW)).toBeUndefined()
  })
})

test('the reason names targets and message', () => {
  expect(lockReason(lock({ user: 'ana' }, { message: 'laptop lost' }))).toBe('lock targeting user:"ana" is in force: laptop lost')
  expect(lockReason(lock({ role: 'dev', user: 'ana' }))).toBe('lock targeting user:"ana", role:"dev" is in force')
})
