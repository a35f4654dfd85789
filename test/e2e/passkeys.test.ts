import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { inviteUser } from '../../src/api/users.ts'
import { type Cluster, PASSWORD, startCluster } from '../cluster.ts'
import { Authenticator, CHROMIUM, openPage, startChromium } from '../fakes/browser.ts'
import { type EchoHttp, startEchoHttp } from '../fakes/echo-http.ts'
import { OAuthFlow } from '../fakes/oauth-flow.ts'
import { freePort } from '../free-port.ts'
import { bin, runProgram, startProgram, temporaryDirectory } from '../programs.ts'
import { eventually, within } from '../wait.ts'

if (CHROMIUM === undefined) console.warn('passkeys.test.ts is skipped: no Chromium in /usr/bin (Debian package chromium)')

let cluster: Cluster
let browser: Browser
let echo: EchoHttp
let home: Awaited<ReturnType<typeof temporaryDirectory>>
/** Browsers keep no passkeys for 127.0.0.1. */
let url: string

beforeAll(async () => {
  if (CHROMIUM === undefined) return
  home = await temporaryDirectory()
  const port = await freePort()
  cluster = await startCluster({ file: { proxy_service: { web_listen_addr: `127.0.0.1:${port}`, public_addr: `localhost:${port}` } } })
  url = `http://localhost:${port}`
  await cluster.saveRole('dev', { allow: { app_labels: { env: 'test' }, mcp: { tools: ['*'] } } })
  echo = await startEchoHttp()
  await cluster.saveHttpApp('everything', echo.url)
  browser = await startChromium()
}, 60_000)
afterAll(async () => {
  await browser?.close()
  await cluster?.close()
  await echo?.close()
  await home?.dispose()
})

function portOf(server: Server): number {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

const prefer = (spec: Record<string, unknown>): Promise<void> =>
  cluster.save({ kind: 'cluster_auth_preference', version: 'v2', metadata: { name: 'cluster-auth-preference' }, spec })

const linkOf = async (name: string): Promise<string> => url + (await cluster.admin(inviteUser, { name, roles: ['dev'] })).path

/** Somebody who signs in by a passkey alone. */
async function signUp(name: string): Promise<{ page: Page; faults: string[]; authenticator: Authenticator }> {
  const { page, faults } = await openPage(browser)
  const authenticator = await Authenticator.plugInto(page)
  await page.goto(await linkOf(name))
  await page.getByRole('button', { name: 'Create a passkey' }).click()
  await page.getByText('Your passkey is set').waitFor()
  return { page, faults, authenticator }
}

/** Somebody who has a password and a passkey beside it. */
async function signUpWithBoth(name: string): Promise<{ page: Page; authenticator: Authenticator }> {
  const { page } = await openPage(browser)
  const authenticator = await Authenticator.plugInto(page)
  await page.goto(await linkOf(name))
  await enterPassword(page, PASSWORD)
  await page.getByRole('button', { name: 'passkey as second factor' }).click()
  await page.getByText('Your password is set').waitFor()
  return { page, authenticator }
}

async function enterPassword(page: Page, password: string, user?: string): Promise<void> {
  if (user === undefined) await page.getByLabel('The same again').fill(password)
  else await page.getByLabel('User name').fill(user)
  await page.getByLabel('Password').fill(password)
}

const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true })
const lastEvent = async (type: string) => (await cluster.events({ type })).at(-1)
const mainOf = async (page: Page): Promise<string> => (await page.locator('main').textContent()) ?? ''

test.skipIf(CHROMIUM === undefined)('a person signs up by a passkey, then signs tsh in by it alone', async () => {
  const { page, faults } = await signUp('ana')
  expect(await mainOf(page)).toContain('--auth=passwordless')
  expect(await lastEvent('mfa.add')).toMatchObject({
    code: 'T1006I',
    user: 'ana',
    mfa_device_name: 'passkey',
    mfa_device_type: 'WebAuthn',
  })
  const env = { SALLYPORT_TSH_HOME: home.path }
  const args = ['login', `--proxy=${url.slice('http://'.length)}`, '--auth=passwordless', '--browser=none']
  const tsh = startProgram(bin('tsh'), args, { env })
  const address = await eventually('the address of the page', () => /https?:\/\/\S+\/web\/login\S+/.exec(tsh.stderr())?.[0])
  await page.goto(address.replace('https:', 'http:'))
  await page.locator('button:focus', { hasText: 'Sign in with a passkey' }).waitFor()
  await page.keyboard.press('Enter')
  const ended = await within('the end of tsh login', tsh.ended)
  expect(ended).toMatchObject({ code: 0, stdout: expect.stringContaining('Logged in as:       ana') })
  const status = await runProgram(bin('tsh'), ['status', '--format=json'], { env })
  expect(JSON.parse(status.stdout)).toMatchObject({ active: { username: 'ana' } })
  expect(await lastEvent('user.login')).toMatchObject({
    code: 'T1000I',
    user: 'ana',
    with_mfa: 'webauthn',
    mfa_device: { mfa_device_name: 'passkey', mfa_device_type: 'WebAuthn' },
  })
  expect(faults).toEqual([])
})

test.skipIf(CHROMIUM === undefined)('a password is not enough for who has a passkey beside it', async () => {
  const { page } = await signUpWithBoth('bob')
  await page.goto(`${url}/web/account`)
  await enterPassword(page, PASSWORD, 'bob')
  await button(page, 'Sign in').click()
  await page.getByRole('heading', { name: 'One more step' }).waitFor()
  expect(await page.getByLabel('One-time code').count()).toBe(0)
  expect(await lastEvent('mfa_auth_challenge.create')).toMatchObject({ code: 'T1015I', user: 'bob' })
  await page.goto(`${url}/web/account`)
  await page.getByRole('heading', { name: 'Sign in' }).waitFor()

  await enterPassword(page, PASSWORD, 'bob')
  await button(page, 'Sign in').click()
  await page.locator('button:focus', { hasText: 'Use your passkey' }).waitFor()
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'Your account' }).waitFor()
  expect(await lastEvent('user.login')).toMatchObject({ user: 'bob', success: true, with_mfa: 'webauthn' })
  expect(await mainOf(page)).toMatch(/with\s+password and passkey/)

  // A password at the terminal goes on in the browser.
  const passwordFile = `${home.path}/password`
  await writeFile(passwordFile, PASSWORD)
  const args = ['login', `--proxy=${url.slice('http://'.length)}`, '--user=bob', `--password-file=${passwordFile}`, '--browser=none']
  const tsh = startProgram(bin('tsh'), args, { env: { SALLYPORT_TSH_HOME: `${home.path}/bob` } })
  const address = await eventually('the address of the page', () => /https?:\/\/\S+\/web\/login\S+/.exec(tsh.stderr())?.[0])
  await page.goto(address.replace('https:', 'http:'))
  await page.getByLabel('Password').fill(PASSWORD)
  await page.keyboard.press('Enter')
  await button(page, 'Use your passkey').click()
  expect(await within('the end of tsh login', tsh.ended)).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('Logged in as:       bob'),
    stderr: expect.stringContaining('Your second factor is a passkey'),
  })
  const found = await cluster.running.auth.carrier()({ method: 'GET', path: '/v1/webapi/find', headers: {}, body: undefined })
  expect(JSON.parse(found.body)).toMatchObject({
    auth: { second_factors: ['otp', 'webauthn', 'sso'], allow_passwordless: true, webauthn: { rp_id: 'localhost' } },
  })
})

test.skipIf(CHROMIUM === undefined)('an MCP client is let in by a passkey; the script of the page is the only one', async () => {
  const { page, faults } = await signUp('cleo')
  const back = createServer((_, response) => void response.end('back at the client')).listen(0, '127.0.0.1')
  await once(back, 'listening')
  const redirect_uri = `http://127.0.0.1:${portOf(back)}/callback`
  const flow = new OAuthFlow({ ...cluster, url })
  await flow.register({ client_name: 'Claude Code', redirect_uris: [redirect_uri] })
  const answer = await page.goto(flow.authorizeUrl({ redirect_uri }).href)
  expect(answer?.headers()['content-security-policy']).toBe(
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; " +
      `form-action 'self' ${new URL(redirect_uri).origin}; frame-ancestors 'none'; base-uri 'none'`,
  )
  await button(page, 'Sign in with a passkey').click()
  await page.getByRole('heading', { name: 'Allow access?' }).waitFor()
  expect(await page.locator('script').count()).toBe(0)
  await button(page, 'Allow').click()
  await page.getByText('back at the client').waitFor()
  expect(faults).toEqual([])
  back.close()

  // It was a second factor, too: who has none is kept out where one is required for every call.
  await cluster.saveUser('carl', ['dev'])
  const { access_token } = await flow.exchange(new URL(page.url()).searchParams.get('code') ?? '', { redirect_uri })
  const without = await flow.exchange(await flow.code('carl', { redirect_uri }), { redirect_uri })
  await prefer({ require_session_mfa: true })
  try {
    expect((await flow.call('/mcp/apps/everything', without.access_token)).text).toContain('requires MFA')
    expect((await flow.call('/mcp/apps/everything', access_token)).status).toBe(200)
  } finally {
    await prefer({ second_factor: 'optional' })
  }
})

test.skipIf(CHROMIUM === undefined)('a copy of a passkey is noticed by its counter', async () => {
  const { page, authenticator } = await signUp('dora')
  const [original] = await authenticator.credentials()
  await page.goto(`${url}/web/account`)
  await button(page, 'Sign in with a passkey').click()
  await page.getByRole('heading', { name: 'Your account' }).waitFor()
  if (!original) throw new Error('no credential')

  const thief = await openPage(browser)
  const copies = await Authenticator.plugInto(thief.page)
  await copies.add(original)
  await thief.page.goto(`${url}/web/account`)
  await button(thief.page, 'Sign in with a passkey').click()
  expect(await thief.page.locator('#error').textContent()).toBe('this passkey did not work: try again, or sign in another way')
  expect(await lastEvent('user.login')).toMatchObject({
    code: 'T1000W',
    user: 'dora',
    error: 'the counter of the passkey "passkey" went back: there may be a copy of it',
  })
})

test.skipIf(CHROMIUM === undefined)('what a passkey signed works once, in its browser, and at our address alone', async () => {
  const { page } = await signUp('eve')
  await page.goto(`${url}/web/account`)
  const sent = page.waitForRequest((request) => request.method() === 'POST' && request.url().endsWith('/web/account'))
  await button(page, 'Sign in with a passkey').click()
  const body = (await sent).postData() ?? ''
  await page.getByRole('heading', { name: 'Your account' }).waitFor()
  const headers = { origin: url, 'content-type': 'application/x-www-form-urlencoded' }
  const again = await page.request.post(`${url}/web/account`, { data: body, headers, maxRedirects: 0 })
  expect(again.status()).toBe(401)
  expect(await lastEvent('user.login')).toMatchObject({ error: 'the challenge is not known, was used before or has expired' })

  // A page on another port of this machine may use the same passkey: what it signs names that page.
  const evil = createServer((_, response) => {
    response.setHeader('content-type', 'text/html')
    response.end('<title>evil</title>')
  }).listen(0, 'localhost')
  await once(evil, 'listening')
  await page.context().clearCookies()
  await page.goto(`${url}/web/account`)
  const form_token = (await page.locator('input[name=form_token]').first().inputValue()) ?? ''
  const form = new URLSearchParams({ flow: 'account:sign-in', form_token })
  const asked = await page.request.post(`${url}/web/passkeys/challenge`, { data: form.toString(), headers })
  const ceremony = await asked.json()
  await page.goto(`http://localhost:${portOf(evil)}/`)
  const stolen = await page.evaluate(`(async (publicKey) => {
    const decode = (text) => Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (sign) => sign.charCodeAt(0))
    return JSON.stringify(await navigator.credentials.get({ publicKey: { ...publicKey, challenge: decode(publicKey.challenge) } }))
  })(${JSON.stringify(ceremony.publicKey)})`)
  const passkey = new URLSearchParams({ form_token, next: '', sign_in: 'yes', passkey: String(stolen) })
  const refused = await page.request.post(`${url}/web/account`, { data: passkey.toString(), headers, maxRedirects: 0 })
  expect(refused.status()).toBe(401)
  expect(await lastEvent('user.login')).toMatchObject({
    user: 'eve',
    error: expect.stringContaining('Unexpected authentication response origin'),
  })
  evil.close()
})

test.skipIf(CHROMIUM === undefined)('who cancels, or whose finger does not fit, reads so and may try again', async () => {
  const { page, authenticator } = await signUp('finn')
  await page.goto(`${url}/web/account`)
  await authenticator.setUserVerified(false)
  await button(page, 'Sign in with a passkey').click()
  await page.getByRole('alert').filter({ hasText: 'No passkey was used' }).waitFor()
  await authenticator.setUserVerified(true)
  await button(page, 'Sign in with a passkey').click()
  await page.getByRole('heading', { name: 'Your account' }).waitFor()
})

test.skipIf(CHROMIUM === undefined)('passkeys are added, named and removed on the account page; the last way in is not', async () => {
  const { page, authenticator } = await signUp('gil')
  await page.goto(`${url}/web/account`)
  await button(page, 'Sign in with a passkey').click()
  await button(page, 'Remove passkey').click()
  expect(await page.locator('#error').textContent()).toBe('you have no password, and this is your last passkey: add another one first')
  // The same one twice is refused by the browser.
  await button(page, 'Add a passkey').click()
  await page.getByRole('alert').filter({ hasText: 'You have set up this one already' }).waitFor()
  await authenticator.clear()
  await page.getByLabel('Name of a new passkey').fill('yubikey')
  await page.keyboard.press('Enter')
  await button(page, 'Remove yubikey').waitFor()
  await button(page, 'Remove passkey').click()
  await button(page, 'Remove passkey').waitFor({ state: 'detached' })
  expect((await cluster.events({ type: 'mfa.delete' })).slice(-2)).toMatchObject([
    { code: 'T1007W', user: 'gil' },
    { code: 'T1007I', user: 'gil', mfa_device_name: 'passkey' },
  ])
  await button(page, 'Sign out').click()
  await button(page, 'Sign in with a passkey').click()
  await button(page, 'Remove yubikey').waitFor()
})

test.skipIf(CHROMIUM === undefined)(
  'where a passkey is required nothing else lets anybody in, and a key without a finger will do beside a password',
  async () => {
    await cluster.saveUser('hal', ['dev'])
    await prefer({ second_factors: ['webauthn'] })
    try {
      const { page } = await openPage(browser)
      await page.goto(`${url}/web/account`)
      await enterPassword(page, PASSWORD, 'hal')
      await button(page, 'Sign in').click()
      expect(await page.locator('#error').textContent()).toContain('this cluster requires a passkey and you have none')

      const other = await openPage(browser)
      await Authenticator.plugInto(other.page, { verifies: false })
      await other.page.goto(await linkOf('ida'))
      expect(await other.page.getByLabel('One-time code').count()).toBe(0)
      expect(await button(other.page, 'Save').count()).toBe(0)
      await enterPassword(other.page, PASSWORD)
      await button(other.page, 'Go on with a passkey as second factor').click()
      await other.page.getByText('Your password is set').waitFor()
      await other.page.goto(`${url}/web/account`)
      await enterPassword(other.page, PASSWORD, 'ida')
      await button(other.page, 'Sign in').click()
      await button(other.page, 'Use your passkey').click()
      await button(other.page, 'Remove passkey').click()
      expect(await other.page.locator('#error').textContent()).toContain('this is your last one')
    } finally {
      await prefer({ second_factor: 'optional' })
    }
  },
)

test.skipIf(CHROMIUM === undefined)('without script, and at an address that has no passkeys, everything else still works', async () => {
  await cluster.saveUser('jon', ['dev'])
  const { page, faults } = await openPage(browser, { javaScriptEnabled: false })
  await page.goto(`${url}/web/account`)
  expect(await page.getByRole('button').allTextContents()).toEqual(['Sign in'])
  await enterPassword(page, PASSWORD, 'jon')
  await button(page, 'Sign in').click()
  await page.getByRole('heading', { name: 'Your account' }).waitFor()
  expect(await button(page, 'Add a passkey').count()).toBe(0)
  const plain = await openPage(browser)
  await plain.page.goto(`${cluster.url}/web/account`)
  expect(await plain.page.getByRole('link').allTextContents()).toEqual([new URL(url).host])
  expect([...faults, ...plain.faults]).toEqual([])
})
