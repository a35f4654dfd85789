import { createHash, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { Agent, createServer, request } from 'node:https'
import type { Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ADMIN, PASSWORD, proveKey, START, startFixture, tokenOf } from './auth-fixture.ts'
import type { Fixture } from './auth-fixture.ts'

let f: Fixture
let port = 0
let closeServer = (): void => {}

beforeAll(async () => {
  f = await startFixture({ sweepEveryMs: 3_600_000 })
  const { key, cert } = await f.auth.issueServerCertificate({ dns: ['localhost'], ip: ['127.0.0.1'] })
  const server = createServer({ key, cert, requestCert: true, rejectUnauthorized: false }, f.auth.handler)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  port = typeof address === 'object' && address ? address.port : 0
  closeServer = () => server.close()
})
afterAll(async () => {
  closeServer()
  await f.close()
})

interface Credentials {
  key: string
  cert: string
}

async function whoami(identity: Credentials): Promise<{ status: number | undefined; body: string }> {
  const options = {
    host: '127.0.0.1',
    port,
    path: '/v1/whoami',
    headers: { host: 'localhost' },
    rejectUnauthorized: false,
    agent: false as const,
  }
  const [response] = await once(request({ ...options, ...identity }).end(), 'response')
  return { status: response.statusCode, body: await text(response) }
}

async function signIn(user: string, password = PASSWORD): Promise<Credentials> {
  const { privateKeyPem, proof } = await proveKey('login', user)
  const { body } = await f.call('POST', '/v1/login/local', { user, password, ...proof })
  return { key: privateKeyPem, cert: body.certificate }
}

const save = (name: string, more: object = {}) =>
  f.call(
    'POST',
    '/v1/resources/user',
    { resource: { kind: 'user', version: 'v2', metadata: { name, ...more }, spec: { roles: ['access'] } } },
    ADMIN,
  )
const addToken = async (user: string) => (await f.call('POST', '/v1/api-tokens', { user }, ADMIN)).body.token

test('who gets a name anew does not get in with the certificate of who had it before', async () => {
  await f.addUser('ana', ['access'])
  const before = await signIn('ana')
  expect(await whoami(before)).toMatchObject({ status: 200 })
  await f.call('DELETE', '/v1/resources/user/ana', undefined, ADMIN)
  await f.addUser('ana', ['editor'])
  expect(await whoami(before)).toMatchObject({ status: 401, body: expect.stringContaining('reset or created anew: run tsh login') })
  expect((await f.events()).at(-1)).toMatchObject({
    event: 'access.denied',
    kind: 'certificate',
    error: 'this certificate is from before user "ana" was reset or created anew: run tsh login',
  })
  expect(await whoami(await signIn('ana'))).toMatchObject({ status: 200 })
})

test('the name of a user who has expired comes without password and API tokens of before', async () => {
  const expires = new Date(START + 60_000).toISOString()
  await f.addUser('tmp', ['access'])
  const before = await signIn('tmp')
  const token = await addToken('tmp')
  const resource = { kind: 'user', version: 'v2', metadata: { name: 'tmp', expires }, spec: { roles: ['access'] } }
  expect(await f.call('PUT', '/v1/resources/user/tmp', { resource }, ADMIN)).toMatchObject({ status: 200 })
  expect(await whoami(before)).toMatchObject({ status: 200 })
  f.clock.now = START + 60_000
  while (f.auth.feed.find('user', 'tmp')) await delay(1)
  expect(await save('tmp')).toMatchObject({ status: 200, body: { created: true } })
  expect(await whoami(before)).toMatchObject({ status: 401 })
  expect(await f.call('GET', '/v1/whoami', undefined, token)).toMatchObject({ status: 401 })
  const { proof } = await proveKey('login', 'tmp')
  expect(await f.call('POST', '/v1/login/local', { user: 'tmp', password: PASSWORD, ...proof })).toMatchObject({ status: 401 })
  f.clock.now = START
})

test('a reset ends certificates, API tokens and sessions, and begins anew', async () => {
  await f.addUser('rob', ['access'])
  const before = await signIn('rob')
  const token = await addToken('rob')
  const seen: unknown[] = []
  const stop = f.auth.feed.subscribe((change) => seen.push(change))
  const link = tokenOf(await f.call('POST', '/v1/users/reset', { name: 'rob' }, ADMIN))
  stop()
  expect(seen).toEqual([
    { type: 'delete', kind: 'user', name: 'rob' },
    { type: 'put', kind: 'user', name: 'rob' },
    { type: 'revoked', kind: 'api_token', name: token.slice(4, 15) },
  ])
  expect(await whoami(before)).toMatchObject({ status: 401 })
  expect(await f.call('GET', '/v1/whoami', undefined, token)).toMatchObject({ status: 401 })
  expect(await f.call('POST', '/v1/signup', { token: link, password: 'another long password' })).toMatchObject({ status: 200 })
  expect(await whoami(await signIn('rob', 'another long password'))).toMatchObject({ status: 200 })
  expect(await whoami(before)).toMatchObject({ status: 401 })
})

test('a change of roles does not end what the user holds', async () => {
  await f.addUser('kay', ['access'])
  const mine = await signIn('kay')
  const resource = { kind: 'user', version: 'v2', metadata: { name: 'kay' }, spec: { roles: ['auditor'] } }
  await f.call('PUT', '/v1/resources/user/kay', { resource }, ADMIN)
  expect(JSON.parse((await whoami(mine)).body)).toMatchObject({ name: 'kay', roles: ['auditor'] })
})

test('a sign-in on the page is worth nothing after a reset', async () => {
  await f.addUser('bea', ['access'])
  const code_verifier = 'v'.repeat(43)
  const started = await f.call('POST', '/v1/login/browser', {
    ...(await proveKey('browser-login', '')).proof,
    redirect_uri: 'http://127.0.0.1:4711/callback',
    code_challenge: createHash('sha256').update(code_verifier).digest('base64url'),
  })
  const { login_id } = started.body
  const carrier = f.auth.carrier()
  const page = await carrier({ method: 'GET', path: `/web/login?id=${login_id}`, headers: {}, body: undefined })
  const form_token = /name="form_token" value="([^"]+)"/.exec(page.body)?.[1] ?? ''
  const path = '/web/login'
  const response = await new Promise<string | undefined>((resolve, reject) => {
    const sent = request({
      host: '127.0.0.1',
      port,
      path,
      method: 'POST',
      rejectUnauthorized: false,
      agent: false,
      headers: { host: 'localhost', 'content-type': 'application/x-www-form-urlencoded' },
    })
    sent.on('response', (answer) => resolve(answer.resume().headers.location)).on('error', reject)
    const form = new URLSearchParams({ id: login_id, form_token, user: 'bea', password: PASSWORD }).toString()
    sent.setHeader('content-length', form.length)
    sent.end(form)
  })
  const code = new URL(response ?? '').searchParams.get('code')
  await f.call('POST', '/v1/users/reset', { name: 'bea' }, ADMIN)
  expect(await f.call('POST', '/v1/login/browser/finish', { login_id, code, code_verifier })).toMatchObject({ status: 401 })
})

test('every certificate has its event', async () => {
  await f.addUser('eve', ['access'])
  const { cert } = await signIn('eve')
  const { serialNumber } = new X509Certificate(cert)
  expect((await f.events()).filter((event) => event.event === 'cert.create' && event.serial === serialNumber)).toMatchObject([
    { user: 'eve', name: 'eve' },
  ])
})

test('an API token gets no certificate, and sees and ends no other token', async () => {
  await f.addUser('max', ['editor'])
  const token = await addToken('max')
  const other = (await f.call('POST', '/v1/api-tokens', { user: 'max', servers: ['dev-db'] }, ADMIN)).body
  const sign = { user: 'max', ...(await proveKey('sign', 'max')).proof }
  expect(await f.call('POST', '/v1/certificates', sign, token)).toMatchObject({ status: 403 })
  const { body: seen } = await f.call('GET', '/v1/api-tokens', undefined, other.token)
  expect(seen.items.map(({ id }) => id)).toEqual([other.item.id])
  expect(await f.call('GET', '/v1/api-tokens?user=max', undefined, other.token)).toMatchObject({ status: 403 })
  expect(await f.call('DELETE', `/v1/api-tokens/${token.slice(4, 15)}`, undefined, other.token)).toMatchObject({ status: 403 })
  expect(await f.call('DELETE', `/v1/api-tokens/${other.item.id}`, undefined, other.token)).toMatchObject({ status: 200 })
})

test('nobody is called like the administrator of the machine, or like somebody else to the eye', async () => {
  for (const name of ['local-admin', 'ana\u200b', 'ana\u202e', 'a\u00adna', '.', '..', '\ud800'])
    expect([name, await save(name)]).toMatchObject([name, { status: 400 }])
})

test('who may do everything writes no history, and each refusal is told once', async () => {
  await f.addUser('gus', ['editor'])
  const token = await addToken('gus')
  const last = async () =>
    (await f.events()).filter(({ event }) => event === 'access.denied').map(({ user, kind, error }) => ({ user, kind, error }))
  const before = (await last()).length
  expect(await f.call('POST', '/v1/audit/events', { events: [] }, token)).toMatchObject({ status: 403 })
  expect(await f.call('POST', '/v1/api-tokens', {}, token)).toMatchObject({ status: 403 })
  expect((await last()).slice(before)).toEqual([
    { user: 'gus', kind: 'emitEvents', error: 'audit events are written by services only' },
    { user: 'gus', kind: 'createApiToken', error: 'an API token cannot make another one: sign in with tsh login' },
  ])
})

test('on a kept connection every request is judged anew', async () => {
  await f.addUser('ida', ['access'])
  const mine = await signIn('ida')
  const agent = new Agent({ keepAlive: true, maxSockets: 1, rejectUnauthorized: false, ...mine })
  const sockets = new Set<Socket>()
  const ask = async () => {
    const sent = request({ host: '127.0.0.1', port, path: '/v1/whoami', headers: { host: 'localhost' }, agent })
    sent.on('socket', (socket) => sockets.add(socket))
    const [response] = await once(sent.end(), 'response')
    await text(response)
    return response.statusCode
  }
  expect(await ask()).toBe(200)
  const lock = { kind: 'lock', version: 'v2', metadata: { name: 'ida' }, spec: { target: { user: 'ida' } } }
  await f.call('POST', '/v1/resources/lock', { resource: lock }, ADMIN)
  expect(await ask()).toBe(403)
  await f.call('DELETE', '/v1/resources/lock/ida', undefined, ADMIN)
  expect(await ask()).toBe(200)
  f.clock.now = START + 31 * 86_400_000
  expect(await ask()).toBe(401)
  f.clock.now = START
  agent.destroy()
  expect(sockets.size).toBe(1)
})
