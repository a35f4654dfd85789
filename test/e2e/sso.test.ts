import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { deleteResource, getResource } from '../../src/api/resources.ts'
import { getSsoTest, startSsoTest } from '../../src/api/sso.ts'
import { createApiClient } from '../../src/client/call.ts'
import { signInWithBrowser } from '../../src/client/login.ts'
import { establishTrust } from '../../src/client/trust.ts'
import { localAdministrator } from '../../src/services/auth/start.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { CLIENT, type IdentityProvider, startIdentityProvider } from '../fakes/identity-provider.ts'
import { OAuthFlow } from '../fakes/oauth-flow.ts'
import { PlainBrowser, type Page } from '../fakes/plain-browser.ts'
import { callbackAfter, connectorLink, through } from '../fakes/sso-browser.ts'
import { bin, runProgram, startProgram } from '../programs.ts'
import { AT_ONCE_MS, eventually, within } from '../wait.ts'

let cluster: Cluster
let idp: IdentityProvider

beforeAll(async () => {
  cluster = await startCluster()
  idp = await startIdentityProvider([`${cluster.url}/v1/webapi/oidc/callback`])
  await cluster.saveRole('dev', { allow: { app_labels: { env: 'test' }, mcp: { tools: ['*'] } } })
  await cluster.saveRole('ops', { allow: { app_labels: { team: '{{external.groups}}' }, mcp: { tools: ['*'] } } })
  await cluster.saveHttpApp('everything', 'http://127.0.0.1:9/mcp')
  await cluster.save(connector('corp'))
  idp.people.set('1', { email: 'ana@example.com', email_verified: true, groups: ['team-dev', 'others'] })
}, 60_000)
afterAll(async () => {
  await cluster?.close()
  await idp?.close()
})

function connector(name: string, spec: Record<string, unknown> = {}) {
  return {
    kind: 'oidc' as const,
    version: 'v3',
    metadata: { name },
    spec: {
      issuer_url: idp.url,
      ...CLIENT,
      display: `${name} & Co`,
      scope: ['email', 'groups'],
      claims_to_roles: [{ claim: 'groups', value: 'team-*', roles: ['$1', 'nobody-made-this'] }],
      ...spec,
    },
  }
}

/** `tsh login`, in which this browser opens the page. */
async function login(open: (browser: PlainBrowser, url: string) => Promise<Page>, connector?: string) {
  const [host = '', port = ''] = cluster.url.slice('http://'.length).split(':')
  const trusted = await establishTrust({ proxy: { host, port: Number(port) }, known: [], caPins: [], insecure: false })
  let ended: Promise<unknown> | undefined
  try {
    const signedIn = await signInWithBrowser(trusted, { connector, timeoutMs: 20_000 }, (url) => {
      const browser = new PlainBrowser()
      ended = open(browser, url.replace('https:', 'http:')).then(async (page) => {
        if (page.status !== 0) throw new Error(`ended at ${page.url} (${page.status}): ${page.text}`)
        await fetch(page.url)
      })
    })
    await ended
    return signedIn
  } finally {
    trusted.close()
  }
}

test('tsh login by the button of the page: roles and traits come from the identity provider', async () => {
  idp.person = '1'
  const { issued } = await login(async (browser, url) => {
    const page = await browser.open(url)
    expect(page.text).toContain('Sign in with corp &amp; Co')
    return through(browser, await browser.open(connectorLink(page)))
  })
  expect(issued).toMatchObject({ user: 'ana@example.com', roles: ['dev'] })
  const user = await cluster.admin(getResource, { kind: 'user', name: 'ana@example.com' })
  expect(user.spec).toMatchObject({
    roles: ['dev'],
    traits: { email: ['ana@example.com'], groups: ['team-dev', 'others'] },
    created_by: { connector: { type: 'oidc', id: 'corp', identity: '1' } },
  })
  expect(Date.parse(String(user.metadata['expires']))).toBeGreaterThanOrEqual(Date.parse(issued.expires) - 1000)
  expect(await cluster.events({ type: 'user.login' })).toMatchObject([
    { user: 'ana@example.com', success: true, method: 'oidc', connector: 'corp' },
  ])
})

test('tsh login --auth goes straight there, and groups that are gone are gone at the next sign-in', async () => {
  idp.person = '1'
  idp.people.set('1', { email: 'ana@example.com', email_verified: true, groups: ['team-ops'] })
  const { issued } = await login(async (browser, url) => through(browser, await browser.open(url)), 'corp')
  expect(issued).toMatchObject({ user: 'ana@example.com', roles: ['ops'] })
  idp.people.set('1', { email: 'ana@example.com', email_verified: true, groups: ['team-dev', 'others'] })
})

test('an MCP client signs a person in by the identity provider, and deleting the connector ends that at once', async () => {
  await cluster.save(connector('brief'))
  idp.person = '2'
  idp.people.set('2', { email: 'bob@example.com', email_verified: true, groups: ['team-dev'] })
  const flow = new OAuthFlow(cluster)
  await flow.register()
  const start = await flow.browser.open(flow.authorizeUrl())
  const link = connectorLink(start)
  expect(start.text.indexOf('brief &amp; Co')).toBeGreaterThan(0)
  const consent = await through(flow.browser, await flow.browser.open(link))
  expect(consent.text).toContain('as you, <b>bob@example.com</b>')
  const back = await flow.browser.submit(consent, { decision: 'allow' })
  const tokens = await flow.exchange(new URL(back.url).searchParams.get('code') ?? '')
  expect(tokens.status).toBe(200)
  expect((await flow.call('/mcp/apps/everything', tokens.access_token)).status).not.toBe(401)
  const startedAt = Date.now()
  await cluster.admin(deleteResource, { kind: 'oidc', name: link.searchParams.get('connector') ?? '' })
  await eventually('the end of the token', async () => (await flow.call('/mcp/apps/everything', tokens.access_token)).status === 401)
  expect(Date.now() - startedAt).toBeLessThan(AT_ONCE_MS)
  await expect(cluster.admin(getResource, { kind: 'user', name: 'bob@example.com' })).rejects.toThrow('not found')
})

test('the account page takes the same way in', async () => {
  idp.person = '1'
  await cluster.save(connector('corp'))
  const browser = new PlainBrowser()
  const page = await browser.open(`${cluster.url}/web/account`)
  const account = await through(browser, await browser.open(connectorLink(page)))
  expect(account.text).toContain('act for you, <b>ana@example.com</b>')
})

test('who wanted to see their accounts at MCP servers comes there, and nobody is led elsewhere', async () => {
  idp.person = '1'
  await cluster.save(connector('corp'))
  const after = async (next: string): Promise<string> => {
    const browser = new PlainBrowser()
    const page = await browser.open(`${cluster.url}/web/account?next=${encodeURIComponent(next)}`)
    return (await through(browser, await browser.open(connectorLink(page)))).url
  }
  expect(await after('/web/accounts')).toBe(`${cluster.url}/web/accounts`)
  expect(await after('https://evil.example/')).toBe(`${cluster.url}/web/account`)
  expect(await after('//evil.example/web/accounts')).toBe(`${cluster.url}/web/account`)
})

test('tctl sso test shows whom a connector would sign in, and saves nothing', async () => {
  idp.person = '3'
  idp.people.set('3', { email: 'cleo@example.com', email_verified: true, groups: ['team-dev'] })
  const yaml = await runProgram(bin('tctl'), [
    'sso',
    'configure',
    'oidc',
    '--name=tried',
    `--issuer-url=${idp.url}`,
    `--id=${CLIENT.client_id}`,
    `--secret=${CLIENT.client_secret}`,
    '--scope=email,groups',
    '--claims-to-roles=groups,team-*,$1,gone',
  ])
  const file = join(cluster.dataDirectory, 'tried.yaml')
  await writeFile(file, yaml.stdout)
  const tctl = startProgram(bin('tctl'), ['--data-dir', cluster.dataDirectory, 'sso', 'test', file, '--format=json'])
  const url = await eventually('the address of the page', () => /http:\/\/\S+\/web\/sso\/test\S+/.exec(tctl.stderr())?.[0])
  const browser = new PlainBrowser()
  const page = await through(browser, await browser.open(url))
  expect(page.text).toContain('You would be cleo@example.com, with the roles dev.')
  const ended = await within('the end of tctl sso test', tctl.ended)
  expect(ended.code).toBe(0)
  expect(JSON.parse(ended.stdout)).toEqual({
    user: 'cleo@example.com',
    roles: ['dev'],
    missing_roles: ['gone'],
    traits: { email: ['cleo@example.com'], groups: ['team-dev'] },
  })
  await expect(cluster.admin(getResource, { kind: 'user', name: 'cleo@example.com' })).rejects.toThrow('not found')
  await expect(cluster.admin(getResource, { kind: 'oidc', name: 'tried' })).rejects.toThrow('not found')
  expect(await cluster.events({ type: 'sso.test' })).toMatchObject([{ success: true, connector: 'tried', name: 'cleo@example.com' }])
})

test('tctl sso test of a connector that does not work says why, to its owner only', async () => {
  const { id, path } = await cluster.admin(startSsoTest, { kind: 'oidc', resource: connector('broken', { client_secret: 'wrong' }) })
  const browser = new PlainBrowser()
  const page = await through(browser, await browser.open(`${cluster.url}${path}`))
  expect(page.text).toContain('does not know this cluster by its client_id and client_secret')
  expect(await cluster.admin(getSsoTest, { id })).toMatchObject({ state: 'failed', error: expect.stringContaining('client_secret') })
  const admin = { ...localAdministrator(Date.now()), name: 'another' }
  await expect(createApiClient(cluster.running.auth.carrier(admin))(getSsoTest, { id })).rejects.toThrow('not known')
  const reader = { ...admin, kind: 'user' as const, roles: ['dev'] }
  const tried = createApiClient(cluster.running.auth.carrier(reader))(startSsoTest, { kind: 'oidc', resource: connector('x') })
  await expect(tried).rejects.toThrow(/oidc/)
})

test('of two that come back with one answer, one gets in', async () => {
  idp.person = '1'
  const browser = new PlainBrowser()
  const page = await browser.open(`${cluster.url}/web/account`)
  const callback = await callbackAfter(await browser.open(connectorLink(page, 'corp')))
  const pages = await Promise.all(Array.from({ length: 5 }, () => browser.open(callback)))
  expect(pages.filter(({ text }) => text.includes('You are not signed in'))).toHaveLength(4)
})

test('an identity provider that is out of reach is said on the sign-in page', async () => {
  await cluster.save(connector('away', { issuer_url: 'http://127.0.0.1:9' }))
  const page = await new PlainBrowser().open(`${cluster.url}/web/account/sso?connector=away`)
  expect(page.status).toBe(503)
  expect(page.text).toContain('the identity provider at http://127.0.0.1:9 cannot be reached')
  expect(page.text).toContain('name="password"')
})
