import { createHash, X509Certificate } from 'node:crypto'
import { createServer } from 'node:http'
import { Secret, TOTP } from 'otpauth'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { verifyIdentityCertificate } from '../../ca/identity-certificate.ts'
import { ADMIN, PASSWORD, proveKey, role, START, startFixture, tokenOf, userIdentity } from './auth-fixture.ts'
import type { Fixture } from './auth-fixture.ts'

let f: Fixture
beforeAll(async () => {
  f = await startFixture({ limits: { failuresPerUser: 3, failuresPerAddress: 1000 } })
})
afterAll(() => f.close())

const login = async (user: string, password: string, more: object = {}) =>
  f.call('POST', '/v1/login/local', { user, password, ...(await proveKey('login', user)).proof, ...more })
const setSecondFactor = (second_factor: string) =>
  f.call(
    'PUT',
    '/v1/resources/cap/cluster-auth-preference',
    {
      resource: { kind: 'cluster_auth_preference', version: 'v2', metadata: { name: 'cluster-auth-preference' }, spec: { second_factor } },
    },
    ADMIN,
  )
const lock = (name: string, target: object) =>
  f.call(
    'PUT',
    `/v1/resources/lock/${name}`,
    { resource: { kind: 'lock', version: 'v2', metadata: { name }, spec: { target, message: 'left the company' } } },
    ADMIN,
  )
const codeAt = (secret: string, timestamp: number) => new TOTP({ secret: Secret.fromBase32(secret) }).generate({ timestamp })

test('a wrong password and an unknown user get the same answer; the audit log knows which', async () => {
  await f.addUser('ana', ['access'])
  const wrong = await login('ana', 'not the password')
  const unknown = await login('nobody', PASSWORD)
  expect(wrong).toEqual({
    status: 401,
    body: { error: { code: 'unauthenticated', message: 'wrong user name, password or one-time code' } },
  })
  expect(unknown).toEqual(wrong)
  const logins = (await f.events()).filter((event) => event.event === 'user.login')
  expect(logins).toMatchObject([
    { user: 'ana', code: 'T1000W', error: 'wrong password' },
    { user: 'nobody', code: 'T1000W', error: 'unknown user, or one without a password' },
  ])
})

test('a key that is not proven is refused', async () => {
  const { proof } = await proveKey('login', 'ana')
  const other = await proveKey('login', 'ana')
  expect(
    await f.call('POST', '/v1/login/local', {
      user: 'ana',
      password: PASSWORD,
      public_key: proof.public_key,
      possession: other.proof.possession,
    }),
  ).toMatchObject({ status: 400 })
  const { proof: signed } = await proveKey('sign', 'ana')
  expect(await f.call('POST', '/v1/login/local', { user: 'ana', password: PASSWORD, ...signed })).toMatchObject({ status: 400 })
})

test('a locked user is told so, after the password only', async () => {
  await f.addUser('lou', ['access'])
  await lock('l1', { user: 'lou' })
  expect(await login('lou', 'not the password')).toMatchObject({ status: 401 })
  expect(await login('lou', PASSWORD)).toMatchObject({
    status: 403,
    body: { error: { code: 'permission_denied', message: 'lock targeting user:"lou" is in force: left the company' } },
  })
  expect(await f.call('GET', '/v1/whoami', undefined, userIdentity('lou', ['access']))).toMatchObject({ status: 403 })
})

test('after some failures the right password does not help either, and others are not affected', async () => {
  await f.addUser('rae', ['access'])
  await f.addUser('sam', ['access'])
  for (let i = 0; i < 3; i += 1) expect(await login('rae', 'guess')).toMatchObject({ status: 401 })
  expect(await login('rae', PASSWORD)).toMatchObject({
    status: 429,
    body: { error: { code: 'resource_exhausted', message: expect.stringMatching(/^too many failed sign-ins: try again in \d+m/) } },
  })
  expect(await login('sam', PASSWORD)).toMatchObject({ status: 200 })
})

test('parallel guesses are counted before they are answered', async () => {
  await f.addUser('pat', ['access'])
  const guesses = await Promise.all(Array.from({ length: 8 }, () => login('pat', 'guess')))
  expect(guesses.filter((answer) => answer.status === 401)).toHaveLength(3)
  expect(guesses.filter((answer) => answer.status === 429)).toHaveLength(5)
})

test('the certificate carries the user, and lives as long as role and cluster allow', async () => {
  await f.call(
    'PUT',
    '/v1/resources/role/short',
    { resource: { ...role('short', {}), spec: { options: { max_session_ttl: '30m' } } } },
    ADMIN,
  )
  await f.addUser('kim', ['short'])
  const { status, body } = await login('kim', PASSWORD, { ttl: 86_400 })
  expect(status).toBe(200)
  expect(body.expires).toBe(new Date(START + 30 * 60_000).toISOString())
  const facts = verifyIdentityCertificate(new X509Certificate(body.certificate), f.auth.userAuthorityPems(), {
    clusterName: 'example',
    now: START,
  })
  expect(facts).toMatchObject({ kind: 'user', name: 'kim', roles: ['short'], mfaVerified: false })
  expect(
    await f.call('POST', '/v1/certificates', { user: 'kim', ...(await proveKey('sign', 'kim')).proof }, userIdentity('kim', ['short'])),
  ).toMatchObject({ status: 403 })
  expect(await f.call('POST', '/v1/certificates', { user: 'kim', ...(await proveKey('sign', 'kim')).proof }, ADMIN)).toMatchObject({
    status: 200,
  })
})

test('an invite works once, not after its time, not for a short password', async () => {
  const invite = await f.call('POST', '/v1/users/invite', { name: 'ivy', roles: ['access'], ttl: 60 }, ADMIN)
  const token = tokenOf(invite)
  expect(await f.call('POST', '/v1/users/invite', { name: 'ivy', roles: ['access'] }, ADMIN)).toMatchObject({ status: 409 })
  expect(await f.call('POST', '/v1/users/invite', { name: 'x', roles: ['nope'] }, ADMIN)).toMatchObject({ status: 412 })
  expect(await f.call('POST', '/v1/signup', { token, password: 'short' })).toMatchObject({ status: 400 })
  expect(await f.call('POST', '/v1/signup', { token: 'wrong', password: PASSWORD })).toMatchObject({ status: 404 })
  f.clock.now += 60_000
  expect(await f.call('POST', '/v1/signup', { token, password: PASSWORD })).toMatchObject({ status: 404 })
  const again = tokenOf(await f.call('POST', '/v1/users/reset', { name: 'ivy' }, ADMIN))
  const both = await Promise.all([1, 2].map(() => f.call('POST', '/v1/signup', { token: again, password: PASSWORD })))
  expect(both.map(({ status }) => status).sort()).toEqual([200, 404])
  expect(await login('ivy', PASSWORD)).toMatchObject({ status: 200 })
  f.clock.now = START
})

test('a one-time code is needed where it is set up or required, and counts once', async () => {
  await setSecondFactor('on')
  expect(await login('sam', PASSWORD)).toMatchObject({ status: 412 })
  const token = tokenOf(await f.call('POST', '/v1/users/reset', { name: 'sam' }, ADMIN))
  expect(await login('sam', PASSWORD)).toMatchObject({ status: 401 })
  const { body: offer } = await f.call('POST', '/v1/signup/show', { token })
  expect(offer).toMatchObject({ user: 'sam', purpose: 'reset', totp_required: true })
  const accept = (more: object) => f.call('POST', '/v1/signup', { token, password: PASSWORD, ...more })
  expect(await accept({})).toMatchObject({ status: 400 })
  expect(await accept({ totp_secret: 'AAAA', totp: '123456' })).toMatchObject({ status: 400 })
  expect(await accept({ totp_secret: offer.totp_secret, totp: codeAt(offer.totp_secret, START - 300_000) })).toMatchObject({ status: 400 })
  const first = codeAt(offer.totp_secret, START)
  expect(await accept({ totp_secret: offer.totp_secret, totp: first })).toMatchObject({ status: 200 })

  expect(await login('sam', PASSWORD)).toMatchObject({ status: 401, body: { error: { details: { second_factor: 'totp' } } } })
  expect(await login('sam', PASSWORD, { totp: first })).toMatchObject({ status: 401 })
  f.clock.now = START + 30_000
  const second = codeAt(offer.totp_secret, f.clock.now)
  const answer = await login('sam', PASSWORD, { totp: second })
  expect(answer.status).toBe(200)
  expect(new X509Certificate(answer.body.certificate).subjectAltName).toContain('sallyport:mfa/true')
  expect(await login('sam', PASSWORD, { totp: second })).toMatchObject({ status: 401 })
  f.clock.now = START
  await setSecondFactor('optional')
})

test('neither passwords nor links nor TOTP secrets are in the audit log', async () => {
  const { body: invite } = await f.call('POST', '/v1/users/invite', { name: 'zoe', roles: ['access'] }, ADMIN)
  const log = JSON.stringify(await f.events())
  expect(log).toContain('zoe')
  expect(log).not.toContain(invite.path.slice('/web/signup/'.length))
  expect(log).not.toContain(PASSWORD)
  expect(log).not.toContain('guess')
})

const VERIFIER = 'v'.repeat(43)
const start = async (more: object = {}) =>
  f.call('POST', '/v1/login/browser', {
    ...(await proveKey('browser-login', '')).proof,
    redirect_uri: 'http://127.0.0.1:4711/callback',
    code_challenge: createHash('sha256').update(VERIFIER).digest('base64url'),
    ...more,
  })
const page = async (method: string, path: string, form?: Record<string, string>) => {
  const headers: Record<string, string> = form ? { 'content-type': 'application/x-www-form-urlencoded' } : {}
  return await f.auth.carrier()({ method, path, headers, body: form && new URLSearchParams(form).toString() })
}
const formToken = (body: string) => /name="form_token" value="([^"]+)"/.exec(body)?.[1] ?? ''

test('a browser sign-in ends at a loopback port only', async () => {
  for (const redirect_uri of [
    'https://evil.example/callback',
    'http://127.0.0.1.evil.example/callback',
    'http://127.0.0.1:1/other',
    'http://u@127.0.0.1:1/callback',
  ])
    expect(await start({ redirect_uri })).toMatchObject({ status: 400 })
})

test('a browser sign-in page needs its own form, the right password, and works once', async () => {
  const { body } = await start()
  const shown = await page('GET', `/web/login?id=${body.login_id}`)
  expect(shown.status).toBe(200)
  const form = { id: body.login_id, form_token: formToken(shown.body), user: 'ana', password: PASSWORD }
  expect(await page('POST', '/web/login', { ...form, form_token: 'forged' })).toMatchObject({ status: 403 })
  const failed = await page('POST', '/web/login', { ...form, user: '"><script>alert(1)</script>', password: 'wrong' })
  expect(failed.status).toBe(401)
  expect(failed.body).toContain('wrong user name, password or one-time code')
  expect(failed.body).not.toContain('<script>')
  expect(failed.body).toContain('value="&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"')
  expect(await page('POST', '/web/login', form)).toMatchObject({ status: 303 })
  expect(await page('POST', '/web/login', form)).toMatchObject({ status: 404 })
  expect(await page('GET', '/web/login?id=unknown')).toMatchObject({ status: 404 })
})

async function signInByBrowser() {
  const { body } = await start()
  const shown = await page('GET', `/web/login?id=${body.login_id}`)
  const response = await fetchPage('/web/login', { id: body.login_id, form_token: formToken(shown.body), user: 'ana', password: PASSWORD })
  return { login_id: body.login_id, target: new URL(response.headers.get('location') ?? '') }
}

/** With headers, over the HTTP listener. */
async function fetchPage(path: string, form: Record<string, string>): Promise<Response> {
  const server = createServer(f.auth.handler)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  try {
    return await fetch(`http://127.0.0.1:${port}${path}`, { method: 'POST', body: new URLSearchParams(form), redirect: 'manual' })
  } finally {
    server.close()
  }
}

test('the code of a browser sign-in is worth nothing with another verifier, and nothing twice', async () => {
  const stolen = await signInByBrowser()
  expect(stolen.target.origin + stolen.target.pathname).toBe('http://127.0.0.1:4711/callback')
  const finish = (login_id: string, code: string | null, code_verifier: string) =>
    f.call('POST', '/v1/login/browser/finish', { login_id, code, code_verifier })
  expect(await finish(stolen.login_id, stolen.target.searchParams.get('code'), 'w'.repeat(43))).toMatchObject({ status: 401 })
  expect(await finish(stolen.login_id, stolen.target.searchParams.get('code'), VERIFIER)).toMatchObject({ status: 401 })

  const { login_id, target } = await signInByBrowser()
  expect(target.searchParams.get('login_id')).toBe(login_id)
  const code = target.searchParams.get('code')
  expect(await finish(login_id, code, VERIFIER)).toMatchObject({
    status: 200,
    body: { user: 'ana', roles: ['access'], cluster_name: 'example' },
  })
  expect(await finish(login_id, code, VERIFIER)).toMatchObject({ status: 401 })
  f.clock.now = START
})

test('the code of a browser sign-in ends after a minute', async () => {
  const { login_id, target } = await signInByBrowser()
  f.clock.now = START + 60_000
  expect(
    await f.call('POST', '/v1/login/browser/finish', { login_id, code: target.searchParams.get('code'), code_verifier: VERIFIER }),
  ).toMatchObject({ status: 401 })
  f.clock.now = START
})

test('the sign-up page escapes hostile names, keeps its secret after a mistake, and says what to type next', async () => {
  const name = `<img/onerror=alert(1)>"'`.replace('/', '')
  const token = tokenOf(await f.call('POST', '/v1/users/invite', { name, roles: ['access'] }, ADMIN))
  const shown = await page('GET', `/web/signup/${token}`)
  expect(shown.status).toBe(200)
  expect(shown.body).toContain('&lt;imgonerror=alert(1)&gt;&quot;&#39;')
  expect(shown.body).not.toContain('<img')
  const secret = /name="totp_secret" value="([^"]+)"/.exec(shown.body)?.[1] ?? ''
  const form = { form_token: formToken(shown.body), totp_secret: secret, password: PASSWORD, again: PASSWORD, totp: '' }
  const differing = await page('POST', `/web/signup/${token}`, { ...form, again: 'something else' })
  expect(differing.status).toBe(400)
  expect(differing.body).toContain('The two passwords differ.')
  expect(differing.body).toContain(`<code>${secret}</code>`)
  expect(await page('POST', `/web/signup/${token}`, { ...form, form_token: '' })).toMatchObject({ status: 403 })
  const done = await page('POST', `/web/signup/${token}`, form)
  expect(done.status).toBe(200)
  expect(done.body).toContain('tsh login --proxy=proxy.example.com:3080 --user=&lt;img')
  expect(await page('GET', `/web/signup/${token}`)).toMatchObject({ status: 404 })
})
