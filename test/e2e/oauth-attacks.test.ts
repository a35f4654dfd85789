import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { deleteOAuthGrant, listOAuthGrants } from '../../src/api/oauth-grants.ts'
import { deleteResource } from '../../src/api/resources.ts'
import { resetUser } from '../../src/api/users.ts'
import { findEverything } from '../../src/cli/server/demo.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { OAuthFlow, REDIRECT } from '../fakes/oauth-flow.ts'
import { PlainBrowser } from '../fakes/plain-browser.ts'
import { AT_ONCE_MS, eventually } from '../wait.ts'

// What somebody could try against sign-in by OAuth: each try is refused, and what it means for others is held.

let cluster: Cluster

beforeAll(async () => {
  cluster = await startCluster()
  await cluster.saveStdioApp('everything', process.execPath, [findEverything(), 'stdio'])
  await cluster.saveStdioApp('other', process.execPath, [findEverything(), 'stdio'])
  await cluster.saveRole('all', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } })
  for (const name of ['ana', 'bob', 'eve', 'zoe', 'kim', 'lou', 'max']) await cluster.saveUser(name, ['all'])
}, 60_000)
afterAll(() => cluster.close())

const EVERYTHING = '/mcp/apps/everything'

describe('tokens', () => {
  it('are good at their endpoint only, and only in the header', async () => {
    const flow = new OAuthFlow(cluster)
    const { access_token, expires_in } = await flow.signIn('ana')
    expect(expires_in).toBeLessThanOrEqual(900)
    expect((await flow.call(EVERYTHING, access_token)).status).toBe(200)
    for (const path of ['/mcp', '/mcp/apps/other', '/mcp/sets/x']) {
      const { status, challenge } = await flow.call(path, access_token)
      expect([path, status]).toEqual([path, 401])
      expect(challenge).toBe(
        `Bearer realm="sallyport", error="invalid_token", resource_metadata="${cluster.url}/.well-known/oauth-protected-resource${path}", scope="mcp"`,
      )
    }
    expect((await flow.call(`${EVERYTHING}?access_token=${access_token}`, undefined)).status).toBe(401)
    // Nor at the API, where it could make itself into something that lasts.
    for (const path of ['/v1/whoami', '/v1/api-tokens', '/v1/resources/role']) {
      const response = await fetch(cluster.url + path, { headers: { authorization: `Bearer ${access_token}` } })
      expect([path, response.status]).toEqual([path, 401])
    }
    expect(await cluster.events({ type: 'oauth.token.use.failure' })).not.toEqual([])
  })

  it('for all servers are not good at one of them', async () => {
    const flow = new OAuthFlow(cluster)
    const { access_token } = await flow.signIn('ana', { resource: `${cluster.url}/mcp` })
    expect((await flow.call('/mcp', access_token)).status).toBe(200)
    expect((await flow.call(EVERYTHING, access_token)).status).toBe(401)
  })

  it('without a scope for MCP open nothing, and say which one is needed', async () => {
    const flow = new OAuthFlow(cluster)
    await flow.register()
    const { access_token, scope } = await flow.signIn('ana', { scope: 'mcp:server:other' })
    expect(scope).toBe('mcp:server:other')
    const { status, challenge } = await flow.call(EVERYTHING, access_token)
    expect(status).toBe(403)
    expect(challenge).toBe(
      `Bearer realm="sallyport", error="insufficient_scope", resource_metadata="${cluster.url}/.well-known/oauth-protected-resource${EVERYTHING}", scope="mcp"`,
    )
  })

  it('with the scope of one server show that one only among all', async () => {
    const flow = new OAuthFlow(cluster)
    const { access_token } = await flow.signIn('ana', { resource: `${cluster.url}/mcp`, scope: 'mcp:server:other' })
    const { Client, StreamableHTTPClientTransport } = await import('@modelcontextprotocol/client')
    const client = new Client({ name: 'test', version: '1' })
    await client.connect(
      new StreamableHTTPClientTransport(new URL('/mcp', cluster.url), {
        requestInit: { headers: { authorization: `Bearer ${access_token}` } },
      }),
    )
    const names = (await client.listTools()).tools.map(({ name }) => name)
    await client.close()
    expect(names).toContain('other_echo')
    expect(names.filter((name) => !name.startsWith('other_'))).toEqual([])
  })
})

describe('refresh tokens', () => {
  it('are replaced with each use; one that comes again ends the grant and its live sessions', async () => {
    const flow = new OAuthFlow(cluster)
    const first = await flow.signIn('ana')
    const second = await flow.refresh(first.refresh_token)
    expect(second).toMatchObject({ status: 200, scope: 'mcp' })
    expect((await flow.call(EVERYTHING, second.access_token)).status).toBe(200)
    expect(await flow.refresh(first.refresh_token)).toMatchObject({ status: 400, error: 'invalid_grant' })
    expect((await flow.call(EVERYTHING, second.access_token)).status).toBe(401)
    expect(await flow.refresh(second.refresh_token)).toMatchObject({ status: 400, error: 'invalid_grant' })
    const [ended] = (await cluster.events({ type: 'oauth.grant.revoke' })).filter(({ client_id }) => client_id === flow.clientId)
    expect(ended).toMatchObject({ user: 'ana', reason: 'a code or refresh token was used twice' })
    const failed = (await cluster.events({ type: 'oauth.token.issue' })).filter(({ success }) => success === false)
    expect(failed.at(0)).toMatchObject({
      user: 'ana',
      client_id: flow.clientId,
      grant_type: 'refresh_token',
      error: expect.stringContaining('invalid_grant'),
    })
  })

  it('are worth one set of tokens, however many ask at once', async () => {
    const flow = new OAuthFlow(cluster)
    const { refresh_token } = await flow.signIn('ana')
    const answers = await Promise.all(Array.from({ length: 8 }, () => flow.refresh(refresh_token)))
    expect(answers.filter(({ status }) => status === 200).length).toBeLessThanOrEqual(1)
    for (const { access_token, status } of answers) if (status === 200) expect((await flow.call(EVERYTHING, access_token)).status).toBe(401)
  })

  it('of one client are nothing to another', async () => {
    const flow = new OAuthFlow(cluster)
    const { refresh_token } = await flow.signIn('ana')
    const other = new OAuthFlow(cluster)
    await other.register()
    expect(await other.refresh(refresh_token)).toMatchObject({ status: 400, error: 'invalid_grant' })
    expect((await flow.refresh(refresh_token)).status).toBe(200)
  })
})

describe('codes', () => {
  it.each([
    ['the wrong verifier', { code_verifier: 'another-verifier-another-verifier-another-verifier' }],
    ['no verifier', { code_verifier: null }],
    ['another redirect', { redirect_uri: 'http://127.0.0.1:7778/callback' }],
    ['another resource', { resource: 'RESOURCE' }],
  ])('are refused with %s', async (_, changes: Record<string, string | null>) => {
    const flow = new OAuthFlow(cluster)
    await flow.register()
    const sent = changes['resource'] === undefined ? changes : { resource: `${cluster.url}/mcp/apps/other` }
    expect((await flow.exchange(await flow.code('ana'), sent)).status).toBe(400)
  })

  it('are worth one token; a second use ends what came of the first', async () => {
    const flow = new OAuthFlow(cluster)
    await flow.register()
    const code = await flow.code('ana')
    const tokens = await flow.exchange(code)
    expect((await flow.call(EVERYTHING, tokens.access_token)).status).toBe(200)
    expect(await flow.exchange(code)).toMatchObject({ status: 400, error: 'invalid_grant' })
    expect((await flow.call(EVERYTHING, tokens.access_token)).status).toBe(401)
  })

  it('that are caught by another client are nothing to it', async () => {
    const flow = new OAuthFlow(cluster)
    await flow.register()
    const code = await flow.code('ana')
    const thief = new OAuthFlow(cluster)
    await thief.register()
    expect(await thief.exchange(code)).toMatchObject({ status: 400, error: 'invalid_grant' })
  })

  it('bring an ID token for the account where openid is asked for', async () => {
    const { id_token } = await new OAuthFlow(cluster).signIn('ana', { scope: 'openid mcp' })
    const [header, payload] = String(id_token)
      .split('.')
      .slice(0, 2)
      .map((part): unknown => JSON.parse(Buffer.from(part, 'base64url').toString()))
    expect(header).toMatchObject({ alg: 'ES256' })
    expect(payload).toEqual({
      sub: expect.stringMatching(/^[0-9a-f]{32}$/),
      aud: expect.any(String),
      iss: cluster.url,
      iat: expect.any(Number),
      exp: expect.any(Number),
    })
  })

  it('come with the issuer, as refusals do', async () => {
    const flow = new OAuthFlow(cluster)
    await flow.register()
    const back = await flow.browser.allow(flow.authorizeUrl(), 'ana')
    expect([back.searchParams.get('iss'), back.searchParams.get('state')]).toEqual([cluster.url, 'a state'])
    const page = await flow.browser.open(flow.authorizeUrl())
    const refused = new URL((await flow.browser.submit(page, { decision: 'deny' })).url)
    expect(Object.fromEntries(refused.searchParams)).toMatchObject({ error: 'access_denied', iss: cluster.url, state: 'a state' })
    const events = await cluster.events({ type: 'oauth.grant.create' })
    expect(events.at(-1)).toMatchObject({ user: 'ana', success: false, client_id: flow.clientId })
  })
})

describe('requests for authorization', () => {
  it.each([
    ['no PKCE', { code_challenge: null, code_challenge_method: null }],
    ['plain PKCE', { code_challenge_method: 'plain' }],
    ['the implicit flow', { response_type: 'token' }],
    ['a resource of another server', { resource: 'https://evil.example.com/mcp' }],
    ['a resource that is no endpoint', { resource: 'http://127.0.0.1/v1/whoami' }],
  ])('are sent back with %s', async (_, changes) => {
    const flow = new OAuthFlow(cluster)
    await flow.register()
    const page = await flow.browser.open(flow.authorizeUrl(changes))
    expect(new URL(page.url).origin).toBe('http://127.0.0.1:7777')
    expect(page.url).toMatch(/[?&#]error=/)
    expect(page.url).not.toContain('code=')
  })

  it.each([
    ['another address', 'https://evil.example.com/callback'],
    ['another path', 'http://127.0.0.1:7777/other'],
    ['a longer path', `${REDIRECT}/more`],
    ['a user name in it', 'http://127.0.0.1@evil.example.com/callback'],
    ['a script', 'javascript:alert(1)'],
    ['a fragment', `${REDIRECT}#x`],
    ['another host of loopback', 'http://localhost:7777/callback'],
  ])('to a redirect with %s end on a page of ours', async (_, redirect_uri) => {
    const flow = new OAuthFlow(cluster)
    await flow.register()
    const page = await flow.browser.open(flow.authorizeUrl({ redirect_uri }))
    expect(page).toMatchObject({ status: 400, text: expect.stringContaining('This does not work') })
    expect(new URL(page.url).origin).toBe(cluster.url)
  })

  it('come back to any port of loopback (RFC 8252)', async () => {
    const flow = new OAuthFlow(cluster)
    await flow.register()
    const back = await flow.browser.allow(flow.authorizeUrl({ redirect_uri: 'http://127.0.0.1:45454/callback' }), 'ana')
    expect(back.origin).toBe('http://127.0.0.1:45454')
  })

  it.each([
    'client-of-nobody',
    'https://127.0.0.1/client.json',
    'https://localhost/client.json',
    'https://[::1]/client.json',
    'http://example.com/c.json',
  ])('of the client %s are not shown to anybody', async (client_id) => {
    const flow = new OAuthFlow(cluster)
    const page = await flow.browser.open(flow.authorizeUrl({ client_id }))
    expect(page).toMatchObject({ status: 400, text: expect.stringContaining('This does not work') })
  })
})

describe('registrations', () => {
  it.each([
    ['javascript:alert(1)'],
    ['data:text/html,x'],
    ['http://example.com/callback'],
    ['http://10.0.0.1/callback'],
    ['https://a.example.com/#x'],
    ['https://u:p@a.example.com/'],
    ['no url'],
    ['file:///etc/passwd'],
  ])('to come back to %s are refused', async (uri) => {
    const { status, body } = await new OAuthFlow(cluster).register({ redirect_uris: [uri] })
    expect([status, body['error']]).toEqual([400, 'invalid_redirect_uri'])
  })

  it('get no secret and nothing that was not asked about', async () => {
    const { status, body } = await new OAuthFlow(cluster).register({
      token_endpoint_auth_method: 'client_secret_basic',
      client_secret: 'mine',
      client_id: 'mine',
      grant_types: ['authorization_code', 'password', 'implicit', 'client_credentials', 'refresh_token'],
      scope: 'admin',
    })
    expect(status).toBe(201)
    expect(body).toEqual({
      client_id: expect.stringMatching(/^[\w-]{22}$/),
      client_id_issued_at: expect.any(Number),
      client_name: 'Flow',
      redirect_uris: [REDIRECT],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
      application_type: 'native',
    })
  })
})

describe('documents', () => {
  it('are for pages of any site; endpoints and other pages are not', async () => {
    const origin = 'https://app.example.com'
    const ask = (path: string, init: RequestInit = {}) =>
      fetch(new URL(path, cluster.url), { ...init, headers: { ...init.headers, origin } })
    for (const path of [
      '/.well-known/oauth-protected-resource/mcp',
      '/.well-known/oauth-authorization-server',
      '/.well-known/openid-configuration',
    ]) {
      const response = await ask(path)
      expect([path, response.status, response.headers.get('access-control-allow-origin')]).toEqual([path, 200, '*'])
      expect(response.headers.get('cache-control')).toBe('public, max-age=300')
    }
    const preflight = await ask('/oauth/token', { method: 'OPTIONS', headers: { 'access-control-request-method': 'POST' } })
    expect([preflight.status, preflight.headers.get('access-control-allow-origin')]).toEqual([204, '*'])
    for (const path of ['/mcp', EVERYTHING, '/oauth/authorize', '/web/account', '/v1/ping']) {
      const response = await ask(path, { method: 'OPTIONS' })
      expect([path, response.status, response.headers.get('access-control-allow-origin')]).toEqual([path, 403, null])
    }
  })

  it('say nothing of what there is', async () => {
    const ask = async (name: string) => (await fetch(`${cluster.url}/.well-known/oauth-protected-resource/mcp/apps/${name}`)).json()
    expect(await ask('nothing')).toMatchObject({ resource: `${cluster.url}/mcp/apps/nothing` })
    const flow = new OAuthFlow(cluster)
    expect((await flow.call('/mcp/apps/nothing', undefined)).challenge).toBe(
      `Bearer realm="sallyport", resource_metadata="${cluster.url}/.well-known/oauth-protected-resource/mcp/apps/nothing", scope="mcp"`,
    )
  })
})

describe('pages', () => {
  it('cannot be framed, keep no secret in their address and say who asks', async () => {
    const flow = new OAuthFlow(cluster)
    await flow.register({ client_name: '<b>Claude</b>' })
    const page = await flow.browser.open(flow.authorizeUrl())
    expect(page.headers.get('content-security-policy')).toContain("frame-ancestors 'none'")
    expect(page.headers.get('x-frame-options')).toBe('DENY')
    expect(page.headers.get('cache-control')).toBe('no-store')
    const consent = await flow.browser.submit(page, { user: 'ana', password: 'correct horse battery staple' })
    expect(consent.text).toContain('&lt;b&gt;Claude&lt;/b&gt;')
    expect(consent.text).toContain('127.0.0.1:7777')
    expect(consent.text).toContain('not verified')
    expect(consent.text).toContain('everything')
    expect(consent.text).not.toContain('<script')
    expect(consent.headers.get('content-security-policy')).toContain("form-action 'self' http://127.0.0.1:7777;")
  })

  it('take no form of another browser or site', async () => {
    const flow = new OAuthFlow(cluster)
    await flow.register()
    const page = await flow.browser.open(flow.authorizeUrl())
    const consent = await flow.browser.submit(page, { user: 'ana', password: 'correct horse battery staple' })
    // Another browser with the address and the form, a form without its token, one with that of another flow.
    const stranger = await new PlainBrowser().open(consent.url, {
      method: 'POST',
      body: new URLSearchParams({ decision: 'allow' }),
      headers: { origin: cluster.url },
    })
    expect(stranger.status).toBe(404)
    const forged = await flow.browser.open(consent.url, {
      method: 'POST',
      body: new URLSearchParams({ decision: 'allow' }),
      headers: { origin: cluster.url },
    })
    expect(forged.status).toBe(403)
    const foreign = await flow.browser.open(consent.url, {
      method: 'POST',
      body: new URLSearchParams({ decision: 'allow' }),
      headers: { origin: 'https://evil.example.com' },
    })
    expect(foreign.status).toBe(403)
  })

  it('give a new session id at sign-in', async () => {
    const flow = new OAuthFlow(cluster)
    await flow.register()
    flow.browser.cookies.push({ name: 'sallyport-session', value: 'planted', path: '/', attributes: '' })
    await flow.browser.allow(flow.authorizeUrl(), 'ana')
    const first = flow.browser.cookies.find(({ name }) => name === 'sallyport-session')
    expect(first?.value).not.toBe('planted')
    expect(first?.attributes).toMatch(/httponly/i)
    expect(first?.attributes).toMatch(/samesite=lax/i)
    // Somebody else signs in in the same browser: nothing of the first goes over.
    const page = await flow.browser.open(flow.authorizeUrl())
    const again = await flow.browser.submit(page, { decision: 'switch' })
    expect(again.text).toContain('name="password"')
    await flow.browser.submit(again, { user: 'bob', password: 'correct horse battery staple' })
    expect(flow.browser.cookies.find(({ name }) => name === 'sallyport-session')?.value).not.toBe(first?.value)
  })
})

describe('what ends at once', () => {
  /** Opens a stream that stays; resolves when the server ends it. */
  async function holdSession(token: string, path = EVERYTHING): Promise<{ ended: Promise<void> }> {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
    const url = new URL(path, cluster.url)
    const body = JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'flow', version: '1' } },
    })
    const opened = await fetch(url, { method: 'POST', headers, body })
    const session = opened.headers.get('mcp-session-id') ?? ''
    await opened.text()
    const stream = await fetch(url, { headers: { ...headers, 'mcp-session-id': session } })
    expect(stream.status).toBe(200)
    return {
      ended: stream.text().then(
        () => undefined,
        () => undefined,
      ),
    }
  }

  it.each([
    ['its user is removed', 'bob', () => cluster.admin(deleteResource, { kind: 'user', name: 'bob' })],
    ['its user is reset', 'eve', () => cluster.admin(resetUser, { name: 'eve' })],
    [
      'its user is locked',
      'zoe',
      () => cluster.save({ kind: 'lock', version: 'v2', metadata: { name: 'zoe' }, spec: { target: { user: 'zoe' } } }),
    ],
    ['its user loses the role', 'kim', () => cluster.save({ kind: 'user', version: 'v2', metadata: { name: 'kim' }, spec: { roles: [] } })],
  ])('a session when %s', async (_, user, act) => {
    const flow = new OAuthFlow(cluster)
    const { access_token, refresh_token } = await flow.signIn(user)
    const { ended } = await holdSession(access_token)
    const from = performance.now()
    await act()
    await ended
    expect(performance.now() - from).toBeLessThan(AT_ONCE_MS)
    expect((await flow.call(EVERYTHING, access_token)).status).toBeGreaterThanOrEqual(401)
    if (user !== 'kim') expect(await flow.refresh(refresh_token)).toMatchObject({ status: 400, error: 'invalid_grant' })
  })

  it('a browser that is signed in, when its user is locked: it is told why', async () => {
    const flow = new OAuthFlow(cluster)
    await flow.signIn('max')
    await cluster.save({
      kind: 'lock',
      version: 'v2',
      metadata: { name: 'max' },
      spec: { target: { user: 'max' }, message: 'laptop stolen' },
    })
    const page = await flow.browser.open(flow.authorizeUrl())
    const refused = await flow.browser.submit(page, { user: 'max', password: 'correct horse battery staple' })
    expect(refused).toMatchObject({ status: 403, text: expect.stringContaining('laptop stolen') })
    expect((await flow.browser.open(new URL('/web/account', cluster.url))).text).toContain('laptop stolen')
  })

  it('a session at the URL of all servers when its person ends the grant', async () => {
    const flow = new OAuthFlow(cluster)
    const { access_token } = await flow.signIn('lou', { resource: `${cluster.url}/mcp` })
    const { ended } = await holdSession(access_token, '/mcp')
    const [grant] = (await cluster.admin(listOAuthGrants, { user: 'lou' })).items
    const from = performance.now()
    await cluster.admin(deleteOAuthGrant, { id: grant?.id ?? '' })
    await ended
    expect(performance.now() - from).toBeLessThan(AT_ONCE_MS)
    expect((await flow.call('/mcp', access_token)).status).toBe(401)
  })

  it('a session when its client revokes the token', async () => {
    const flow = new OAuthFlow(cluster)
    const { access_token, refresh_token } = await flow.signIn('lou')
    const { ended } = await holdSession(access_token)
    const body = new URLSearchParams({ client_id: flow.clientId, token: refresh_token })
    expect((await fetch(`${cluster.url}/oauth/revoke`, { method: 'POST', body })).status).toBe(200)
    await ended
    expect((await flow.call(EVERYTHING, access_token)).status).toBe(401)
    await eventually('the event', async () => (await cluster.events({ type: 'oauth.grant.revoke' })).find(({ user }) => user === 'lou'))
  })
})
