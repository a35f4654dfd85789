import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { decodeJwt } from 'jose'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type AuditEvent, type Cluster, PASSWORD, startCluster } from '../cluster.ts'
import { type EchoHttp, startEchoHttp } from '../fakes/echo-http.ts'
import { OAuthFlow } from '../fakes/oauth-flow.ts'
import { PlainBrowser } from '../fakes/plain-browser.ts'
import { askHttp } from '../fakes/raw-http.ts'
import { headersOf, openSession } from '../fakes/raw-mcp.ts'

// Each attack is refused, and whoever reads the audit log sees that somebody tried.

const TOOLS = '/mcp/apps/tools'

let cluster: Cluster
let upstream: EchoHttp
/** How many events there were before the attack. */
let before: number

beforeAll(async () => {
  cluster = await startCluster()
  upstream = await startEchoHttp()
  await cluster.saveHttpApp('tools', upstream.url)
  await cluster.saveRole('all', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } })
  for (const name of ['ana', 'eve']) await cluster.saveUser(name, ['all'])
}, 60_000)
afterAll(async () => {
  await cluster.close()
  await upstream.close()
})
beforeEach(async () => {
  before = (await cluster.events()).length
})

/** What the log has of it, of one type. */
async function written(type: string): Promise<AuditEvent[]> {
  return (await cluster.events()).slice(before).filter(({ event }) => event === type)
}

/** A code that ana allowed one client. */
async function codeOf(flow: OAuthFlow): Promise<string> {
  if (flow.clientId === '') await flow.register()
  return await flow.code('ana', { resource: cluster.url + TOOLS })
}

test('a code that was caught by another program', async () => {
  const code = await codeOf(new OAuthFlow(cluster))
  const thief = new OAuthFlow(cluster)
  await thief.register()
  expect(await thief.exchange(code)).toMatchObject({ status: 400, error: 'invalid_grant' })
  expect((await written('oauth.token.issue')).at(-1)).toMatchObject({
    success: false,
    client_id: thief.clientId,
    grant_type: 'authorization_code',
  })
})

test('a code without what only its client knows', async () => {
  const flow = new OAuthFlow(cluster)
  expect((await flow.exchange(await codeOf(flow), { code_verifier: 'x'.repeat(43) })).status).toBe(400)
  expect((await written('oauth.token.issue')).at(-1)).toMatchObject({ success: false, client_id: flow.clientId })
})

test('a code put into the sign-in of somebody else, at another address', async () => {
  const flow = new OAuthFlow(cluster)
  expect((await flow.exchange(await codeOf(flow), { redirect_uri: 'http://127.0.0.1:7777/other' })).status).toBe(400)
  expect((await written('oauth.token.issue')).at(-1)).toMatchObject({ success: false, client_id: flow.clientId })
})

test('a code and a refresh token that come twice', async () => {
  const flow = new OAuthFlow(cluster)
  const code = await codeOf(flow)
  const tokens = await flow.exchange(code)
  expect((await flow.exchange(code)).status).toBe(400)
  expect((await flow.refresh(tokens.refresh_token)).status).toBe(400)
  expect((await written('oauth.token.issue')).map(({ success, grant_type }) => [success, grant_type])).toEqual([
    [true, 'authorization_code'],
    [false, 'authorization_code'],
    [false, 'refresh_token'],
  ])
  expect(await written('oauth.grant.revoke')).toMatchObject([
    { client_id: flow.clientId, reason: 'a code or refresh token was used twice' },
  ])
})

test('a token of another endpoint, and one of another audience', async () => {
  const flow = new OAuthFlow(cluster)
  const { access_token } = await flow.exchange(await codeOf(flow))
  expect((await flow.call('/mcp', access_token)).status).toBe(401)
  expect((await flow.call(TOOLS, `${access_token.slice(0, -1)}x`)).status).toBe(401)
  expect(await written('oauth.token.use.failure')).toMatchObject([
    { resource: '/mcp', error: expect.stringContaining('is for another endpoint') },
    { resource: TOOLS, error: expect.stringContaining('is not valid') },
  ])
  const elsewhere = await flow.browser.open(flow.authorizeUrl({ resource: 'https://evil.example.com/mcp' }))
  expect(elsewhere.url).toContain('error=invalid_target')
  expect(await written('oauth.authorize.failure')).toMatchObject([{ resource: 'https://evil.example.com/mcp' }])
})

test.each([
  ['https://evil.example.com/callback', 'https://evil.example.com/callback'],
  ['http://127.0.0.1:7777/callback/../x', 'http://127.0.0.1:7777/callback/../x'],
  // What could be a password is not written down.
  ['http://127.0.0.1:7777@evil.example.com/callback', 'http://127.0.0.1:<REDACTED>@evil.example.com/callback'],
  ['javascript:alert(1)', 'javascript:alert(1)'],
])('an answer to be sent to %s', async (redirect_uri, shown) => {
  const flow = new OAuthFlow(cluster)
  await flow.register()
  expect(new URL((await flow.browser.open(flow.authorizeUrl({ redirect_uri }))).url).origin).toBe(cluster.url)
  expect(await written('oauth.authorize.failure')).toMatchObject([{ client_id: flow.clientId, success: false, redirect_uris: [shown] }])
})

test('a consent that another site, another browser or a form of nobody sends', async () => {
  const flow = new OAuthFlow(cluster)
  await flow.register()
  const page = await flow.browser.open(flow.authorizeUrl({ resource: cluster.url + TOOLS }))
  const consent = await flow.browser.submit(page, { user: 'ana', password: PASSWORD })
  const [, genuine = ''] = /name="form_token" value="([^"]+)"/.exec(consent.text) ?? []
  const { pathname } = new URL(consent.url)
  const send = async (browser: PlainBrowser, origin: string, form: Record<string, string>) =>
    (await browser.open(consent.url, { method: 'POST', body: new URLSearchParams({ decision: 'allow', ...form }), headers: { origin } }))
      .status
  expect(await send(flow.browser, 'https://evil.example.com', { form_token: genuine })).toBe(403)
  expect(await send(flow.browser, 'null', { form_token: genuine })).toBe(403)
  expect(await send(flow.browser, cluster.url, {})).toBe(403)
  expect(await send(new PlainBrowser(), cluster.url, { form_token: genuine })).toBe(404)
  expect(await written('web.request.denied')).toMatchObject([
    { code: 'SPWEB001W', method: 'POST', path: pathname, error: expect.stringContaining('pages of this Origin') },
    { path: pathname, error: expect.stringContaining('pages of this Origin') },
    { path: pathname, error: expect.stringContaining('not from a page of this cluster') },
    { path: pathname, error: expect.stringContaining('another browser') },
  ])
  expect(await written('oauth.grant.create')).toEqual([])
})

test('a name that was bound to our address', async () => {
  const answer = await askHttp(new URL('/web/login', cluster.url), { method: 'GET', headers: { host: 'rebound.evil.example' } })
  expect(answer.status).toBe(403)
  expect(await written('web.request.denied')).toMatchObject([{ method: 'GET', path: '/web/login', error: expect.stringContaining('Host') }])
  const page = { headers: { ...headersOf(await cluster.tokenOf('ana')), origin: 'https://evil.example.com' }, body: '{}' }
  expect((await askHttp(new URL(TOOLS, cluster.url), page)).status).toBe(403)
  expect((await written('web.request.denied')).at(-1)).toMatchObject({ method: 'POST', path: TOOLS })
})

test('the MCP session of somebody else', async () => {
  const url = new URL(TOOLS, cluster.url)
  const session = await openSession(url, await cluster.tokenOf('ana'))
  const headers = headersOf(await cluster.tokenOf('eve'), { 'mcp-session-id': session })
  const { status } = await askHttp(url, { headers, body: '{"jsonrpc":"2.0","id":1,"method":"tools/list"}' })
  expect(status).toBe(404)
  const [event] = await cluster.eventsOnceThere({ type: 'mcp.session.request', user: 'eve' }, 1)
  expect(event).toMatchObject({ server: 'tools', success: false, error: expect.stringContaining('unknown MCP session') })
})

test('headers in which a client says who it is do not arrive; what the cluster says does', async () => {
  const forged = {
    'teleport-jwt-assertion': 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0.',
    'x-forwarded-user': 'root',
    'x-email': 'root@example.com',
    'sallyport-proof': 'x',
    'sallyport-endpoint': '/mcp',
    'sallyport-assertion': 'x',
  }
  const client = new Client({ name: 'forging', version: '1' })
  const headers = { ...forged, authorization: `Bearer ${await cluster.tokenOf('eve')}` }
  await client.connect(new StreamableHTTPClientTransport(new URL(TOOLS, cluster.url), { requestInit: { headers } }))
  await client.callTool({ name: 'echo', arguments: { text: 'x' } })
  await client.close()
  const arrived = upstream.seen.at(-1)?.headers ?? {}
  expect(decodeJwt(String(arrived['teleport-jwt-assertion']))).toMatchObject({ sub: 'eve', iss: 'test' })
  for (const name of ['x-forwarded-user', 'x-email', 'sallyport-proof', 'sallyport-endpoint', 'sallyport-assertion', 'authorization'])
    expect([name, arrived[name]]).toEqual([name, undefined])
})
