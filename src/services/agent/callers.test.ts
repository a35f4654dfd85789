import { generateKeyPairSync } from 'node:crypto'
import { beforeEach, expect, test } from 'vitest'
import { createFeed, type FakeFeed } from '../../../test/fakes/feed.ts'
import { issueAssertion } from '../../ca/assertion.ts'
import { type App, appSchema } from '../../resources/app.ts'
import type { Identity } from '../../resources/identity.ts'
import { Callers } from './callers.ts'

const START = Date.parse('2027-01-01T00:00:00Z')
const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const app = appOf('tools', { env: 'test' })
const ANA: Identity = {
  kind: 'user',
  name: 'ana',
  roles: ['dev'],
  traits: {},
  credential: 'api_token',
  credentialId: 'T1',
  expiresAt: START + 3_600_000,
  mfaVerified: false,
}

let now: number
let feed: FakeFeed
let callers: Callers

beforeEach(() => {
  now = START
  feed = createFeed()
  role('dev', ['echo'])
  user('ana', ['dev'])
  callers = new Callers({
    clusterName: 'c',
    hostId: 'agent-1',
    keys: () => [{ kid: 'k', publicKey: pair.publicKey }],
    feed,
    now: () => now,
  })
  feed.subscribe((change) => callers.apply(change))
  now += 10
})

function appOf(name: string, labels: Record<string, string>): App {
  return appSchema.parse({ kind: 'app', version: 'v3', metadata: { name, labels }, spec: { uri: 'mcp+http://127.0.0.1:1' } })
}

function role(name: string, tools: string[], labels: Record<string, string> = { env: 'test' }): void {
  feed.put('role', { version: 'v8', metadata: { name }, spec: { allow: { app_labels: labels, mcp: { tools } } } })
}

function user(name: string, roles: string[]): void {
  feed.put('user', { version: 'v2', metadata: { name }, spec: { roles } })
}

function lock(spec: Record<string, unknown>): void {
  feed.put('lock', { version: 'v2', metadata: { name: 'l' }, spec })
}

function issue(more: Partial<Identity> = {}, { server = 'tools', key = pair.privateKey } = {}): Promise<string> {
  return issueAssertion({ kid: 'k', privateKey: key }, { clusterName: 'c', server, identity: { ...ANA, ...more } }, { now, ttlMs: 300_000 })
}

const refused = { code: 'unauthenticated' }

test('believes no assertion of another signer, for another server, or for another time', async () => {
  await expect(callers.verify(await issue({}, { key: stranger.privateKey }), app)).rejects.toMatchObject(refused)
  await expect(callers.verify(await issue({}, { server: 'other' }), app)).rejects.toMatchObject(refused)
  await expect(callers.verify('a.b.c', app)).rejects.toMatchObject(refused)
  const assertion = await issue()
  expect((await callers.verify(assertion, app)).identity).toEqual(ANA)
  now += 299_989
  await expect(callers.verify(assertion, app)).resolves.toBeDefined()
  now += 1
  await expect(callers.verify(assertion, app)).rejects.toMatchObject(refused)
})

test('an assertion from before a change of its user is stale, known or not', async () => {
  const known = await issue()
  const unknown = await issue()
  await callers.verify(known, app)
  now += 1
  user('ana', [])
  for (const assertion of [known, unknown, await issue()]) await expect(callers.verify(assertion, app)).rejects.toMatchObject(refused)
  now += 1
  await expect(callers.verify(await issue(), app)).resolves.toBeDefined()
})

test('an assertion from before the agent started is stale: changes until then are not known', async () => {
  const assertion = await issue()
  now += 1
  const restarted = new Callers({
    clusterName: 'c',
    hostId: 'agent-1',
    keys: () => [{ kid: 'k', publicKey: pair.publicKey }],
    feed,
    now: () => now,
  })
  await expect(restarted.verify(assertion, app)).rejects.toMatchObject(refused)
})

test('a change of another user changes nothing', async () => {
  const assertion = await issue()
  now += 1
  user('bob', ['dev'])
  await expect(callers.verify(assertion, app)).resolves.toBeDefined()
})

test('a changed role holds for the very next message, a deleted one grants nothing', async () => {
  const caller = await callers.verify(await issue(), app)
  expect(caller.access().check('tool', 'echo').allow).toBe(true)
  role('dev', ['other'])
  expect(caller.access().check('tool', 'echo').allow).toBe(false)
  expect(caller.access().check('tool', 'other').allow).toBe(true)
  feed.remove('role', 'dev')
  expect(caller.access().decision).toMatchObject({ allow: false, kind: 'no_role' })
})

test('nothing is compiled anew while nothing changed', async () => {
  const caller = await callers.verify(await issue(), app)
  expect(caller.access()).toBe(caller.access())
  expect(await callers.verify(await issue(), app)).not.toBe(caller)
})

test('a revoked credential is worth nothing, another of the same user all it was', async () => {
  const assertion = await issue()
  const other = await issue({ credentialId: 'T2' })
  await callers.verify(assertion, app)
  feed.revoke('T1')
  await expect(callers.verify(assertion, app)).rejects.toMatchObject(refused)
  now += 1
  await expect(callers.verify(await issue(), app)).rejects.toMatchObject(refused)
  await expect(callers.verify(other, app)).resolves.toBeDefined()
})

test.each([
  ['the user', { target: { user: 'ana' }, message: 'lunch' }, 'lock targeting user:"ana" is in force: lunch'],
  ['a role', { target: { role: 'dev' } }, 'lock targeting role:"dev" is in force'],
  ['the agent', { target: { server_id: 'agent-1' } }, 'lock targeting server_id:"agent-1" is in force'],
])('a lock of %s holds at once, says why, and ends', async (_, spec, message) => {
  const assertion = await issue()
  const caller = await callers.verify(assertion, app)
  lock(spec)
  await expect(callers.verify(assertion, app)).rejects.toMatchObject({ code: 'permission_denied', message, identity: { name: 'ana' } })
  expect(caller.reasonToLeave()).toBe(message)
  lock({ ...spec, expires: new Date(now + 1000).toISOString() })
  now += 999
  expect(caller.reasonToLeave()).toBeDefined()
  now += 1
  expect(caller.reasonToLeave()).toBeUndefined()
  await expect(callers.verify(assertion, app)).resolves.toBeDefined()
})

test('a lock of somebody else locks nobody else', async () => {
  lock({ target: { user: 'bob', role: 'dev' } })
  await expect(callers.verify(await issue(), app)).resolves.toBeDefined()
})

test('who may not keep a session: a deleted user, one without a role for it, a revoked credential', async () => {
  expect(callers.reasonToCut(ANA, app)).toBeUndefined()
  user('ana', ['other'])
  expect(callers.reasonToCut(ANA, app)).toContain('denied')
  user('ana', ['dev'])
  role('dev', ['echo'], { env: 'prod' })
  expect(callers.reasonToCut(ANA, app)).toContain('denied')
  role('dev', [])
  expect(callers.reasonToCut(ANA, app)).toBeUndefined()
  feed.remove('user', 'ana')
  expect(callers.reasonToCut(ANA, app)).toBe('user "ana" no longer exists')
  feed.revoke('T1')
  expect(callers.reasonToCut(ANA, app)).toBe('the credential of this MCP session was revoked')
})

test('an app with other labels is judged by those, though the assertion is known', async () => {
  const assertion = await issue()
  expect((await callers.verify(assertion, app)).access().decision.allow).toBe(true)
  expect((await callers.verify(assertion, appOf('tools', { env: 'prod' }))).access().decision.allow).toBe(false)
})

test('a second factor asked of everybody is asked at once', async () => {
  const caller = await callers.verify(await issue(), app)
  feed.put('cluster_auth_preference', { version: 'v2', metadata: { name: 'cluster-auth-preference' }, spec: { require_session_mfa: true } })
  expect(caller.access().decision).toMatchObject({ allow: false, kind: 'mfa_required' })
})
