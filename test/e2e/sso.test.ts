import { afterAll, beforeAll, expect, test } from 'vitest'
import { deleteResource, getResource } from '../../src/api/resources.ts'
import { signInWithBrowser } from '../../src/client/login.ts'
import { establishTrust } from '../../src/client/trust.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { CLIENT, type IdentityProvider, startIdentityProvider } from '../fakes/identity-provider.ts'
import { OAuthFlow } from '../fakes/oauth-flow.ts'
import { PlainBrowser, type Page } from '../fakes/plain-browser.ts'
import { eventually } from '../wait.ts'

let cluster: Cluster
let idp: IdentityProvider

beforeAll(async () => {
  cluster = await startCluster()
  idp = await startIdentityProvider([`${cluster.url}/v1/webapi/oidc/callback`])
  await cluster.saveRole('dev', { allow: { app_labels: { env: 'test' }, mcp: { tools: ['*'] } } })
  await cluster.saveRole('ops', { allow: { app_labels: { team: '{{external.groups}}' }, mcp: { tools: ['*'] } } })
  await cluster.saveHttpApp('everything', 'http://127.0.0.1:9/mcp')
  await saveConnector('corp')
  idp.people.set('1', { email: 'ana@example.com', email_verified: true, groups: ['team-dev', 'others'] })
}, 60_000)
afterAll(async () => {
  await cluster?.close()
  await idp?.close()
})

async function saveConnector(name: string, spec: Record<string, unknown> = {}): Promise<void> {
  await cluster.save({
    kind: 'oidc',
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
  })
}

/** Through the identity provider and back; what the last page of ours is. */
async function through(browser: PlainBrowser, page: Page): Promise<Page> {
  if (!page.url.startsWith(idp.url))
    throw new Error(`not at the identity provider but at ${page.url} (${page.status}): ${page.text.slice(0, 2000)}`)
  const back = await new PlainBrowser().open(page.url)
  return browser.open(back.url)
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

function connectorLink({ text, url }: Page): URL {
  const href = /<a class="button[^"]*" href="([^"]+)"/.exec(text)?.[1]?.replaceAll('&amp;', '&')
  if (href === undefined) throw new Error(`no button at ${url}: ${text}`)
  return new URL(href, url)
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
  await saveConnector('brief')
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
  expect(Date.now() - startedAt).toBeLessThan(1000)
  await expect(cluster.admin(getResource, { kind: 'user', name: 'bob@example.com' })).rejects.toThrow('not found')
})

test('the account page takes the same way in', async () => {
  idp.person = '1'
  await saveConnector('corp')
  const browser = new PlainBrowser()
  const page = await browser.open(`${cluster.url}/web/account`)
  const account = await through(browser, await browser.open(connectorLink(page)))
  expect(account.text).toContain('act for you, <b>ana@example.com</b>')
})
