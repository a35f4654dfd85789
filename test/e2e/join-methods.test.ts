import { createHmac, createPublicKey } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { whoami } from '../../src/api/identity.ts'
import { join as joinRoute, startJoin } from '../../src/api/join.ts'
import { joinDigest, possessionChallenge } from '../../src/api/possession.ts'
import { getResource, listResources } from '../../src/api/resources.ts'
import { generateKeyPair, renderPublicKey, signPossession } from '../../src/ca/keys.ts'
import type { ApiClient } from '../../src/client/call.ts'
import { issueBotOutput, joinCluster, openIdentityApi, renewIdentity } from '../../src/client/join.ts'
import type { Joined, JoinProof } from '../../src/client/join.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { type Issuer, startIssuer } from '../fakes/issuer.ts'

let cluster: Cluster
let issuer: Issuer

beforeAll(async () => {
  cluster = await startCluster()
  issuer = await startIssuer()
  await cluster.saveRole('dev', { allow: {} })
  await cluster.save({ kind: 'bot', version: 'v1', metadata: { name: 'ci' }, spec: { roles: ['dev'] } })
  await saveToken('from-issuer', 'oidc', {
    issuer: issuer.url,
    allow: [
      { sub: 'repo:acme/*', env: ['prod', 'staging'] },
      { '/deep/claim': 'yes', protected: true },
    ],
  })
})

afterAll(async () => {
  await cluster.close()
  await issuer.close()
})

const target = () => ({ proxy: { host: '127.0.0.1', port: cluster.running.address.port }, caPins: [], authorities: [] })

async function saveToken(name: string, method: string, settings: Record<string, unknown>): Promise<void> {
  const spec = { roles: ['Bot'], bot_name: 'ci', join_method: method, [method]: settings }
  await cluster.save({ kind: 'token', version: 'v2', metadata: { name }, spec })
}

function joinBot(proof: JoinProof): Promise<Joined> {
  return joinCluster(target(), { role: 'Bot' }, proof, { now: Date.now })
}

async function withIdToken(
  claims: Record<string, unknown>,
  options?: Parameters<Issuer['sign']>[1],
  token = 'from-issuer',
): Promise<Joined> {
  const idToken = await issuer.sign({ aud: 'test', ...claims }, options)
  return await joinBot({ method: 'oidc', token, idToken })
}

async function as<T>(joined: Joined, use: (api: ApiClient) => Promise<T>): Promise<T> {
  const connection = openIdentityApi(target(), joined.identity)
  try {
    return await use(connection.api)
  } finally {
    connection.close()
  }
}

const GOOD = { sub: 'repo:acme/app', env: 'prod' }

test.each([
  [
    'another audience',
    { ...GOOD, aud: 'elsewhere' },
    {},
    'the ID token is for another audience: ask its issuer for one with the audience "test"',
  ],
  ['an expired one', GOOD, { expiresAt: 1000 }, 'the ID token has expired'],
  ['another issuer', GOOD, { issuer: 'https://evil.example' }, 'the join was refused'],
  ['a key nobody published', GOOD, { kid: 'unheard-of' }, 'the join was refused'],
  ['another subject', { ...GOOD, sub: 'repo:evil/acme/app' }, {}, 'no allow rule of the join token fits this workload'],
  ['half of one rule', { sub: 'repo:acme/app' }, {}, 'no allow rule'],
  ['halves of two rules', { sub: 'repo:acme/app', protected: true }, {}, 'no allow rule'],
  ['a claim of another type', { ...GOOD, env: { prod: true } }, {}, 'no allow rule'],
])('an ID token is refused for %s', async (_, claims, options, message) => {
  await expect(withIdToken(claims, options)).rejects.toMatchObject({ code: 'permission_denied', message: expect.stringContaining(message) })
})

test('an ID token without a signature, or with a MAC made of the public key, is refused', async () => {
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const payload = encode({ ...GOOD, aud: 'test', iss: issuer.url, exp: Math.floor(Date.now() / 1000) + 300 })
  const none = `${encode({ alg: 'none' })}.${payload}.`
  const [jwk] = issuer.jwks().keys
  const pem = createPublicKey({ key: { ...jwk }, format: 'jwk' }).export({ type: 'spki', format: 'pem' })
  const head = `${encode({ alg: 'HS256', kid: jwk?.kid })}.${payload}`
  const mac = `${head}.${createHmac('sha256', pem).update(head).digest('base64url')}`
  for (const idToken of [none, mac, 'x.y.z', ''])
    await expect(joinBot({ method: 'oidc', token: 'from-issuer', idToken })).rejects.toMatchObject({ code: 'permission_denied' })
  const events = await cluster.events({ type: 'bot.join' })
  expect(events.at(-1)).toMatchObject({ outcome: 'failure', bot_name: 'ci', join_token: 'from-issuer', join_method: 'oidc' })
})

test('a workload joins by what its issuer says, does not renew, and is in the log with its claims', async () => {
  const joined = await withIdToken(GOOD)
  expect(joined).toMatchObject({ name: 'bot-ci', renewable: false })
  expect(joined.generation).toBeUndefined()
  await expect(as(joined, (api) => renewIdentity(api, {}, { now: Date.now }))).rejects.toThrow('it joins again')
  const output = await as(joined, (api) => issueBotOutput(api, { ttlSeconds: 600, allowReissue: false }))
  expect(await as(output, (api) => api(whoami, {}))).toMatchObject({ name: 'bot-ci', roles: ['dev'] })
  await withIdToken({ sub: 'x', deep: { claim: 'yes' }, protected: 'true' })
  const [event] = (await cluster.events({ type: 'bot.join', outcome: 'success' })).slice(-2)
  expect(event).toMatchObject({ join_token: 'from-issuer', attributes: { iss: issuer.url, sub: 'repo:acme/app', env: 'prod' } })
})

test('keys are fetched once, and an issuer that only redirects is not believed', async () => {
  expect(issuer.seen.filter((path) => path === '/jwks')).toHaveLength(1)
  const astray = await startIssuer()
  await saveToken('astray', 'oidc', { issuer: astray.url, allow: [{ sub: '*' }] })
  astray.answer = (_, response) => response.writeHead(302, { location: issuer.url, connection: 'close' }).end()
  const idToken = await astray.sign({ sub: 'x', aud: 'test' })
  await expect(joinBot({ method: 'oidc', token: 'astray', idToken })).rejects.toMatchObject({ code: 'unavailable' })
  await astray.close()
})

test('kubernetes, github and gitlab are the same with their own words', async () => {
  const jwks = JSON.stringify(issuer.jwks())
  await saveToken('k8s', 'kubernetes', { type: 'static_jwks', static_jwks: { jwks }, allow: [{ service_account: 'prod:runner' }] })
  await saveToken('gh', 'github', { static_jwks: jwks, allow: [{ repository: 'acme/app', ref: 'refs/heads/main' }] })
  await saveToken('gl', 'gitlab', { domain: 'git.example', static_jwks: jwks, allow: [{ project_path: 'acme/app' }] })
  const join = async (method: 'kubernetes' | 'github' | 'gitlab', token: string, named: string, claims: Record<string, unknown>) =>
    joinBot({ method, token, idToken: await issuer.sign({ aud: 'test', ...claims }, { issuer: named }) })
  await expect(join('kubernetes', 'k8s', 'k', { sub: 'system:serviceaccount:other:runner' })).rejects.toThrow('no allow rule')
  expect((await join('kubernetes', 'k8s', 'k', { sub: 'system:serviceaccount:prod:runner' })).name).toBe('bot-ci')
  const github = { sub: 's', repository: 'acme/app', ref: 'refs/heads/main' }
  await expect(join('github', 'gh', issuer.url, github)).rejects.toMatchObject({ code: 'permission_denied' })
  expect((await join('github', 'gh', 'https://token.actions.githubusercontent.com', github)).name).toBe('bot-ci')
  expect((await join('gitlab', 'gl', 'https://git.example', { sub: 's', project_path: 'acme/app' })).name).toBe('bot-ci')
})

test.each([
  [{ issuer: 'http://issuer.example', allow: [{ sub: '*' }] }, 'has to be https'],
  [{ issuer: 'https://issuer.example', allow: [] }, 'needs at least one rule'],
  [{ issuer: 'https://issuer.example', allow: [{}] }, 'a rule without claims would let everybody in'],
  [{ issuer: 'https://issuer.example', static_jwks: '{}', allow: [{ sub: '*' }] }, 'not a JWKS'],
])('a token with %j is not saved', async (settings, message) => {
  await expect(saveToken('bad', 'oidc', settings)).rejects.toThrow(message)
})

async function boundToken(
  name: string,
  recovery: Record<string, unknown> = {},
): Promise<{ key: KeyObject; join: (state?: string, secret?: string) => Promise<Joined> }> {
  const { publicKey, privateKey } = await generateKeyPair()
  await saveToken(name, 'bound_keypair', { onboarding: { initial_public_key: renderPublicKey(publicKey) }, recovery })
  const join = (joinState?: string): Promise<Joined> =>
    joinBot({ method: 'bound_keypair', token: name, privateKey, ...(joinState !== undefined && { joinState }) })
  return { key: privateKey, join }
}

test('a key that was named beforehand joins, renews, and joins again as often as it may', async () => {
  const { join } = await boundToken('named', { limit: 2 })
  const first = await join()
  expect(first).toMatchObject({ renewable: true, generation: 1 })
  expect((await as(first, (api) => renewIdentity(api, {}, { now: Date.now }))).generation).toBe(2)
  const second = await join(first.joinState)
  const { items } = await cluster.admin(listResources, { kind: 'bot_instance' })
  expect(items.find(({ metadata }) => metadata.name === second.botInstanceId)?.spec).toMatchObject({
    previous_instance_id: first.botInstanceId,
  })
  await expect(join(second.joinState)).rejects.toThrow('this key has joined as often as it may')
})

test('a key that cannot be read is refused with the name of its field', async () => {
  const onboarding = { initial_public_key: 'ssh-ed25519 AAAA' }
  await expect(saveToken('unreadable', 'bound_keypair', { onboarding })).rejects.toThrow(
    'spec.bound_keypair.onboarding.initial_public_key cannot be read: it must be one PEM block "PUBLIC KEY"',
  )
  await boundToken('readable')
  const { nonce } = await cluster.admin(startJoin, {})
  const keys = await generateKeyPair()
  const public_key = renderPublicKey(keys.publicKey)
  const proof = { method: 'bound_keypair' as const, public_key: 'ssh-ed25519 AAAA', possession: 'x'.repeat(20) }
  const statement = { nonce, role: 'Bot' as const, token: 'readable', proof }
  const possession = signPossession(keys.privateKey, possessionChallenge('join', joinDigest(statement), public_key))
  const request = { ...statement, public_key, possession }
  await expect(cluster.admin(joinRoute, request)).rejects.toThrow('proof.public_key cannot be read')
})

test('another key is refused, and so is a wrong registration secret; the right one binds once and is shown to nobody', async () => {
  await boundToken('not-mine')
  const { privateKey } = await generateKeyPair()
  await expect(joinBot({ method: 'bound_keypair', token: 'not-mine', privateKey })).rejects.toThrow('the join was refused')
  await saveToken('by-secret', 'bound_keypair', { recovery: { limit: 5 } })
  const stored = await cluster.admin(getResource, { kind: 'token', name: 'by-secret', with_secrets: 'true' })
  const status: unknown = Reflect.get(stored, 'status')
  const secret = /"registration_secret":"([\w-]{32})"/.exec(JSON.stringify(status))?.[1] ?? ''
  expect(JSON.stringify(await cluster.admin(getResource, { kind: 'token', name: 'by-secret' }))).not.toContain(secret)
  const register = (key: KeyObject, registrationSecret: string) =>
    joinBot({ method: 'bound_keypair', token: 'by-secret', privateKey: key, registrationSecret })
  await expect(register(privateKey, 'wrong')).rejects.toThrow('the join was refused')
  const joined = await register(privateKey, secret)
  expect(joined.joinState).toMatch(/^[\w-]{32}$/)
  await expect(register((await generateKeyPair()).privateKey, secret)).rejects.toThrow('the join was refused')
})

test('a copied key that joins with a state that was used locks the token, and with it what joined by it', async () => {
  const { join } = await boundToken('copied', { mode: 'relaxed' })
  const first = await join()
  const second = await join(first.joinState)
  await as(second, (api) => issueBotOutput(api, { ttlSeconds: 600, allowReissue: false }))
  await expect(join(first.joinState)).rejects.toThrow(
    'lock targeting join_token:"copied" is in force: its key pair was used with a join state',
  )
  await expect(as(second, (api) => api(whoami, {}))).rejects.toMatchObject({ code: 'permission_denied' })
  await expect(join(second.joinState)).rejects.toThrow('the join was refused')
  expect(await cluster.events({ type: 'bound_keypair.join_state_mismatch' })).toMatchObject([
    { join_token: 'copied', bot_name: 'ci', success: false },
  ])
})

test('a join whose answer was lost is repeated with the state before it', async () => {
  const { join } = await boundToken('lost', { limit: 2 })
  await join()
  const first = await join()
  await join(first.joinState)
  const second = await join(first.joinState)
  await expect(join(second.joinState)).rejects.toThrow('as often as it may')
})

test('the join that seemed lost ends when it is repeated, and who had it after all is found out', async () => {
  const { join } = await boundToken('stolen', { mode: 'relaxed' })
  const first = await join()
  await as(first, (api) => issueBotOutput(api, { ttlSeconds: 600, allowReissue: false }))
  const arrived = await join(first.joinState)
  await join(first.joinState)
  await expect(as(arrived, (api) => api(whoami, {}))).rejects.toMatchObject({ code: 'unauthenticated' })
  await expect(join(arrived.joinState)).rejects.toThrow('is in force')
})

test('an agent joins by its key too', async () => {
  const { publicKey, privateKey } = await generateKeyPair()
  const spec = {
    roles: ['App'],
    join_method: 'bound_keypair',
    bound_keypair: { onboarding: { initial_public_key: renderPublicKey(publicKey) }, recovery: { limit: 2 } },
  }
  await cluster.save({ kind: 'token', version: 'v2', metadata: { name: 'agent-key' }, spec })
  const join = (joinState?: string, hostId?: string): Promise<Joined> =>
    joinCluster(
      target(),
      { role: 'App', ...(hostId !== undefined && { hostId }) },
      { method: 'bound_keypair', token: 'agent-key', privateKey, ...(joinState !== undefined && { joinState }) },
      { now: Date.now },
    )
  const first = await join()
  const again = await join(first.joinState, first.name)
  expect([again.name, again.kind]).toEqual([first.name, 'host'])
  await expect(as(first, (api) => api(whoami, {}))).rejects.toMatchObject({ code: 'unauthenticated' })
})
