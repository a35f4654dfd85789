import { expect, test } from 'vitest'
import { FakeCluster } from './bot.fixture.ts'
import { createMemoryDestination } from './memory-destination.ts'
import { createTokenService } from './token-service.ts'

const config = {
  type: 'oauth-token' as const,
  name: 'token',
  audience: 'https://proxy.example/mcp',
  destination: { type: 'memory' as const },
  ttlMs: 600_000,
  intervalMs: 60_000,
}
const own = {
  identity: { privateKeyPem: '', certificatePem: '', authorityPems: [] },
  clusterName: 'test',
  expiresAt: 0,
  hostAuthorities: [],
  userAuthorities: [],
  name: 'bot-example',
  renewable: true,
}

test('a cluster without an issuer is refused', () => {
  const cluster = FakeCluster.create(Date.now, Date.now())
  expect(() => createTokenService(config, { cluster, destination: createMemoryDestination() })).toThrow(
    'this version issues no access tokens',
  )
})

test('the token is for one audience, and stands in a file', async () => {
  const asked: unknown[] = []
  const issueToken = async (_own: unknown, wanted: unknown) => {
    asked.push(wanted)
    return { token: 'ey.fresh', expiresAt: 5 }
  }
  const destination = createMemoryDestination()
  const cluster = Object.assign(FakeCluster.create(Date.now, Date.now()), { issueToken })
  expect(await createTokenService(config, { cluster, destination }).renew(own)).toEqual({ expiresAt: 5 })
  expect(await destination.read('token')).toBe('ey.fresh')
  expect(asked).toEqual([{ audience: 'https://proxy.example/mcp', roles: undefined, ttlSeconds: 600 }])
})
