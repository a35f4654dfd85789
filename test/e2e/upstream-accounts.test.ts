import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { deleteUpstreamAccount, listUpstreamAccounts } from '../../src/api/upstream-accounts.ts'
import { type Cluster, PASSWORD, startCluster } from '../cluster.ts'
import { type OAuthUpstream, startOAuthUpstream } from '../fakes/oauth-upstream.ts'
import { type Page, PlainBrowser } from '../fakes/plain-browser.ts'
import { askHttp } from '../fakes/raw-http.ts'
import { headersOf } from '../fakes/raw-mcp.ts'
import { bin, runProgram, startProgram } from '../programs.ts'
import { eventually } from '../wait.ts'

// MCP servers at which each caller has an account of their own.

let cluster: Cluster
let upstream: OAuthUpstream
const tokens: Record<string, string> = {}

beforeAll(async () => {
  upstream = await startOAuthUpstream()
  cluster = await startCluster({ file: { auth_service: { cluster_name: 'test', oauth: { loopback_documents: 'yes' } } } })
  await cluster.saveRole('dev', { allow: { app_labels: { env: 'dev' }, mcp: { tools: ['*'] } } })
  for (const user of ['ana', 'bob']) {
    await cluster.saveUser(user, ['dev'])
    tokens[user] = await cluster.tokenOf(user)
  }
  await saveApp('crm')
})
afterAll(async () => {
  await cluster.close()
  await upstream.close()
})

async function saveApp(name: string, oauth: Record<string, unknown> = {}, url = upstream.url): Promise<void> {
  const spec = { uri: `mcp+${url}`, mcp: { oauth: { mode: 'per_user', ...oauth } } }
  await cluster.save({ kind: 'app', version: 'v3', metadata: { name, labels: { env: 'dev' } }, spec })
  await cluster.running.agent?.announced()
}

async function connect(user: string, capabilities: Record<string, unknown> = {}, name = 'crm'): Promise<Client> {
  const client = new Client({ name: 'test', version: '1' }, { capabilities })
  const headers = { authorization: `Bearer ${tokens[user]}` }
  await client.connect(new StreamableHTTPClientTransport(cluster.mcpUrl(name), { requestInit: { headers } }))
  return client
}

const call = (client: Client) => client.callTool({ name: 'echo', arguments: { text: 'hello' } })
const failureOf = (work: Promise<unknown>) => work.then(() => 'it worked', String)

/** At our page, signed in; the page of the server. */
async function open(browser: PlainBrowser, user: string, path = '/web/accounts/crm'): Promise<Page> {
  const page = await browser.open(new URL(path, cluster.url))
  return page.text.includes('name="password"') ? await browser.submit(page, { user, password: PASSWORD }) : page
}

/** Up to the address of the authorization server. */
async function begin(browser: PlainBrowser, user: string, path?: string): Promise<URL> {
  const left = await browser.submit(await open(browser, user, path), { action: 'begin' })
  const [, target = ''] = /<a href="([^"]+)" rel="noreferrer">/.exec(left.text) ?? []
  if (target === '') throw new Error(left.text)
  return new URL(target.replaceAll('&amp;', '&'))
}

/** The address at which the authorization server sends the browser back. */
const agree = async (target: URL): Promise<URL> => new URL((await new PlainBrowser().open(target)).url)

async function signIn(user: string): Promise<Page> {
  const browser = new PlainBrowser()
  return await browser.open(await agree(await begin(browser, user)))
}

test('without an account a client is told where to sign in, and with one it works', async () => {
  const failure = await failureOf(connect('ana'))
  expect(failure).toContain(`Sign in at ${cluster.url}/web/accounts/crm`)
  expect(upstream.seen).toEqual([])

  expect((await signIn('ana')).text).toContain('are signed in to <b>crm</b>')
  const client = await connect('ana')
  expect(JSON.stringify((await call(client)).content)).toContain('hello')
  expect(new Set(upstream.seen).size).toBe(1)

  // Somebody else's account is nobody else's.
  expect(await failureOf(connect('bob'))).toContain('needs your own account there')
  await client.close()
})

test('a session goes on after its account ended and came back, and says where to sign in meanwhile', async () => {
  await signIn('ana')
  const plain = await connect('ana')
  const asking = await connect('ana', { elicitation: { url: {} } })
  await Promise.all([call(plain), call(asking)])
  const { items } = await cluster.admin(listUpstreamAccounts, { user: '*' })
  expect(items).toMatchObject([{ user: 'ana', server: 'crm', issuer: upstream.issuer }])
  await cluster.admin(deleteUpstreamAccount, { id: items[0]?.id ?? '' })

  const told = await eventually('the call says so', async () => {
    const result = await call(plain)
    return result.isError === true ? result : undefined
  })
  expect(JSON.stringify(told.content)).toContain(`Sign in at ${cluster.url}/web/accounts/crm and try again`)
  const error = await call(asking).then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  expect(error).toMatchObject({ code: -32042, data: { elicitations: [{ mode: 'url', url: `${cluster.url}/web/accounts/crm` }] } })

  await signIn('ana')
  expect((await call(plain)).isError).not.toBe(true)
  expect((await call(asking)).isError).not.toBe(true)
  await plain.close()
  await asking.close()
})

test('a client of 2026-07-28 is asked to open the address, and without that is told by the result', async () => {
  const ask = async (capabilities: Record<string, unknown>, more: Record<string, unknown> = {}) => {
    const meta = {
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientInfo': { name: 'c', version: '1' },
      'io.modelcontextprotocol/clientCapabilities': capabilities,
    }
    const params = { name: 'echo', arguments: { text: 'hello' }, ...more, _meta: meta }
    const headers = headersOf(tokens['bob'] ?? '', { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'echo' })
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params })
    return (await askHttp(cluster.mcpUrl('crm'), { headers, body })).text
  }
  const address = `${cluster.url}/web/accounts/crm`
  expect(JSON.parse(await ask({ elicitation: { url: {} } }))).toMatchObject({
    result: {
      resultType: 'input_required',
      inputRequests: { sallyport_account: { method: 'elicitation/create', params: { mode: 'url', url: address } } },
    },
  })
  expect(JSON.parse(await ask({}))).toMatchObject({ result: { resultType: 'complete', isError: true } })
  await signIn('bob')
  const answered = { inputResponses: { sallyport_account: { action: 'accept' } } }
  expect(await ask({ elicitation: { url: {} } }, answered)).toContain('hello')
  const { items } = await cluster.admin(listUpstreamAccounts, { user: 'bob' })
  await cluster.admin(deleteUpstreamAccount, { id: items[0]?.id ?? '' })
})

test('tsh waits for the sign-in in the browser, and forgets the account again', async () => {
  const file = await cluster.identityFileOf('bob')
  const args = ['-i', file, '--proxy', new URL(cluster.url).host]
  const login = startProgram(bin('tsh'), [...args, 'mcp', 'login', '--browser=none', 'crm'], {})
  await eventually('the address is told', () => Promise.resolve(login.stderr().includes('/web/accounts/crm') || undefined))
  await signIn('bob')
  await login.ended
  expect(login.stdout()).toBe('You are signed in to MCP server "crm".\n')
  expect((await cluster.admin(listUpstreamAccounts, { user: 'bob' })).items).toHaveLength(1)
  const logout = await runProgram(bin('tsh'), [...args, 'mcp', 'logout', 'crm'])
  expect(logout.stdout).toBe('Your account at MCP server "crm" has been forgotten.\n')
  expect((await runProgram(bin('tsh'), [...args, 'mcp', 'logout', 'crm'])).code).not.toBe(0)
})

test('a token that the server refuses is renewed, once for all who call', async () => {
  await signIn('ana')
  const client = await connect('ana')
  await call(client)
  upstream.forget()
  const asked = upstream.asked.length
  const results = await Promise.all([call(client), call(client), call(client)])
  expect(results.every(({ isError }) => isError !== true)).toBe(true)
  expect(upstream.asked.length - asked).toBe(1)
  await client.close()
})

test('a token near its end is renewed; a server that is ill is told from one that has revoked the account', async () => {
  const short = await startOAuthUpstream({ tokenSeconds: 45 })
  try {
    await saveApp('short', {}, short.url)
    const browser = new PlainBrowser()
    await browser.open(await agree(await begin(browser, 'ana', '/web/accounts/short')))
    const client = await connect('ana', {}, 'short')
    await Promise.all([call(client), call(client), call(client)])
    expect(new Set(short.seen).size).toBeGreaterThan(1)
    short.broken = { status: 503, body: {} }
    expect((await call(client)).isError).not.toBe(true)
    short.broken = { status: 400, body: { error: 'invalid_grant' } }
    expect(JSON.stringify((await call(client)).content)).toContain(`${cluster.url}/web/accounts/short`)
    const [event] = await cluster.events({ type: 'upstream_account.refresh' })
    expect(event).toMatchObject({ server: 'short', success: false, error: expect.stringContaining('invalid_grant') })
    await client.close()
  } finally {
    await short.close()
  }
})

test('an answer counts once, for the person who began, at the server it was begun for, from the issuer that was asked', async () => {
  await saveApp('other')
  const browser = new PlainBrowser()
  const back = await agree(await begin(browser, 'bob'))
  // In the browser of somebody else.
  const stranger = new PlainBrowser()
  await open(stranger, 'ana')
  expect((await stranger.open(back)).text).toContain('begun by somebody else')
  expect((await browser.open(back)).text).toContain('was used already')

  const mixed = await agree(await begin(browser, 'bob'))
  mixed.searchParams.set('iss', 'https://evil.example')
  expect((await browser.open(mixed)).text).toContain('not from the authorization server that was asked')
  const silent = await agree(await begin(browser, 'bob'))
  silent.searchParams.delete('iss')
  expect((await browser.open(silent)).status).toBe(403)
  const elsewhere = await agree(await begin(browser, 'bob'))
  elsewhere.pathname = '/web/accounts/other/callback'
  expect((await browser.open(elsewhere)).text).toContain('for another MCP server')
  const lying = await agree(await begin(browser, 'bob'))
  lying.searchParams.set('error', '<script>alert(1)</script>')
  expect((await browser.open(lying)).text).not.toContain('<script>')
  expect((await new PlainBrowser().open(back)).status).toBe(401)
  const refused = await cluster.events({ type: 'upstream_account.connect' })
  expect(refused.filter(({ success }) => success === false).length).toBeGreaterThanOrEqual(5)
  expect((await cluster.admin(listUpstreamAccounts, { user: 'bob' })).items).toEqual([])
})

test('a form from elsewhere begins nothing, and a sign-in leads to no page of others', async () => {
  const browser = new PlainBrowser()
  const page = await open(browser, 'bob')
  expect((await browser.submit(page, { action: 'begin', form_token: 'x' })).status).toBe(403)
  const other = new PlainBrowser()
  const first = await other.open(new URL('/web/account?next=https://evil.example/', cluster.url))
  expect((await other.submit(first, { user: 'bob', password: PASSWORD })).url).toBe(`${cluster.url}/web/account`)
  expect((await open(browser, 'bob', '/web/accounts/nothing')).status).toBe(404)
  expect(page.headers.get('content-security-policy')).toContain("frame-ancestors 'none'")
})

test('metadata of another resource, and authorization servers in our network, are not believed', async () => {
  const browser = new PlainBrowser()
  const beginNow = async () => (await browser.submit(await open(browser, 'bob'), { action: 'begin' })).text
  upstream.document = { resource: 'https://other.example/mcp' }
  expect(await beginNow()).toContain('describes another resource')
  upstream.document = { authorization_servers: ['https://10.0.0.1'] }
  expect(await beginNow()).toContain('documents are not fetched from https://10.0.0.1')
  upstream.document = { authorization_servers: [`${upstream.issuer}/`] }
  expect(await beginNow()).toContain('has no metadata that are its own')
  upstream.document = {}
})

test('tokens stay where they belong', async () => {
  await signIn('ana')
  const client = await connect('ana')
  await call(client)
  const token = upstream.seen.at(-1)?.replace('Bearer ', '') ?? ''
  expect(token.length).toBeGreaterThan(20)
  expect(JSON.stringify(await cluster.events()).includes(token)).toBe(false)
  expect(JSON.stringify(await cluster.admin(listUpstreamAccounts, { user: '*' })).includes(token)).toBe(false)
  // The server moves: what was given for the old address is not sent to the new one.
  const moved = await startOAuthUpstream()
  try {
    await saveApp('crm', {}, moved.url)
    expect(await failureOf(connect('ana'))).toContain('needs your own account there')
    expect(moved.seen).toEqual([])
  } finally {
    await saveApp('crm')
    await moved.close()
  }
  await client.close().catch(() => undefined)
})
