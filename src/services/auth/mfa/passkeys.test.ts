import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { Server } from 'node:http'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ADMIN, PASSWORD, proveKey, startFixture, tokenOf } from '../auth-fixture.ts'
import type { Fixture } from '../auth-fixture.ts'
import { SoftwarePasskey } from './authenticator.fixture.ts'
import type { Lies } from './authenticator.fixture.ts'

const HOST = 'proxy.example.com:3080'
const ORIGIN = `https://${HOST}`

let f: Fixture
/** Of several processes on one store each request goes to another. */
let servers: Server[]
let turn = 0
beforeAll(async () => {
  f = await startFixture({ limits: { failuresPerUser: 1000, failuresPerAddress: 1000, publicCallsPerMinute: 100_000 } })
  servers = [await serve(f)]
})
afterAll(async () => {
  for (const server of servers) server.close()
  await f.close()
})

async function serve({ auth }: Fixture): Promise<Server> {
  const server = createServer(auth.handler).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

/** Does something on a cluster of its own. */
async function within(fixtures: Fixture[], work: () => Promise<void>): Promise<void> {
  const [before, listening] = [f, servers]
  f = fixtures[0] ?? before
  servers = await Promise.all(fixtures.map(serve))
  try {
    await work()
  } finally {
    for (const server of servers) server.close()
    servers = listening
    f = before
    for (const fixture of fixtures.toReversed()) await fixture.close()
  }
}

interface Shown {
  status: number
  text: string
  location: string
}

/** A browser at the address of the cluster, with its one cookie. */
class Visit {
  cookie = ''

  async send(method: string, path: string, form?: Record<string, string>): Promise<Shown> {
    const address = servers[(turn += 1) % servers.length]?.address()
    const port = typeof address === 'object' && address ? address.port : 0
    const body = form && new URLSearchParams(form).toString()
    const type = { 'content-type': 'application/x-www-form-urlencoded', 'content-length': String(body?.length ?? 0) }
    const headers = { host: HOST, origin: ORIGIN, cookie: this.cookie, ...(body !== undefined && type) }
    const sent = request({ host: '127.0.0.1', port, method, path, headers })
    const answered = new Promise<Shown>((resolve, reject) => {
      sent.on('error', reject)
      sent.on('response', (response) => {
        const set = (response.headers['set-cookie'] ?? []).find((line) => line.startsWith('__Host-sallyport-browser='))
        if (set !== undefined) this.cookie = set.split(';')[0] ?? ''
        let text = ''
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text, location: response.headers.location ?? '' }))
      })
    })
    sent.end(body)
    return await answered
  }

  /** What the script of the page would be told to call. */
  async ask(flow: string, form_token: string, more: Record<string, string> = {}) {
    const { status, text } = await this.send('POST', '/web/passkeys/challenge', { flow, form_token, ...more })
    const { publicKey, call, error } = {
      publicKey: { challenge: '', rpId: '', allowCredentials: [] },
      call: '',
      error: { message: '' },
      ...JSON.parse(text),
    }
    return { status, call, publicKey, message: error.message }
  }
}

const tokenIn = ({ text }: Shown): string => /name="form_token" value="([^"]+)"/.exec(text)?.[1] ?? ''
const alertIn = ({ text }: Shown): string => /role="alert">([^<]+)</.exec(text)?.[1]?.trim() ?? ''
const lastLogin = async () => (await f.events()).filter(({ event }) => event === 'user.login').at(-1)

/** A link for a new user, and the page behind it. */
async function invite(name: string): Promise<{ visit: Visit; token: string; form_token: string }> {
  const visit = new Visit()
  const token = tokenOf(await f.call('POST', '/v1/users/invite', { name, roles: ['access'] }, ADMIN))
  return { visit, token, form_token: tokenIn(await visit.send('GET', `/web/signup/${token}`)) }
}

/** A user with a passkey; alone, or beside the usual password. */
async function signUp(name: string, { password }: { password?: string } = {}): Promise<SoftwarePasskey> {
  const { visit, token, form_token } = await invite(name)
  const key = new SoftwarePasskey(ORIGIN)
  const { publicKey } = await visit.ask(`signup:${token}`, form_token, password === undefined ? { alone: 'yes' } : {})
  const chosen: Record<string, string> = password === undefined ? {} : { password, again: password }
  const done = await visit.send('POST', `/web/signup/${token}`, { form_token, passkey: key.create(publicKey), ...chosen })
  expect(alertIn(done)).toBe('')
  expect(done.status).toBe(200)
  return key
}

/** A waiting tsh, and the page on which it is let in. */
async function begin(): Promise<{ visit: Visit; id: string; form_token: string; flow: string }> {
  const { body } = await f.call('POST', '/v1/login/browser', {
    ...(await proveKey('browser-login', '')).proof,
    redirect_uri: 'http://127.0.0.1:4711/callback',
    code_challenge: createHash('sha256').update('v'.repeat(43)).digest('base64url'),
  })
  const visit = new Visit()
  const form_token = tokenIn(await visit.send('GET', `/web/login?id=${body.login_id}`))
  return { visit, id: body.login_id, form_token, flow: `login:${body.login_id}` }
}

async function signIn(key: SoftwarePasskey, lies: Lies = {}): Promise<Shown> {
  const { visit, id, form_token, flow } = await begin()
  const { publicKey } = await visit.ask(flow, form_token)
  return await visit.send('POST', '/web/login', { id, form_token, passkey: key.get(publicKey, lies) })
}

const REFUSED = 'this passkey did not work: try again, or sign in another way'

test.each<[string, Lies, string | RegExp]>([
  ['another origin', { origin: 'https://proxy.example.com' }, /origin/],
  ['a host of the same domain that is not ours', { origin: 'https://evil.proxy.example.com:3080' }, /origin/],
  ['another domain', { rpId: 'example.com' }, /RP ID/],
  ['no finger', { verified: false }, /User verification required/],
  ['nobody there', { present: false }, /User not present/],
  ['a frame of another site', { origin: ORIGIN, crossOrigin: true, type: 'webauthn.create' }, /response type/],
  ['a wrong signature', { wrongSignature: true }, 'wrong signature of a passkey'],
  ['a passkey that is not known', { credentialId: 'AAAA' }, 'unknown passkey'],
  ['the account of somebody else', { userHandle: Buffer.alloc(16).toString('base64url') }, 'the passkey belongs to another account'],
  ['no account', { userHandle: undefined }, 'the passkey belongs to another account'],
  ['a challenge of its own', { challenge: Buffer.alloc(32).toString('base64url') }, /not known/],
])('an answer with %s lets nobody in', async (_, lies, reason) => {
  const name = `u${createHash('sha256').update(JSON.stringify(lies)).digest('hex').slice(0, 8)}`
  const key = await signUp(name)
  const refused = await signIn(key, lies)
  expect([refused.status, alertIn(refused)]).toEqual([401, REFUSED])
  expect(await lastLogin()).toMatchObject({ code: 'T1000W', error: typeof reason === 'string' ? reason : expect.stringMatching(reason) })
  expect(await signIn(key)).toMatchObject({ status: 303, location: expect.stringContaining('http://127.0.0.1:4711/callback?code=') })
})

test('what is no answer at all is refused, however large or odd', async () => {
  const key = await signUp('odd')
  for (const passkey of [
    '',
    '{}',
    '[]',
    'null',
    '{"id":1}',
    'x'.repeat(17_000),
    '{"id":"a","rawId":"a","type":"public-key","response":{"clientDataJSON":"AA"}}',
  ]) {
    const { visit, id, form_token } = await begin()
    const refused = await visit.send('POST', '/web/login', { id, form_token, passkey })
    expect([refused.status, alertIn(refused)]).toEqual([401, REFUSED])
  }
  expect((await signIn(key)).status).toBe(303)
})

test('a challenge is for one page, one browser and five minutes, and works once', async () => {
  const key = await signUp('ana')
  const one = await begin()
  const other = await begin()
  const taken = async (from: typeof one, at: typeof one, later = 0) => {
    const { publicKey } = await from.visit.ask(from.flow, from.form_token)
    f.clock.now += later
    const answer = await at.visit.send('POST', '/web/login', { id: at.id, form_token: at.form_token, passkey: key.get(publicKey) })
    f.clock.now -= later
    return [answer.status, (await lastLogin())?.['error']]
  }
  await other.visit.ask(other.flow, other.form_token)
  expect(await taken(one, other)).toEqual([401, 'the challenge was given to another browser'])
  const cookie = one.visit.cookie
  one.visit.cookie = ''
  expect(await taken({ ...one, visit: other.visit }, one)).toEqual([401, 'the challenge was given to another browser'])
  one.visit.cookie = cookie
  expect(await taken(one, { ...other, visit: one.visit })).toEqual([401, 'the challenge was given for another page'])
  expect((await taken(one, one, 5 * 60_000))[0]).toBe(404)
  const { visit, id, form_token, flow } = await begin()
  const { publicKey } = await visit.ask(flow, form_token)
  const passkey = key.get(publicKey)
  const both = await Promise.all([1, 2].map(() => visit.send('POST', '/web/login', { id, form_token, passkey })))
  expect(both.map(({ status }) => status).sort()).toEqual([303, 401])
})

test('no challenge without the form of the page; none for a user by name', async () => {
  const { visit, flow } = await begin()
  expect(await visit.ask(flow, 'forged')).toMatchObject({ status: 403 })
  const mine = await begin()
  expect(await mine.visit.ask(flow, mine.form_token)).toMatchObject({ status: 403 })
  const asked = await mine.visit.ask(mine.flow, mine.form_token)
  expect(asked).toMatchObject({ status: 200, call: 'get', publicKey: { rpId: 'proxy.example.com', userVerification: 'required' } })
  expect(asked.publicKey.allowCredentials).toBeUndefined()
  expect(await mine.visit.ask(mine.flow, mine.form_token, { pending: 'unknown' })).toMatchObject({ status: 404 })
})

test('a counter that goes back is a copy, told of only once the signature is right', async () => {
  const key = await signUp('cora')
  expect((await signIn(key, { counter: 10 })).status).toBe(303)
  expect((await signIn(key, { counter: 3, wrongSignature: true })).status).toBe(401)
  expect(await lastLogin()).toMatchObject({ user: 'cora', error: 'wrong signature of a passkey' })
  for (const counter of [10, 0]) {
    expect((await signIn(key, { counter })).status).toBe(401)
    expect(await lastLogin()).toMatchObject({
      user: 'cora',
      error: 'the counter of the passkey "passkey" went back: there may be a copy of it',
    })
  }
  expect((await signIn(key, { counter: 11 })).status).toBe(303)
})

test('beside a password: the password first, then this passkey and no other', async () => {
  const bea = await signUp('bea', { password: PASSWORD })
  const eve = await signUp('eve', { password: PASSWORD })
  expect(
    await f.call('POST', '/v1/login/local', { user: 'bea', password: PASSWORD, ...(await proveKey('login', 'bea')).proof }),
  ).toMatchObject({
    status: 401,
    body: { error: { details: { second_factor: 'webauthn' } } },
  })
  const { visit, id, form_token, flow } = await begin()
  const wrong = await visit.send('POST', '/web/login', { id, form_token, user: 'bea', password: 'not the password' })
  expect([wrong.status, wrong.text.includes('One more step')]).toEqual([401, false])
  const second = await visit.send('POST', '/web/login', { id, form_token, user: 'bea', password: PASSWORD })
  const pending = /name="pending" value="([^"]+)"/.exec(second.text)?.[1] ?? ''
  expect(second.text).toContain('One more step')
  const step = async (key: SoftwarePasskey, lies: Lies = {}) => {
    const { publicKey } = await visit.ask(flow, form_token, { pending })
    expect(publicKey.allowCredentials).toMatchObject([{ id: bea.credentialId }])
    return await visit.send('POST', '/web/login', { id, form_token, pending, passkey: key.get(publicKey, lies) })
  }
  expect((await step(eve)).status).toBe(401)
  expect((await step(eve, { credentialId: bea.credentialId })).status).toBe(401)
  // One for signing in alone does not do, nor does the page of another sign-in.
  const alone = await visit.ask(flow, form_token)
  expect(await visit.send('POST', '/web/login', { id, form_token, pending, passkey: bea.get(alone.publicKey) })).toMatchObject({
    status: 401,
  })
  const other = await begin()
  const elsewhere = { id: other.id, form_token: other.form_token, pending, totp: '123456' }
  expect((await visit.send('POST', '/web/login', elsewhere)).status).toBe(404)
  expect((await step(bea, { verified: false, userHandle: undefined })).status).toBe(303)
  expect(await lastLogin()).toMatchObject({ user: 'bea', success: true, with_mfa: 'webauthn' })
})

test('a sign-up link takes a passkey made for it, with a finger where it is to stand alone', async () => {
  const { visit, token, form_token } = await invite('ida')
  const flow = `signup:${token}`
  const submit = async (alone: boolean, lies: Lies, more: Record<string, string> = {}) => {
    const { publicKey } = await visit.ask(flow, form_token, alone ? { alone: 'yes' } : {})
    return await visit.send('POST', `/web/signup/${token}`, {
      form_token,
      passkey: new SoftwarePasskey(ORIGIN).create(publicKey, lies),
      ...more,
    })
  }
  expect((await submit(true, { verified: false })).status).toBe(401)
  expect((await submit(true, { origin: 'https://evil.example' })).status).toBe(401)
  expect(alertIn(await submit(false, {}))).toBe('choose a password beside this passkey')
  expect(alertIn(await submit(false, {}, { password: 'short', again: 'short' }))).toBe('Choose a password of 12 to 256 characters.')
  expect((await submit(true, {})).status).toBe(200)
  const twice = await f.call('POST', '/v1/signup/show', { token })
  expect(twice.status).toBe(404)
})

test('passkeys go with a reset, a lock keeps them out, and so does the preference of the cluster', async () => {
  const key = await signUp('lou')
  const put = (path: string, resource: object) => f.call('PUT', `/v1/resources/${path}`, { resource }, ADMIN)
  const prefer = (spec: object) =>
    put('cap/cluster-auth-preference', {
      kind: 'cluster_auth_preference',
      version: 'v2',
      metadata: { name: 'cluster-auth-preference' },
      spec,
    })
  await put('lock/l1', { kind: 'lock', version: 'v2', metadata: { name: 'l1' }, spec: { target: { user: 'lou' }, message: 'on leave' } })
  expect(await signIn(key)).toMatchObject({ status: 403, text: expect.stringContaining('on leave') })
  await f.call('DELETE', '/v1/resources/lock/l1', undefined, ADMIN)
  const { mfa_device_uuid: mfa_device } = (await f.events()).filter(({ event }) => event === 'mfa.add').at(-1) ?? {}
  await put('lock/l2', { kind: 'lock', version: 'v2', metadata: { name: 'l2' }, spec: { target: { mfa_device } } })
  expect(await signIn(key)).toMatchObject({ status: 403, text: expect.stringContaining('lock targeting mfa_device') })
  await f.call('DELETE', '/v1/resources/lock/l2', undefined, ADMIN)
  for (const spec of [{ allow_passwordless: false }, { second_factor: 'otp' }, { allow_local_auth: false }]) {
    const { visit, id, form_token, flow } = await begin()
    const { publicKey } = await visit.ask(flow, form_token)
    await prefer(spec)
    expect((await visit.send('POST', '/web/login', { id, form_token, passkey: key.get(publicKey) })).status).toBe(403)
    await prefer({ second_factor: 'optional' })
  }
  expect((await signIn(key)).status).toBe(303)
  await f.call('POST', '/v1/users/reset', { name: 'lou' }, ADMIN)
  expect((await signIn(key)).status).toBe(401)
  expect(await lastLogin()).toMatchObject({ error: 'unknown passkey' })
})

test('who guesses passkeys keeps out nobody else at the same address', async () => {
  const strict = await startFixture({ limits: { failuresPerUser: 2, failuresPerAddress: 1000, publicCallsPerMinute: 100_000 } })
  await within([strict], async () => {
    const key = await signUp('ana')
    for (let i = 0; i < 2; i += 1) expect((await signIn(key, { wrongSignature: true })).status).toBe(401)
    expect((await signIn(key)).status).toBe(429)
    expect((await signIn(await signUp('bea'))).status).toBe(303)
  })
})

test('of several processes each goes on where another began, and a challenge works once for all of them', async () => {
  const one = await startFixture()
  const store = { type: 'sqlite' as const, at: join(one.dataDirectory, 'sallyport.db') }
  const yaml = { cluster_name: 'example', secret_key_file: join(one.dataDirectory, 'secret.key') }
  const two = await startFixture({ store, yaml })
  await within([one, two], async () => {
    const key = await signUp('ana')
    expect((await signIn(key)).status).toBe(303)
    const { visit, id, form_token, flow } = await begin()
    const { publicKey } = await visit.ask(flow, form_token)
    const passkey = key.get(publicKey)
    const both = await Promise.all([1, 2].map(() => visit.send('POST', '/web/login', { id, form_token, passkey })))
    expect(both.map(({ status }) => status).sort()).toEqual([303, 401])
  })
})
