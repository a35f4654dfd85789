import { createHash } from 'node:crypto'
import { calculateJwkThumbprint, decodeProtectedHeader, exportJWK, generateKeyPair as generateJoseKeyPair, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { deleteOAuthGrant, listOAuthGrants } from '../../src/api/oauth-grants.ts'
import { deleteResource } from '../../src/api/resources.ts'
import { findEverything } from '../../src/cli/server/demo.ts'
import { type Cluster, PASSWORD, startCluster } from '../cluster.ts'
import { type DocumentServer, startDocumentServer } from '../fakes/document-server.ts'
import { OAuthFlow, REDIRECT } from '../fakes/oauth-flow.ts'
import { PlainBrowser } from '../fakes/plain-browser.ts'

// Clients that are not somebody's program with a browser: documents at a URL, devices, bots, services; and who ends what they may do.

let cluster: Cluster
let documents: DocumentServer
let documentUrl: string
let document: Record<string, unknown>

beforeAll(async () => {
  cluster = await startCluster({ file: { auth_service: { cluster_name: 'test', oauth: { loopback_documents: true } } } })
  await cluster.saveStdioApp('everything', process.execPath, [findEverything(), 'stdio'])
  await cluster.saveRole('all', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } })
  for (const name of ['ana', 'bob']) await cluster.saveUser(name, ['all'])
  documents = await startDocumentServer()
  documents.answer = (_, response) => void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(document))
  documentUrl = `${documents.url}/client.json`
}, 60_000)
afterAll(async () => {
  await documents.close()
  await cluster.close()
})

const EVERYTHING = '/mcp/apps/everything'

describe('a client that is a document at a URL', () => {
  it('is let in on any port of loopback, and the page says where it says who it is', async () => {
    document = {
      client_id: documentUrl,
      client_name: 'Documented',
      redirect_uris: ['http://127.0.0.1/callback'],
      token_endpoint_auth_method: 'none',
    }
    const flow = new OAuthFlow(cluster)
    flow.clientId = documentUrl
    const page = await flow.browser.open(flow.authorizeUrl())
    const consent = await flow.browser.submit(page, { user: 'ana', password: PASSWORD })
    expect(consent.text).toContain(`It says who it is at <b>${documentUrl}</b>`)
    const tokens = await flow.exchange(await flow.code('ana'))
    expect((await flow.call(EVERYTHING, tokens.access_token)).status).toBe(200)
  })

  it('is refused when the document is of another client', async () => {
    document = { client_id: 'https://example.com/other.json', client_name: 'Other', redirect_uris: [REDIRECT] }
    const flow = new OAuthFlow(cluster)
    const page = await flow.browser.open(flow.authorizeUrl({ client_id: `${documentUrl}?other` }))
    expect(page.status).toBe(400)
    const failures = await cluster.events({ type: 'oauth.authorize.failure' })
    expect(failures.at(-1)).toMatchObject({ success: false, client_id: `${documentUrl}?other` })
  })
})

describe('a device', () => {
  const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code'

  async function startDevice(
    flow: OAuthFlow,
  ): Promise<{ device_code: string; user_code: string; verification_uri: string; verification_uri_complete: string }> {
    await flow.register({ grant_types: [DEVICE_GRANT, 'refresh_token'], redirect_uris: [] })
    const body = new URLSearchParams({ client_id: flow.clientId, scope: 'mcp', resource: `${cluster.url}/mcp` })
    return JSON.parse(await (await fetch(`${cluster.url}/oauth/device/start`, { method: 'POST', body })).text()) // compared below
  }

  it('gets tokens once a person entered its code, signed in and agreed', async () => {
    const flow = new OAuthFlow(cluster)
    const { device_code, user_code, verification_uri_complete } = await startDevice(flow)
    const ask = () => flow.token({ grant_type: DEVICE_GRANT, device_code })
    expect(await ask()).toMatchObject({ status: 400, error: 'authorization_pending' })
    const { browser } = flow
    const input = await browser.open(verification_uri_complete)
    expect(input.text).toContain(`value="${user_code}"`)
    expect(input.text).not.toContain('<script')
    expect((await browser.submit(input, { user_code: 'BBBB-BBBB' })).text).toContain('not known')
    const confirmation = await browser.submit(await browser.open(verification_uri_complete), { user_code })
    expect(confirmation.text).toContain(user_code)
    const signIn = await browser.submit(confirmation, {})
    const consent = await browser.submit(signIn, { user: 'ana', password: PASSWORD })
    expect(consent.text).toContain('the device that shows the code')
    const done = await browser.submit(consent, { decision: 'allow' })
    expect(done.text).toContain('Your device is connected')
    const tokens = await ask()
    expect(tokens).toMatchObject({ status: 200, scope: 'mcp' })
    expect((await flow.call('/mcp', tokens.access_token)).status).toBe(200)
    expect(await ask()).toMatchObject({ status: 400, error: 'invalid_grant' })
  })

  it('gets none when the person says no', async () => {
    const flow = new OAuthFlow(cluster)
    const { device_code, user_code, verification_uri } = await startDevice(flow)
    const input = await flow.browser.open(verification_uri)
    const confirmation = await flow.browser.submit(input, { user_code })
    expect((await flow.browser.submit(confirmation, { abort: 'yes' })).text).toContain('was not connected')
    expect(await flow.token({ grant_type: DEVICE_GRANT, device_code })).toMatchObject({ status: 400, error: 'access_denied' })
  })
})

describe('a client with a key', () => {
  async function saveClient(name: string, spec: Record<string, unknown>): Promise<() => Promise<Record<string, string>>> {
    const { publicKey, privateKey } = await generateJoseKeyPair('ES256')
    const jwk = { ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256', use: 'sig' }
    await cluster.save({
      kind: 'oauth_client',
      version: 'v1',
      metadata: { name },
      spec: { token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [jwk] }, ...spec },
    })
    return async () => ({
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      client_assertion: await new SignJWT({})
        .setProtectedHeader({ alg: 'ES256', kid: 'one' })
        .setIssuer(name)
        .setSubject(name)
        .setAudience(cluster.url)
        .setJti(crypto.randomUUID())
        .setIssuedAt()
        .setExpirationTime('1m')
        .sign(privateKey),
    })
  }

  it('acts as the bot it was registered for, until either is gone', async () => {
    await cluster.save({ kind: 'bot', version: 'v1', metadata: { name: 'ci' }, spec: { roles: ['all'] } })
    const authenticate = await saveClient('ci-client', { grant_types: ['client_credentials'], bot: 'ci' })
    const flow = new OAuthFlow(cluster)
    flow.clientId = 'ci-client'
    const request = { grant_type: 'client_credentials', scope: 'mcp', resource: `${cluster.url}${EVERYTHING}` }
    const proof = await authenticate()
    const tokens = await flow.token({ ...request, ...proof })
    expect(tokens).toMatchObject({ status: 200, scope: 'mcp' })
    expect(tokens['refresh_token']).toBeUndefined()
    expect((await flow.call(EVERYTHING, tokens.access_token)).status).toBe(200)
    expect(await cluster.eventsOnceThere({ type: 'mcp.session.start', user: 'bot-ci' }, 1)).toMatchObject([
      { user_kind: 2, credential: { kind: 'oauth' } },
    ])
    // An assertion is good once; and nothing is given for another's key.
    expect((await flow.token({ ...request, ...proof })).status).toBe(401)
    expect((await flow.token(request)).status).toBe(401)
    await cluster.admin(deleteResource, { kind: 'bot', name: 'ci' })
    expect((await flow.call(EVERYTHING, tokens.access_token)).status).toBe(401)
  })

  it('may ask about tokens of others only where an administrator says so', async () => {
    const { access_token } = await new OAuthFlow(cluster).signIn('ana')
    const asks = async (name: string, authenticate: () => Promise<Record<string, string>>) => {
      const body = new URLSearchParams({ client_id: name, token: access_token, ...(await authenticate()) })
      return JSON.parse(await (await fetch(`${cluster.url}/oauth/introspect`, { method: 'POST', body })).text()) as Record<string, unknown> // compared below
    }
    const service = await saveClient('service', { redirect_uris: ['https://service.example.com/'], may_introspect: true })
    expect(await asks('service', service)).toMatchObject({ active: true, scope: 'mcp', aud: `${cluster.url}${EVERYTHING}` })
    const other = await saveClient('other', { redirect_uris: ['https://other.example.com/'] })
    expect(await asks('other', other)).toEqual({ active: false })
    const stranger = new OAuthFlow(cluster)
    await stranger.register()
    const body = new URLSearchParams({ client_id: stranger.clientId, token: access_token })
    expect(await (await fetch(`${cluster.url}/oauth/introspect`, { method: 'POST', body })).json()).toEqual({ active: false })
  })
})

describe('what was allowed', () => {
  it('is seen and ended by its person on a page, and by nobody else there', async () => {
    const flow = new OAuthFlow(cluster)
    await flow.register({ client_name: 'Seen' })
    const { access_token } = await flow.exchange(await flow.code('bob'))
    const account = new URL('/web/account', cluster.url)
    const page = await flow.browser.open(account)
    expect(page.text).toContain('End access of Seen')
    const other = new PlainBrowser()
    const signIn = await other.open(account)
    const empty = await other.submit(signIn, { user: 'ana', password: PASSWORD })
    expect(empty.text).not.toContain('Seen')
    const [grant] = (await cluster.admin(listOAuthGrants, { user: 'bob' })).items
    expect(grant).toMatchObject({ user: 'bob', client_name: 'Seen', resources: [`${cluster.url}${EVERYTHING}`], scope: 'mcp' })
    expect((await other.submit(empty, { grant: grant?.id ?? '' })).status).toBe(404)
    expect((await flow.call(EVERYTHING, access_token)).status).toBe(200)
    expect((await flow.browser.submit(page, {})).text).toContain('There are none')
    expect((await flow.call(EVERYTHING, access_token)).status).toBe(401)
    // Signed out, the browser is nobody.
    const again = await flow.browser.open(account)
    expect((await flow.browser.submit(again, { action: 'sign-out' })).text).toContain('name="password"')
  })

  it('is ended by an administrator, and with the client it was allowed', async () => {
    const flow = new OAuthFlow(cluster)
    const first = await flow.signIn('ana')
    for (const { id, client_id } of (await cluster.admin(listOAuthGrants, { user: '*' })).items)
      if (client_id === flow.clientId) await cluster.admin(deleteOAuthGrant, { id })
    expect((await flow.call(EVERYTHING, first.access_token)).status).toBe(401)
    expect(await flow.refresh(first.refresh_token)).toMatchObject({ status: 400, error: 'invalid_grant' })

    await cluster.save({
      kind: 'oauth_client',
      version: 'v1',
      metadata: { name: 'known' },
      spec: { redirect_uris: [REDIRECT], client_name: 'Known' },
    })
    const registered = new OAuthFlow(cluster)
    registered.clientId = 'known'
    const second = await registered.signIn('ana')
    expect((await registered.call(EVERYTHING, second.access_token)).status).toBe(200)
    await cluster.admin(deleteResource, { kind: 'oauth_client', name: 'known' })
    expect((await registered.call(EVERYTHING, second.access_token)).status).toBe(401)
  })

  it('to a page of a site is not asked about again there; to a program it is', async () => {
    const site = new OAuthFlow(cluster)
    const redirect_uri = 'https://site.example.com/callback'
    await site.register({ redirect_uris: [redirect_uri] })
    await site.browser.allow(site.authorizeUrl({ redirect_uri }), 'ana')
    expect((await site.browser.open(site.authorizeUrl({ redirect_uri }))).url).toContain(`${redirect_uri}?code=`)
    // Another endpoint is another question.
    expect((await site.browser.open(site.authorizeUrl({ redirect_uri, resource: `${cluster.url}/mcp` }))).text).toContain('value="allow"')
    const program = new OAuthFlow(cluster)
    await program.signIn('ana')
    expect((await program.browser.open(program.authorizeUrl())).text).toContain('value="allow"')
  })
})

describe('a client whose tokens are bound to its key', () => {
  interface Proof {
    htm?: string
    htu?: string
    token?: string
    iat?: number
    jti?: string
  }

  async function makeKey() {
    const { publicKey, privateKey } = await generateJoseKeyPair('ES256')
    const jwk = await exportJWK(publicKey)
    return ({ htm = 'POST', htu = `${cluster.url}${EVERYTHING}`, token, iat, jti = crypto.randomUUID() }: Proof = {}) => {
      const ath = token === undefined ? {} : { ath: createHash('sha256').update(token).digest('base64url') }
      return new SignJWT({ htm, htu, jti, ...ath })
        .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk })
        .setIssuedAt(iat)
        .sign(privateKey)
    }
  }

  async function call(token: string, proof: string | undefined, scheme = 'DPoP') {
    const response = await fetch(new URL(EVERYTHING, cluster.url), {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        authorization: `${scheme} ${token}`,
        ...(proof !== undefined && { dpop: proof }),
      },
      body: JSON.stringify({
        jsonrpc: '2.0',
        id: 1,
        method: 'initialize',
        params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'bound', version: '1' } },
      }),
    })
    await response.text()
    return { status: response.status, challenge: response.headers.get('www-authenticate') }
  }

  it('is let in with a fresh proof for each request, and with nothing else', async () => {
    const flow = new OAuthFlow(cluster)
    await flow.register()
    const prove = await makeKey()
    const body = new URLSearchParams({
      grant_type: 'authorization_code',
      code: await flow.code('ana'),
      redirect_uri: REDIRECT,
      code_verifier: flow.verifier,
      client_id: flow.clientId,
    })
    const dpop = await prove({ htu: `${cluster.url}/oauth/token` })
    const answer = await fetch(`${cluster.url}/oauth/token`, { method: 'POST', body, headers: { dpop } })
    const tokens = JSON.parse(await answer.text()) as { access_token: string; refresh_token: string; token_type: string } // compared below
    expect(tokens.token_type).toBe('DPoP')
    const { access_token: token } = tokens

    const proof = await prove({ token })
    expect((await call(token, proof)).status).toBe(200)
    const refused: [string, string | undefined, string?][] = [
      ['a proof that was used', proof],
      ['no proof', undefined],
      ['a bearer', undefined, 'Bearer'],
      ['a bearer with a proof', await prove({ token }), 'Bearer'],
      ['another method', await prove({ token, htm: 'GET' })],
      ['another URL', await prove({ token, htu: `${cluster.url}/mcp` })],
      ['no token in it', await prove()],
      ['another token in it', await prove({ token: 'other' })],
      ['an old one', await prove({ token, iat: Math.floor(Date.now() / 1000) - 120 })],
      ['one of the future', await prove({ token, iat: Math.floor(Date.now() / 1000) + 120 })],
      ['the key of another', await (await makeKey())({ token })],
      ['no JWT', 'a.b.c'],
    ]
    for (const [what, sent, scheme] of refused) expect([what, (await call(token, sent, scheme)).status]).toEqual([what, 401])
    expect((await call(token, undefined)).challenge).toMatch(/^DPoP .*error="invalid_dpop_proof".*algs="ES256 EdDSA"$/)
    // A token that is not bound is not made so; and a bound refresh token is nothing without its key.
    const bearer = await new OAuthFlow(cluster).signIn('ana')
    expect((await call(bearer.access_token, await prove({ token: bearer.access_token }))).status).toBe(401)
    expect(await flow.refresh(tokens.refresh_token)).toMatchObject({ status: 400 })
    // What the proxy saw is not said by anybody else.
    const forged = await fetch(`${cluster.url}/v1/assertions`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        authorization: `Bearer ${token}`,
        'sallyport-endpoint': EVERYTHING,
        'sallyport-proof': await calculateJwkThumbprint(decodeProtectedHeader(proof).jwk ?? {}),
      },
      body: JSON.stringify({ server: 'everything' }),
    })
    expect(forged.status).toBe(401)
  })
})

describe('a token that is exchanged', () => {
  const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
  const TYPE = 'urn:ietf:params:oauth:token-type:access_token'

  it('is narrower than the one it came of, ends with it, and is for its client only', async () => {
    const flow = new OAuthFlow(cluster)
    await flow.register({ grant_types: ['authorization_code', 'refresh_token', EXCHANGE] })
    const { access_token, refresh_token } = await flow.signIn('ana', { resource: `${cluster.url}/mcp` })
    const asked = { grant_type: EXCHANGE, subject_token: access_token, subject_token_type: TYPE, resource: `${cluster.url}${EVERYTHING}` }
    const narrow = await flow.token(asked)
    expect(narrow).toMatchObject({ status: 200, issued_token_type: TYPE, token_type: 'Bearer', scope: 'mcp' })
    expect((await flow.call(EVERYTHING, narrow.access_token)).status).toBe(200)
    expect((await flow.call('/mcp', narrow.access_token)).status).toBe(401)
    // Back, wider, or by somebody else: no.
    const back = { ...asked, subject_token: narrow.access_token, resource: `${cluster.url}/mcp` }
    expect(await flow.token(back)).toMatchObject({ status: 400, error: 'invalid_target' })
    expect(await flow.token({ ...asked, resource: 'https://evil.example.com/mcp' })).toMatchObject({ status: 400, error: 'invalid_target' })
    const scoped = await flow.token({ ...asked, resource: `${cluster.url}/mcp`, scope: 'mcp:server:everything' })
    expect(scoped).toMatchObject({ status: 200, scope: 'mcp:server:everything' })
    expect(await flow.token({ ...asked, subject_token: scoped.access_token, scope: 'mcp' })).toMatchObject({
      status: 400,
      error: 'invalid_scope',
    })
    const other = new OAuthFlow(cluster)
    await other.register({ grant_types: ['authorization_code', EXCHANGE] })
    expect(await other.token(asked)).toMatchObject({ status: 400, error: 'invalid_grant' })
    const without = new OAuthFlow(cluster)
    await without.register()
    expect(await without.token(asked)).toMatchObject({ status: 400 })

    const body = new URLSearchParams({ client_id: flow.clientId, token: refresh_token })
    await fetch(`${cluster.url}/oauth/revoke`, { method: 'POST', body })
    expect((await flow.call(EVERYTHING, narrow.access_token)).status).toBe(401)
  })
})
