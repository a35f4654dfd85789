import { existsSync } from 'node:fs'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Cluster, startCluster } from '../cluster.ts'
import { CLIENT, type IdentityProvider, startIdentityProvider } from '../fakes/identity-provider.ts'
import { OAuthFlow } from '../fakes/oauth-flow.ts'
import { bin, startProgram, temporaryDirectory } from '../programs.ts'
import { eventually, within } from '../wait.ts'

const BROWSER = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path))
if (!BROWSER) console.warn('sso-pages.test.ts is skipped: no Chromium in /usr/bin (Debian package chromium)')

let cluster: Cluster
let idp: IdentityProvider
let browser: Browser
let home: Awaited<ReturnType<typeof temporaryDirectory>>

beforeAll(async () => {
  if (!BROWSER) return
  home = await temporaryDirectory()
  cluster = await startCluster()
  idp = await startIdentityProvider([`${cluster.url}/v1/webapi/oidc/callback`])
  await cluster.saveRole('dev', { allow: { app_labels: { env: 'test' }, mcp: { tools: ['*'] } } })
  const claims_to_roles = [{ claim: 'groups', value: 'dev', roles: ['dev'] }]
  await cluster.save({
    kind: 'oidc',
    version: 'v3',
    metadata: { name: 'corp' },
    spec: { issuer_url: idp.url, ...CLIENT, display: 'Corp SSO', scope: ['email', 'groups'], claims_to_roles },
  })
  await cluster.save({
    kind: 'cluster_auth_preference',
    version: 'v2',
    metadata: { name: 'cluster-auth-preference' },
    spec: { type: 'oidc' },
  })
  idp.people.set('1', { email: 'ana@example.com', email_verified: true, groups: ['dev'] })
  const args = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync']
  browser = await chromium.launch({ executablePath: BROWSER, args })
}, 60_000)
afterAll(async () => {
  await browser?.close()
  await cluster?.close()
  await idp?.close()
  await home?.dispose()
})

/** A page that tells of anything its content security policy had to stop. */
async function openPage(): Promise<{ page: Page; faults: string[] }> {
  const page = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage()
  page.setDefaultTimeout(30_000)
  const faults: string[] = []
  page.on('pageerror', (error) => faults.push(error.message))
  page.on('console', (message) => message.type() === 'error' && faults.push(message.text()))
  return { page, faults }
}

function startLogin(...args: string[]) {
  const proxy = cluster.url.slice('http://'.length)
  const env = { SALLYPORT_TSH_HOME: home.path }
  return startProgram(bin('tsh'), ['login', `--proxy=${proxy}`, '--browser=none', ...args], { env })
}

test.skipIf(!BROWSER)(
  'tsh login leads to the identity provider; after a refusal there the person chooses, with the keyboard',
  async () => {
    const tsh = startLogin()
    const url = await eventually('the address of the page', () => /https?:\/\/\S+\/web\/login\S+/.exec(tsh.stderr())?.[0])
    const { page, faults } = await openPage()
    idp.person = undefined
    await page.goto(url)
    await page.getByRole('heading', { name: 'You are not signed in' }).waitFor()
    idp.person = '1'
    await page.getByRole('link', { name: 'Back to the sign-in page' }).click()
    await page.getByRole('link', { name: 'Sign in with Corp SSO' }).focus()
    await page.keyboard.press('Enter')
    const ended = await within('the end of tsh login', tsh.ended)
    expect(ended).toMatchObject({ code: 0, stdout: expect.stringContaining('Logged in as:       ana@example.com') })
    expect(faults.filter((fault) => !fault.includes('status of 4'))).toEqual([])
  },
  60_000,
)

test.skipIf(!BROWSER)(
  'an MCP client signs a person in by the button, and the page asks what it may do',
  async () => {
    idp.person = '1'
    const flow = new OAuthFlow(cluster)
    await flow.register({ client_name: 'Claude Code' })
    const { page, faults } = await openPage()
    await page.goto(flow.authorizeUrl().href)
    await page.getByRole('link', { name: 'Sign in with Corp SSO' }).click()
    await page.getByRole('heading', { name: 'Allow access?' }).waitFor()
    expect(await page.locator('main').textContent()).toContain('Claude Code asks to use MCP servers as you, ana@example.com.')
    const cookies = await page.context().cookies(cluster.url)
    expect(cookies.filter(({ name }) => name.includes('sallyport-sso'))).toEqual([])
    expect(faults).toEqual([])
  },
  60_000,
)
