import { describe, expect, test } from 'vitest'
import { clusterAuthPreferenceSchema } from '../resources/cluster-auth-preference.ts'
import { roleSchema } from '../resources/role.ts'
import { clientIdleTimeoutMs, disconnectExpired, maxSessionTtlMs } from './session-limits.ts'

const HOUR = 3_600_000

function role(options: Record<string, unknown>) {
  return roleSchema.parse({ kind: 'role', version: 'v8', metadata: { name: 'r' }, spec: { options } })
}

function cap(spec: Record<string, unknown>) {
  return clusterAuthPreferenceSchema.parse({
    kind: 'cluster_auth_preference',
    version: 'v2',
    metadata: { name: 'cluster-auth-preference' },
    spec,
  })
}

describe('max_session_ttl', () => {
  test.each<[(string | undefined)[], number, number]>([
    [[], 0, 12],
    [[], 100, 12],
    [[], 2, 2],
    [['1h', '8h'], 0, 1],
    [['1h', '8h'], 4, 1],
    [['8h', '0', undefined], 0, 8],
    [['0'], 100, 12],
    [['30h'], 24, 24],
    [['30h'], 0, 12],
  ])('roles %j, %d hours wanted, cluster 12h: %d hours', (ttls, wanted, hours) => {
    const roles = ttls.map((ttl) => role(ttl === undefined ? {} : { max_session_ttl: ttl }))
    expect(maxSessionTtlMs(roles, wanted * HOUR, 12 * HOUR)).toBe(hours * HOUR)
  })
})

test('client_idle_timeout: the shortest that is set', () => {
  expect(clientIdleTimeoutMs([])).toBe(0)
  expect(clientIdleTimeoutMs([role({}), role({ client_idle_timeout: '0' })])).toBe(0)
  expect(clientIdleTimeoutMs([role({ client_idle_timeout: '30m' }), role({ client_idle_timeout: '1h' }), role({})])).toBe(1_800_000)
})

test('disconnect_expired_cert: one is enough', () => {
  expect(disconnectExpired([role({}), role({ disconnect_expired_cert: false })], cap({}))).toBe(false)
  expect(disconnectExpired([role({}), role({ disconnect_expired_cert: true })], cap({}))).toBe(true)
  expect(disconnectExpired([role({})], cap({ disconnect_expired_cert: true }))).toBe(true)
})
