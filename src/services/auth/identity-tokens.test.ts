import { createLocalJWKSet, decodeJwt, jwtVerify } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ADMIN, AGENT, app, appServer, role, START, startFixture, userIdentity } from './auth-fixture.ts'
import type { Fixture } from './auth-fixture.ts'
import { JWT_KEY_LEAD_MS } from './jwt-keys.ts'

const MINUTE = 60_000

let f: Fixture
beforeAll(async () => {
  f = await startFixture()
  await put(role('dev', { app_labels: { '*': '*' } }))
  await put(appServer('dev-db'), AGENT)
  await put(app('crm'))
  await put(appServer('crm'), AGENT)
  await f.addUser('ana', ['dev'], { team: ['blue'] })
})
afterAll(() => f.close())

const ana = () => userIdentity('ana', ['dev'], { traits: { team: ['blue'] }, expiresAt: f.clock.now + 60 * MINUTE })

function put(document: Record<string, unknown> & { kind: string; metadata: { name: string } }, as = ADMIN) {
  return f.call('PUT', `/v1/resources/${document.kind}/${document.metadata.name}`, { resource: document }, as)
}

async function assertionFor(server: string): Promise<string> {
  return (await f.call('POST', '/v1/assertions', { server }, ana())).body.assertion
}

function ask(server: string, assertion: string, as = AGENT, type = 'jwt') {
  return f.call('POST', '/v1/identity-tokens', { server, assertion, type }, as)
}

async function published() {
  const { body } = await f.call('GET', '/.well-known/jwks.json')
  return createLocalJWKSet(JSON.parse(JSON.stringify(body)))
}

test('only an agent gets one, for a server it offers, with the assertion of a call to that server', async () => {
  const assertion = await assertionFor('dev-db')
  expect(await ask('dev-db', assertion, ana())).toMatchObject({ status: 403 })
  expect(await ask('dev-db', assertion, { ...AGENT, name: 'agent-2' })).toMatchObject({ status: 404 })
  expect(await ask('crm', assertion)).toMatchObject({ status: 401 })
  expect(await ask('dev-db', `${assertion}x`)).toMatchObject({ status: 401 })
})

test('one is addressed to the server, says who calls, and verifies against the published keys', async () => {
  const { status, body } = await ask('dev-db', await assertionFor('dev-db'))
  expect(status).toBe(200)
  const { payload } = await jwtVerify(body.token, await published(), {
    issuer: 'example',
    audience: String(appServer('dev-db').spec.app.spec.uri),
    currentDate: new Date(f.clock.now),
  })
  expect(payload).toMatchObject({ sub: 'ana', username: 'ana', roles: ['dev'], traits: { team: ['blue'] } })
  expect(body.expires).toBe(new Date(f.clock.now + 10 * MINUTE).toISOString())
})

test('the audience is that of the registered app, whatever an agent says of it', async () => {
  const lying = appServer('crm')
  await put({ ...lying, spec: { ...lying.spec, app: { ...lying.spec.app, spec: { uri: 'mcp+https://victim.example/mcp' } } } }, AGENT)
  const { body } = await ask('crm', await assertionFor('crm'))
  expect(decodeJwt(body.token).aud).toBe(app('crm').spec.uri)
})

test('an agent cannot have one made out to a registered app under another name', async () => {
  const payroll = app('payroll')
  await put({ ...payroll, spec: { uri: 'mcp+https://payroll.example/mcp' } })
  const lying = appServer('dev-db')
  await put({ ...lying, spec: { ...lying.spec, app: { ...lying.spec.app, spec: { uri: 'mcp+https://payroll.example/mcp' } } } }, AGENT)
  expect(await ask('dev-db', await assertionFor('dev-db'))).toMatchObject({
    status: 403,
    body: { error: { message: expect.stringContaining('"payroll"') } },
  })
  await put(lying, AGENT)
  expect(await ask('dev-db', await assertionFor('dev-db'))).toMatchObject({ status: 200 })
})

test.each([
  ['none', {}],
  ['roles', { roles: ['dev'] }],
  ['traits', { traits: { team: ['blue'] } }],
  ['roles-and-traits', { roles: ['dev'], traits: { team: ['blue'] } }],
])('jwt_claims: %s', async (jwt_claims, shown) => {
  const plain = app('crm')
  await put({ ...plain, spec: { ...plain.spec, rewrite: { jwt_claims } } })
  const { body } = await ask('crm', await assertionFor('crm'))
  const { roles, traits } = decodeJwt(body.token)
  expect({ ...(roles !== undefined && { roles }), ...(traits !== undefined && { traits }) }).toEqual(shown)
})

test('an id token is from the public URL', async () => {
  const { body } = await ask('crm', await assertionFor('crm'), AGENT, 'id_token')
  expect(decodeJwt(body.token).iss).toBe('https://proxy.example.com:3080')
})

test('who was locked since is spoken of no more', async () => {
  const assertion = await assertionFor('crm')
  await put({ kind: 'lock', version: 'v2', metadata: { name: 'l' }, spec: { target: { user: 'ana' }, message: 'gone' } })
  expect(await ask('crm', assertion)).toMatchObject({ status: 403, body: { error: { message: expect.stringContaining('gone') } } })
  await f.call('DELETE', '/v1/resources/lock/l', undefined, ADMIN)
})

test('a rotated key is published before it signs, and the old one as long as it is needed', async () => {
  const kids = async () => {
    const { body } = await f.call('GET', '/.well-known/jwks.json')
    return JSON.stringify(body)
  }
  const signed = async () => {
    const { body } = await ask('crm', await assertionFor('crm'))
    await jwtVerify(body.token, await published(), { currentDate: new Date(f.clock.now) })
    return body.token
  }
  expect(await f.call('POST', '/v1/jwt-keys', {}, ana())).toMatchObject({ status: 403 })
  const before = await signed()
  const { body } = await f.call('POST', '/v1/jwt-keys', {}, ADMIN)
  expect(body).toMatchObject({ signs_from: new Date(START + JWT_KEY_LEAD_MS).toISOString() })
  const { kid } = JSON.parse(JSON.stringify(body))
  expect(await kids()).toContain(kid)
  expect(headOf(await signed())).toBe(headOf(before))
  f.clock.now += JWT_KEY_LEAD_MS
  const after = await signed()
  expect(headOf(after)).not.toBe(headOf(before))
  await jwtVerify(before, await published(), { currentDate: new Date(f.clock.now - MINUTE) })
  f.clock.now += 15 * MINUTE
  await expect(jwtVerify(before, await published(), { currentDate: new Date(START) })).rejects.toThrow('no applicable key')
  await jwtVerify(after, await published(), { currentDate: new Date(START + JWT_KEY_LEAD_MS) })
  expect(await f.events()).toContainEqual(expect.objectContaining({ event: 'jwt_key.rotate', name: kid }))
})

function headOf(token: string): string {
  return token.slice(0, token.indexOf('.'))
}
