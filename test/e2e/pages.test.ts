import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import { TOTP } from 'otpauth'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { inviteUser } from '../../src/api/users.ts'
import { type Cluster, PASSWORD, startCluster } from '../cluster.ts'
import { OAuthFlow } from '../fakes/oauth-flow.ts'
import { bin, runProgram, startProgram, temporaryDirectory } from '../programs.ts'
import { eventually, within } from '../wait.ts'

const BROWSER = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path))
if (!BROWSER) console.warn('pages.test.ts is skipped: no Chromium in /usr/bin (Debian package chromium)')

let cluster: Cluster
let browser: Browser
let home: Awaited<ReturnType<typeof temporaryDirectory>>

beforeAll(async () => {
  if (!BROWSER) return
  home = await temporaryDirectory()
  cluster = await startCluster()
  await cluster.saveRole('dev', { allow: { app_labels: { env: 'test' }, mcp: { tools: ['*'] } } })
  const args = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync']
  browser = await chromium.launch({ executablePath: BROWSER, args })
}, 60_000)
afterAll(async () => {
  await browser?.close()
  await cluster?.close()
  await home?.dispose()
})

/** A page that fails the test on anything its content security policy had to stop. */
async function openPage(): Promise<{ page: Page; faults: string[] }> {
  const context = await browser.newContext({ ignoreHTTPSErrors: true })
  const page = await context.newPage()
  page.setDefaultTimeout(30_000)
  const faults: string[] = []
  page.on('pageerror', (error) => faults.push(error.message))
  page.on('console', (message) => message.type() === 'error' && faults.push(message.text()))
  return { page, faults }
}

test.skipIf(!BROWSER)(
  'a person signs up with a second factor, then signs tsh in through the browser',
  async () => {
    const { path } = await cluster.admin(inviteUser, { name: 'ana', roles: ['dev'] })
    const { page, faults } = await openPage()
    await page.goto(`${cluster.url}${path}`)
    await page.getByLabel('Password').fill(PASSWORD)
    await page.getByLabel('The same again').fill(`${PASSWORD}x`)
    await page.getByRole('button', { name: 'Save' }).click()
    expect(await page.getByRole('alert').textContent()).toMatch(/not the same|differ/)

    const secret = (await page.locator('code').first().textContent()) ?? ''
    const totp = new TOTP({ secret })
    await page.getByLabel('Password').fill(PASSWORD)
    await page.getByLabel('The same again').fill(PASSWORD)
    await page.getByLabel('One-time code').fill(totp.generate({ timestamp: Date.now() - 30_000 }))
    await page.getByRole('button', { name: 'Save' }).click()
    await page.getByText('Your password is set').waitFor()

    // The link works once.
    await page.goto(`${cluster.url}${path}`)
    expect(await page.getByText(/not valid|used|expired/).count()).toBeGreaterThan(0)

    const proxy = cluster.url.slice('http://'.length)
    const tsh = startProgram(bin('tsh'), ['login', `--proxy=${proxy}`, '--auth=browser', '--browser=none'], {
      env: { SALLYPORT_TSH_HOME: home.path },
    })
    const url = await eventually('the address of the page', () => /https?:\/\/\S+\/web\/login\S+/.exec(tsh.stderr())?.[0])
    await page.goto(url)
    await page.getByLabel('User name').fill('ana')
    await page.getByLabel('Password').fill('not the password at all')
    await page.getByLabel('One-time code').fill(totp.generate())
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByRole('alert').waitFor()
    await page.getByLabel('User name').fill('ana')
    await page.getByLabel('Password').fill(PASSWORD)
    await page.getByLabel('One-time code').fill(totp.generate())
    await page.getByRole('button', { name: 'Sign in' }).click()
    const ended = await within('the end of tsh login', tsh.ended)
    expect(ended).toMatchObject({ code: 0, stdout: expect.stringContaining('Logged in as:       ana') })
    const status = await runProgram(bin('tsh'), ['status', '--format=json'], { env: { SALLYPORT_TSH_HOME: home.path } })
    expect(JSON.parse(status.stdout)).toMatchObject({ active: { username: 'ana', roles: ['dev'] } })
    expect(faults.filter((fault) => !fault.includes('status of 4'))).toEqual([])
  },
  60_000,
)

test.skipIf(!BROWSER)(
  'a person signs up at the terminal',
  async () => {
    const { url } = await cluster.admin(inviteUser, { name: 'bob', roles: ['dev'] })
    const env = { SALLYPORT_TSH_HOME: home.path }
    const passwordFile = `${home.path}/password`
    const { writeFile } = await import('node:fs/promises')
    await writeFile(passwordFile, `${PASSWORD}\n`)
    const signup = await runProgram(bin('tsh'), ['signup', url, `--password-file=${passwordFile}`], { env })
    expect(signup).toMatchObject({ code: 0, stdout: expect.stringContaining('bob can sign in now') })
    const again = await runProgram(bin('tsh'), ['signup', url, `--password-file=${passwordFile}`], { env })
    expect(again.code).not.toBe(0)
    const proxy = cluster.url.slice('http://'.length)
    const login = await runProgram(
      bin('tsh'),
      ['login', `--proxy=${proxy}`, '--user=bob', '--auth=local', `--password-file=${passwordFile}`],
      { env },
    )
    expect(login).toMatchObject({ code: 0, stdout: expect.stringContaining('Logged in as:       bob') })
  },
  60_000,
)

test.skipIf(!BROWSER)(
  'a person lets an MCP client in, sees it and ends it, with the keyboard alone',
  async () => {
    await cluster.saveUser('cleo', ['dev'])
    const back = createServer((_, response) => void response.end('back at the client')).listen(0, '127.0.0.1')
    await once(back, 'listening')
    const address = back.address()
    const redirect_uri = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}/callback`
    const flow = new OAuthFlow(cluster)
    await flow.register({ client_name: 'Claude Code', redirect_uris: [redirect_uri] })
    const { page, faults } = await openPage()
    await page.goto(flow.authorizeUrl({ redirect_uri }).href)
    await page.locator('#user:focus').waitFor()
    await page.keyboard.type('cleo')
    await page.keyboard.press('Tab')
    await page.keyboard.type(PASSWORD)
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'Allow access?' }).waitFor()
    expect(await page.locator('main').textContent()).toContain('Claude Code asks to use MCP servers as you, cleo.')
    await page.getByRole('button', { name: 'Allow', exact: true }).focus()
    await page.keyboard.press('Enter')
    await page.getByText('back at the client').waitFor()
    const code = new URL(page.url()).searchParams.get('code') ?? ''
    expect(await flow.exchange(code, { redirect_uri })).toMatchObject({ status: 200 })

    await page.goto(`${cluster.url}/web/account`)
    await page.getByRole('button', { name: 'End access of Claude Code' }).click()
    await page.getByText('There are none').waitFor()
    expect(faults).toEqual([])
    back.close()
  },
  60_000,
)

test.skipIf(!BROWSER)('a page of another site can neither show nor send our forms', async () => {
  const flow = new OAuthFlow(cluster)
  await flow.register()
  const evil = createServer((_, response) => {
    response.setHeader('content-type', 'text/html')
    response.end(`<iframe src="${flow.authorizeUrl().href.replaceAll('&', '&amp;')}"></iframe>`)
  }).listen(0, 'localhost')
  await once(evil, 'listening')
  const address = evil.address()
  const { page, faults } = await openPage()
  await page.goto(`http://localhost:${typeof address === 'object' && address !== null ? address.port : 0}/`)
  await eventually('the refusal of the frame', () => faults.find((fault) => fault.includes('frame')))
  expect(await page.frames()[1]?.getByLabel('Password').count()).toBe(0)
  evil.close()
})

test.skipIf(!BROWSER)(
  'a person connects a device by its code',
  async () => {
    await cluster.saveUser('dora', ['dev'])
    const flow = new OAuthFlow(cluster)
    await flow.register({ client_name: 'Television', grant_types: ['urn:ietf:params:oauth:grant-type:device_code'], redirect_uris: [] })
    const body = new URLSearchParams({ client_id: flow.clientId, scope: 'mcp' })
    const started: unknown = await (await fetch(`${cluster.url}/oauth/device/start`, { method: 'POST', body })).json()
    const { verification_uri_complete: address, device_code } = { verification_uri_complete: '', device_code: '', ...Object(started) }
    const { page, faults } = await openPage()
    await page.goto(address)
    await page.getByRole('button', { name: 'Go on' }).click()
    await page.getByText('Television shows this code').waitFor()
    await page.getByRole('button', { name: 'Yes, connect it' }).click()
    await page.getByLabel('User name').fill('dora')
    await page.getByLabel('Password').fill(PASSWORD)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByRole('button', { name: 'Allow', exact: true }).click()
    await page.getByText('Your device is connected').waitFor()
    expect(await flow.token({ grant_type: 'urn:ietf:params:oauth:grant-type:device_code', device_code })).toMatchObject({ status: 200 })
    expect(faults).toEqual([])
  },
  60_000,
)
