import { afterAll, beforeAll, expect, test } from 'vitest'
import { whoami } from '../../src/api/identity.ts'
import { getStatus } from '../../src/api/cluster.ts'
import { listResources } from '../../src/api/resources.ts'
import { issueBotOutput, joinCluster, openIdentityApi, renewalDue, renewIdentity } from '../../src/client/join.ts'
import type { Joined, JoinRole } from '../../src/client/join.ts'
import { type Cluster, startCluster } from '../cluster.ts'

let cluster: Cluster

beforeAll(async () => {
  cluster = await startCluster()
  await cluster.saveRole('dev', { allow: { app_labels: { env: 'test' }, mcp: { tools: ['*'] } } })
  await cluster.save({ kind: 'bot', version: 'v1', metadata: { name: 'ci' }, spec: { roles: ['dev'] } })
})

afterAll(() => cluster.close())

const now = { now: Date.now }
const target = () => ({ proxy: { host: '127.0.0.1', port: cluster.running.address.port }, caPins: [], authorities: [] })

async function saveToken(name: string, spec: Record<string, unknown>, expires?: string): Promise<void> {
  await cluster.save({ kind: 'token', version: 'v2', metadata: { name, ...(expires && { expires }) }, spec })
}

function joinWith(token: string, role: JoinRole): Promise<Joined> {
  return joinCluster(target(), role, { method: 'token', token }, now)
}

async function as<T>(joined: Joined, use: (api: ReturnType<typeof openIdentityApi>['api']) => Promise<T>): Promise<T> {
  const connection = openIdentityApi(target(), joined.identity)
  try {
    return await use(connection.api)
  } finally {
    connection.close()
  }
}

async function joinBot(): Promise<Joined> {
  const name = `secret-of-${Math.random()}`
  await saveToken(name, { roles: ['Bot'], bot_name: 'ci' })
  return await joinWith(name, { role: 'Bot' })
}

test('an unknown token, an expired one and one for another method are refused in the same words', async () => {
  await saveToken('bound-one', { roles: ['App'], join_method: 'bound_keypair' })
  const words = await Promise.all(
    ['nobody-made-this', 'bound-one'].map((token) => joinWith(token, { role: 'App' }).catch((thrown: Error) => thrown.message)),
  )
  expect(words[0]).toContain('the join was refused: the join token is unknown, used up, expired or locked')
  expect(words[1]).toBe(words[0])
  const [event] = await cluster.events({ type: 'instance.join' })
  expect(event).toMatchObject({ code: 'TJ002E', success: false, error: 'there is no such token, or it is over', join_method: 'token' })
  expect(JSON.stringify(await cluster.events())).not.toContain('nobody-made-this')
})

test('a token for agents makes no bot, and says what it is for to who has it', async () => {
  await saveToken('apps-only-secret', { roles: ['App'] })
  await expect(joinWith('apps-only-secret', { role: 'Bot' })).rejects.toMatchObject({
    code: 'permission_denied',
    message: 'this join token is not for the role Bot, only for App: tctl bots instances add BOT makes one that is',
  })
})

test('the pin of another CA stops a join before the token leaves; the right one lets it go on', async () => {
  await saveToken('pinned-secret', { roles: ['App'] })
  const proof = { method: 'token' as const, token: 'pinned-secret' }
  const before = (await cluster.events({ type: 'instance.join' })).length
  const wrong = { ...target(), caPins: [`sha256:${'0'.repeat(64)}`] }
  await expect(joinCluster(wrong, { role: 'App' }, proof, now)).rejects.toMatchObject({ code: 'failed_precondition' })
  expect(await cluster.events({ type: 'instance.join' })).toHaveLength(before)
  const { ca_pins } = await cluster.admin(getStatus, {})
  expect((await joinCluster({ ...target(), caPins: ca_pins }, { role: 'App' }, proof, now)).kind).toBe('host')
})

test('an agent joins, is who its certificate says, and renews', async () => {
  await saveToken('an-app-secret', { roles: ['App'] })
  const joined = await joinWith('an-app-secret', { role: 'App', hostId: 'h-1', hostname: 'box', ttlSeconds: 3600 })
  expect(joined).toMatchObject({ kind: 'host', name: 'h-1', roles: ['App'], clusterName: 'test', renewable: true })
  expect(await as(joined, (api) => api(whoami, {}))).toMatchObject({ kind: 'host', name: 'h-1', roles: ['App'], credential: 'certificate' })
  const renewed = await as(joined, (api) => renewIdentity(api, { ttlSeconds: 7200 }, now))
  expect(renewed).toMatchObject({ kind: 'host', name: 'h-1', roles: ['App'] })
  expect(renewed.identity.privateKeyPem).not.toBe(joined.identity.privateKeyPem)
  const [host] = (await cluster.admin(listResources, { kind: 'host' })).items.filter(({ metadata }) => metadata.name === 'h-1')
  expect(host).toMatchObject({ spec: { hostname: 'box', roles: ['App'] }, status: { join_method: 'token' } })
  expect(JSON.stringify(host)).not.toContain('an-app-secret')
})

test('a bot joins once with its secret, and its own certificate opens nothing', async () => {
  await saveToken('ci-secret', { roles: ['Bot'], bot_name: 'ci' })
  const joined = await joinWith('ci-secret', { role: 'Bot' })
  expect(joined).toMatchObject({ kind: 'bot', name: 'bot-ci', roles: ['dev'], generation: 1, renewable: true })
  expect(await as(joined, (api) => api(whoami, {}))).toMatchObject({ kind: 'bot', name: 'bot-ci', roles: [] })
  await expect(joinWith('ci-secret', { role: 'Bot' })).rejects.toMatchObject({ code: 'permission_denied' })
  const [first, replay] = await cluster.events({ type: 'bot.join' }).then((events) => events.slice(-2))
  expect([first?.['outcome'], replay?.['outcome']]).toEqual(['success', 'failure'])
  expect(replay?.['join_token']).toBe(first?.['join_token'])
  const output = await as(joined, (api) => issueBotOutput(api, { ttlSeconds: 600, allowReissue: false }))
  expect(output).toMatchObject({ kind: 'bot', name: 'bot-ci', roles: ['dev'], renewable: false })
  expect(await as(output, (api) => api(whoami, {}))).toMatchObject({ kind: 'bot', name: 'bot-ci', roles: ['dev'] })
  await expect(as(output, (api) => issueBotOutput(api, { ttlSeconds: 600, allowReissue: false }))).rejects.toThrow(
    'this identity gets no further certificates',
  )
})

test('a copied certificate of a bot that is renewed twice locks the instance at once, outputs included', async () => {
  const copied = await joinBot()
  const renewed = await as(copied, (api) => renewIdentity(api, {}, now))
  const output = await as(renewed, (api) => issueBotOutput(api, { ttlSeconds: 600, allowReissue: true }))
  await expect(as(copied, (api) => renewIdentity(api, {}, now))).rejects.toThrow('there is a copy of it')
  for (const identity of [copied, renewed, output])
    await expect(as(identity, (api) => api(whoami, {}))).rejects.toMatchObject({ code: 'permission_denied' })
  const [event] = await cluster.events({ type: 'cert.generation_mismatch' })
  expect(event).toMatchObject({ bot_name: 'ci', bot_instance_id: copied.botInstanceId, join_method: 'token', outcome: 'failure' })
})

test('a renewal whose answer was lost is asked for again, and then it is the one that counts', async () => {
  const joined = await joinBot()
  const lost = await as(joined, (api) => renewIdentity(api, {}, now))
  const kept = await as(joined, (api) => renewIdentity(api, {}, now))
  expect([lost.generation, kept.generation]).toEqual([2, 2])
  const next = await as(kept, (api) => renewIdentity(api, {}, now))
  expect(next.generation).toBe(3)
  await expect(as(lost, (api) => renewIdentity(api, {}, now))).rejects.toThrow('there is a copy of it')
})

test('a certificate is renewed when a third of its life is left', () => {
  expect(renewalDue(0, 3000, 1999)).toBe(false)
  expect(renewalDue(0, 3000, 2000)).toBe(true)
})
