import { generateKeyPairSync } from 'node:crypto'
import { beforeEach, expect, test } from 'vitest'
import { createFeed, type FakeFeed } from '../../../test/fakes/feed.ts'
import { issueAssertion, type VerificationKey } from '../../ca/assertion.ts'
import { appSchema } from '../../resources/app.ts'
import type { Identity } from '../../resources/identity.ts'
import { Callers, Outdated } from './callers.ts'

// What an agent goes by when the Auth Service is on another machine, with a clock of its own and a connection that breaks.

const START = Date.parse('2027-01-01T00:00:00Z')
const MINUTE = 60_000
const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const app = appSchema.parse({
  kind: 'app',
  version: 'v3',
  metadata: { name: 'tools', labels: { env: 'test' } },
  spec: { uri: 'mcp+http://127.0.0.1:1' },
})
const ANA: Identity = {
  kind: 'user',
  name: 'ana',
  roles: ['dev'],
  traits: {},
  credential: 'api_token',
  credentialId: 'T1',
  expiresAt: START + 24 * 3_600_000,
  mfaVerified: false,
}

let now: number
let staleMs: number
let knownSince: number
let keys: VerificationKey[]
let refreshed: number
let feed: FakeFeed
let callers: Callers

beforeEach(() => {
  ;[now, staleMs, knownSince, refreshed] = [START, 0, START - MINUTE, 0]
  keys = [{ kid: 'k', publicKey: pair.publicKey }]
  feed = createFeed()
  saveRole({})
  feed.put('user', { version: 'v2', metadata: { name: 'ana' }, spec: { roles: ['dev'] } })
  callers = new Callers({
    clusterName: 'c',
    hostId: 'agent-1',
    keys: () => keys,
    refreshKeys: async () => {
      refreshed += 1
      keys = [...keys, { kid: 'new', publicKey: pair.publicKey }]
    },
    knownSince: () => knownSince,
    staleMs: () => staleMs,
    feed,
    now: () => now,
  })
})

function saveRole(options: Record<string, unknown>): void {
  feed.put('role', {
    version: 'v8',
    metadata: { name: 'dev' },
    spec: { options, allow: { app_labels: { env: 'test' }, mcp: { tools: ['echo'] } } },
  })
}

function issue(issuedAt = now, kid = 'k'): Promise<string> {
  const signer = { kid, privateKey: pair.privateKey }
  return issueAssertion(signer, { clusterName: 'c', server: 'tools', identity: ANA }, { now: issuedAt, ttlMs: 300_000 })
}

const verify = async (assertion: string) => callers.verify(assertion, app)

test('what was issued before anything is known is refused', async () => {
  const old = await issue(knownSince - 1)
  await expect(verify(old)).rejects.toMatchObject({ code: 'unauthenticated' })
  const fine = await issue(knownSince)
  await expect(verify(fine)).resolves.toBeDefined()
  knownSince += 2 * MINUTE
  await expect(verify(fine)).rejects.toMatchObject({ code: 'unauthenticated' })
})

test('an assertion from before a restart or change is outdated where a new one would be good, and else a refusal', async () => {
  const known = await issue()
  await verify(known)
  knownSince = START + 1
  await expect(verify(known)).rejects.toMatchObject({ details: { outdated: true }, identity: { name: 'ana' } })
  feed.put('user', { version: 'v2', metadata: { name: 'ana' }, spec: { roles: [] } })
  await expect(verify(known)).rejects.toSatisfy((error) => !(error instanceof Outdated))
  feed.put('user', { version: 'v2', metadata: { name: 'ana' }, spec: { roles: ['dev'] } })
  callers.apply({ type: 'revoked', kind: 'api_token', name: 'T1', at: START })
  await expect(verify(known)).rejects.toSatisfy((error) => !(error instanceof Outdated))
})

test('a change counts from the moment that the Auth Service says, whenever it comes', async () => {
  const before = await issue(START - 20)
  const after = await issue(START - 10)
  now += 500
  callers.apply({ type: 'put', kind: 'user', name: 'ana', at: START - 15 })
  await expect(verify(before)).rejects.toMatchObject({ code: 'unauthenticated' })
  await expect(verify(after)).resolves.toBeDefined()
})

test('after a gap a session whose credential was revoked meanwhile has to leave, however long ago that was', async () => {
  callers.apply({ type: 'revoked', kind: 'api_token', name: 'T2', at: START - 30 * MINUTE })
  expect(callers.reasonToCut(ANA, app)).toBeUndefined()
  callers.apply({ type: 'revoked', kind: 'api_token', name: 'T1', at: START - 30 * MINUTE })
  expect(callers.reasonToCut(ANA, app)).toContain('was revoked')
})

test('without news a strict cluster or role bears five minutes, any other an hour; then nobody is let in, and who is in has to leave', async () => {
  const assertion = await issue()
  staleMs = 61 * MINUTE
  await expect(verify(assertion)).rejects.toMatchObject({ code: 'unavailable', message: expect.stringContaining('for 61 minutes') })
  expect(callers.reasonToCut(ANA, app)).toContain('cannot tell who is locked')
  staleMs = 6 * MINUTE
  await expect(verify(assertion)).resolves.toBeDefined()
  saveRole({ lock: 'strict' })
  await expect(verify(assertion)).rejects.toMatchObject({ code: 'unavailable' })
  expect(callers.reasonToCut(ANA, app)).toContain('for 6 minutes')
  saveRole({})
  feed.put('cluster_auth_preference', { version: 'v2', metadata: { name: 'cluster-auth-preference' }, spec: { locking_mode: 'strict' } })
  await expect(verify(assertion)).rejects.toMatchObject({ code: 'unavailable' })
  staleMs = 5 * MINUTE
  await expect(verify(assertion)).resolves.toBeDefined()
})

test('a key that is not known yet is asked for; one that is known is not', async () => {
  await verify(await issue())
  expect(refreshed).toBe(0)
  await expect(verify(await issue(now, 'new'))).resolves.toBeDefined()
  expect(refreshed).toBe(1)
  await expect(verify(await issue(now, 'nobody'))).rejects.toThrow('unknown key')
  await expect(verify('a.b.c')).rejects.toMatchObject({ code: 'unauthenticated' })
})
