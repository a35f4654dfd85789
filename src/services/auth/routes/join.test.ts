import { X509Certificate } from 'node:crypto'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { InputOf } from '../../../api/route.ts'
import type { join } from '../../../api/join.ts'
import { joinDigest, possessionChallenge } from '../../../api/possession.ts'
import { generateKeyPair, renderPublicKey, signPossession } from '../../../ca/keys.ts'
import { ADMIN, proveKey, role, START, startFixture } from '../auth-fixture.ts'
import type { Answer, Fixture } from '../auth-fixture.ts'

type JoinInput = InputOf<typeof join>

let fixture: Fixture

beforeEach(async () => {
  fixture = await startFixture({ limits: { failedJoins: 5 } })
  await save('role', role('dev', {}))
  await save('bot', { kind: 'bot', version: 'v1', metadata: { name: 'ci' }, spec: { roles: ['dev'], max_session_ttl: '2h' } })
  await saveToken('app-secret', { roles: ['App'] })
  await saveToken('bot-secret', { roles: ['Bot'], bot_name: 'ci' })
})
afterEach(() => fixture.close())

async function save(kind: string, resource: unknown): Promise<void> {
  const { status, body } = await fixture.call('POST', `/v1/resources/${kind}`, { resource }, ADMIN)
  if (status !== 200) throw new Error(body.error.message)
}

function saveToken(name: string, spec: Record<string, unknown>, expires?: string): Promise<void> {
  return save('token', { kind: 'token', version: 'v2', metadata: { name, ...(expires && { expires }) }, spec })
}

async function nonce(): Promise<string> {
  const { body } = await fixture.call('POST', '/v1/join/challenge', {})
  return String(Reflect.get(body, 'nonce'))
}

/** A request as a client makes it; `forge` changes it after it was signed. */
async function signed(wanted: Partial<JoinInput>, forge: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
  const keys = await generateKeyPair()
  const public_key = renderPublicKey(keys.publicKey)
  const statement = { nonce: await nonce(), role: 'App' as const, token: 'app-secret', proof: { method: 'token' as const }, ...wanted }
  const possession = signPossession(keys.privateKey, possessionChallenge('join', joinDigest(statement), public_key))
  return { ...statement, public_key, possession, ...forge }
}

async function send(wanted: Partial<JoinInput> = {}, forge: Record<string, unknown> = {}): Promise<Answer> {
  return await fixture.call('POST', '/v1/join', await signed(wanted, forge))
}

test.each([
  ['another role', { role: 'Proxy' }],
  ['another token', { token: 'bot-secret' }],
  ['another host', { host_id: 'stolen' }],
  ['another host name', { hostname: 'other' }],
  ['a longer life', { ttl: 600_000 }],
  ['another key', {}],
])('a join that was signed for something else is refused: %s', async (what, forge) => {
  const other = renderPublicKey((await generateKeyPair()).publicKey)
  const { status, body } = await send({}, what === 'another key' ? { public_key: other } : forge)
  expect([status, body.error.message]).toEqual([400, 'possession is not a signature of this request by the private key of public_key'])
})

test('a join that is sent again is refused', async () => {
  const request = await signed({})
  expect((await fixture.call('POST', '/v1/join', request)).status).toBe(200)
  const { status, body } = await fixture.call('POST', '/v1/join', request)
  expect([status, body.error]).toEqual([409, { code: 'aborted', message: 'the challenge of this join is over: begin again' }])
})

test.each([
  ['unknown members', { extra: 1 }],
  ['an unknown method', { proof: { method: 'tpm' } }],
  ['a host id that is a path', { host_id: '../../etc' }],
  ['a host name that drives a terminal', { hostname: 'a\u001b[2J' }],
  ['a role that no machine has', { role: 'Admin' }],
  ['no token', { token: '' }],
  ['a life of no time', { ttl: 1 }],
  ['a token that is too long', { token: 'x'.repeat(513) }],
])('a request with %s is malformed', async (_, forge) => {
  expect((await send({}, forge)).status).toBe(400)
})

test('an expired token is refused like one that never was, before it is swept away too', async () => {
  await saveToken('short-lived', { roles: ['App'] }, new Date(START + 60_000).toISOString())
  fixture.clock.now += 60_000
  const [expired, unknown] = [await send({ token: 'short-lived' }), await send({ token: 'never-was' })]
  expect([expired.status, expired.body.error.code]).toEqual([403, 'permission_denied'])
  expect(unknown.body).toEqual(expired.body)
})

test('after some refused joins of one address all are, and none of them is recorded', async () => {
  for (let tries = 0; tries < 5; tries += 1) expect((await send({ token: `guess-${tries}` })).status).toBe(403)
  const { status, body } = await send()
  expect([status, body.error.code]).toEqual([429, 'resource_exhausted'])
  const joins = (await fixture.events()).filter(({ event }) => event === 'instance.join')
  expect(joins).toHaveLength(5)
})

test('joins that succeed are not counted', async () => {
  for (let tries = 0; tries < 12; tries += 1) expect((await send()).status).toBe(200)
})

test('a renewal that waited while its host joined anew, or was removed, is refused', async () => {
  const join = async () => new X509Certificate((await send({ host_id: 'build-7' })).body.certificate).serialNumber
  const renew = async (serial: string) => {
    const { proof } = await proveKey('renew', '')
    const host = { ...ADMIN, name: 'build-7', roles: ['App'], credential: 'certificate' as const, credentialId: serial }
    return await fixture.call('POST', '/v1/join/renew', proof, host)
  }
  const stolen = await join()
  expect((await renew(stolen)).status).toBe(200)
  expect((await renew(stolen)).status).toBe(200)
  const current = await join()
  expect(await renew(stolen)).toMatchObject({ status: 401, body: { error: { message: expect.stringContaining('joined anew') } } })
  expect((await renew(current)).status).toBe(200)
  await fixture.call('DELETE', '/v1/resources/host/build-7', undefined, ADMIN)
  expect((await renew(current)).status).toBe(401)
})

test('of many who come with the secret of a bot at once, one joins', async () => {
  const requests = await Promise.all([1, 2, 3, 4].map(() => signed({ role: 'Bot', token: 'bot-secret' })))
  const answers = await Promise.all(requests.map((request) => fixture.call('POST', '/v1/join', request)))
  expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 403, 403, 403])
})

test('a token of a bot that is gone, and one without a bot, let nobody in', async () => {
  await saveToken('nameless', { roles: ['Bot'] })
  expect((await send({ role: 'Bot', token: 'nameless' })).status).toBe(403)
  await fixture.call('DELETE', '/v1/resources/bot/ci', undefined, ADMIN)
  expect((await send({ role: 'Bot', token: 'bot-secret' })).status).toBe(403)
})

test.each([
  ['a host', { ttl: 30 * 86_400 }, 7 * 86_400_000],
  ['a host that says nothing', {}, 86_400_000],
  ['a bot', { role: 'Bot' as const, token: 'bot-secret', ttl: 86_400 }, 7_200_000],
  ['a bot that says nothing', { role: 'Bot' as const, token: 'bot-secret' }, 3_600_000],
])('the certificate of %s lives as long as it may', async (_, wanted, ms) => {
  expect((await send(wanted)).body.expires).toBe(new Date(START + ms).toISOString())
})

test('the id of a host whose certificate is over is free', async () => {
  await saveToken('other-secret', { roles: ['App'] })
  expect((await send({ host_id: 'h', ttl: 3600 })).status).toBe(200)
  expect((await send({ host_id: 'h', token: 'other-secret' })).status).toBe(403)
  fixture.clock.now += 3_600_000
  expect((await send({ host_id: 'h', token: 'other-secret' })).status).toBe(200)
})

test('nobody but the Auth Service writes instances and hosts, and what it keeps of a token stays', async () => {
  await send({ role: 'Bot', token: 'bot-secret' })
  await send({ host_id: 'h' })
  for (const kind of ['bot_instance', 'host']) {
    const { body } = await fixture.call('GET', `/v1/resources/${kind}`, undefined, ADMIN)
    const [resource] = body.items
    const { status } = await fixture.call('PUT', `/v1/resources/${kind}/${resource?.metadata.name}`, { resource }, ADMIN)
    expect([kind, status]).toEqual([kind, 403])
  }
  const bound = {
    kind: 'token',
    version: 'v2',
    metadata: { name: 'bound' },
    spec: { roles: ['Bot'], bot_name: 'ci', join_method: 'bound_keypair' },
  }
  await save('token', { ...bound, status: { bound_keypair: { bound_public_key: 'mine' } } })
  const { body } = await fixture.call('GET', '/v1/resources/token/bound?with_secrets=true', undefined, ADMIN)
  expect(Reflect.get(body, 'status')).toEqual({
    bound_keypair: { registration_secret: expect.stringMatching(/^[\w-]{32}$/), recovery_count: 0 },
  })
})

test('the secret of a token stands in no event, message or list', async () => {
  await send({ host_id: 'h' })
  await send({ token: 'app-secret', role: 'Bot' })
  const seen = [
    ...(await fixture.events()),
    await fixture.call('GET', '/v1/resources/host', undefined, ADMIN),
    await fixture.call('GET', '/v1/resources/token', undefined, ADMIN),
  ]
  expect(JSON.stringify(seen)).not.toContain('app-secret')
})

test('whatever is sent, the answer is a refusal and no fault of ours', async () => {
  const text = fc.oneof(
    fc.string(),
    fc.constantFrom('', '__proto__', '../..', '\u0000', 'app-secret', 'a.b.c', '-----BEGIN PUBLIC KEY-----'),
  )
  const value = fc.oneof(text, fc.integer(), fc.boolean(), fc.constant(null), fc.array(text), fc.dictionary(text, text))
  const proof = fc.record({ method: fc.constantFrom('token', 'bound_keypair', 'oidc', 'x') }, { requiredKeys: [] })
  const shapes = fc.dictionary(
    fc.constantFrom('nonce', 'role', 'token', 'public_key', 'possession', 'host_id', 'ttl', 'before', 'x'),
    value,
  )
  const fresh = await startFixture({ limits: { failedJoins: 1_000_000, publicCallsPerMinute: 1_000_000 } })
  try {
    await fc.assert(
      fc.asyncProperty(shapes, fc.oneof(proof, value), async (members, wanted) => {
        for (const path of ['/v1/join', '/v1/join/challenge']) {
          const { status } = await fresh.call('POST', path, { ...members, proof: wanted })
          expect(status).toBe(400)
        }
      }),
      { numRuns: 200 },
    )
    for (const certificate of ['', 'x', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'])
      expect((await send({ host_id: 'h', before: { certificate, possession: 'x' } })).status).toBe(200)
  } finally {
    await fresh.close()
  }
})

test('a proxy says of itself which agents are connected to it, and nobody else does', async () => {
  await send({ host_id: 'build-7' })
  const proxyIds = async (): Promise<unknown> => {
    const { status, body } = await fixture.call('GET', '/v1/resources/host/build-7', undefined, ADMIN)
    return status === 200 ? Reflect.get(Object(body), 'status').proxy_ids : status
  }
  const agent = { ...ADMIN, name: 'build-7', roles: ['App'] }
  const proxies = ['proxy-a', 'proxy-b']
  const announced = await fixture.call('POST', '/v1/inventory', { hostname: 'h', version: '1', services: ['app'], proxies }, agent)
  expect(announced.status).toBe(200)
  const say = async (is_connected: boolean, caller = { ...ADMIN, name: 'proxy-a', roles: ['Proxy'] }, host_id = 'build-7') =>
    (await fixture.call('POST', '/v1/inventory/tunnels', { agents: [{ host_id, is_connected }] }, caller)).status
  expect(await say(false, agent)).toBe(403)
  expect(await say(false, ADMIN)).toBe(403)
  expect(await say(false, { ...ADMIN, kind: 'user', roles: ['editor'] })).toBe(403)
  expect(await proxyIds()).toEqual(['proxy-a', 'proxy-b'])
  expect(await say(false)).toBe(200)
  expect(await say(false)).toBe(200)
  expect(await say(true, undefined, 'never-was')).toBe(200)
  expect(await proxyIds()).toEqual(['proxy-b'])
  expect(await say(true)).toBe(200)
  expect(await proxyIds()).toEqual(['proxy-a', 'proxy-b'])
})
