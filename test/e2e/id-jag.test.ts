import { once } from 'node:events'
import type { RequestListener } from 'node:http'
import { Client, CrossAppAccessProvider, discoverAndRequestJwtAuthGrant, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { listOAuthGrants } from '../../src/api/oauth-grants.ts'
import { deleteResource, upsertResource } from '../../src/api/resources.ts'
import { findEverything } from '../../src/cli/server/demo.ts'
import { type AuditEvent, type Cluster, startCluster } from '../cluster.ts'
import { type Issuer, type SignOptions, startIssuer } from '../fakes/issuer.ts'
import { OAuthFlow, REDIRECT, type Tokens } from '../fakes/oauth-flow.ts'
import { eventually } from '../wait.ts'

// Enterprise-managed authorization (SEP-990): a company's identity provider says which client acts for whom, and nobody sees a page.

const BEARER_GRANT = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
const SECRET = 'a-secret-of-the-agent_for.tests'
const EVERYTHING = '/mcp/apps/everything'

let cluster: Cluster
let idp: Issuer
let other: Issuer

beforeAll(async () => {
  ;[cluster, idp, other] = await Promise.all([startCluster(), startIssuer(), startIssuer()])
  await cluster.saveStdioApp('everything', process.execPath, [findEverything(), 'stdio'])
  await cluster.saveRole('all', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } })
  await saveConnector()
  await cluster.save({
    kind: 'oauth_client',
    version: 'v1',
    metadata: { name: 'agent' },
    spec: { grant_types: [BEARER_GRANT], token_endpoint_auth_method: 'client_secret_post', client_secret: SECRET },
  })
}, 60_000)
afterAll(async () => {
  await Promise.all([cluster.close(), idp.close(), other.close()])
})

function saveConnector(spec: Record<string, unknown> = {}): Promise<void> {
  return cluster.save({
    kind: 'oidc',
    version: 'v3',
    metadata: { name: 'corp' },
    spec: {
      issuer_url: idp.url,
      client_id: 'sallyport',
      client_secret: 'a secret of the connector',
      claims_to_roles: [{ claim: 'groups', value: 'developers', roles: ['all'] }],
      accept_id_jag: true,
      ...spec,
    },
  })
}

const TYP: SignOptions = { typ: 'oauth-id-jag+jwt' }

/** What the identity provider asserts; a claim of undefined is left out. */
function claims(changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    sub: 'u-1',
    aud: cluster.url,
    client_id: 'agent',
    jti: crypto.randomUUID(),
    resource: cluster.url + EVERYTHING,
    email: 'ana@example.com',
    email_verified: true,
    groups: ['developers'],
    ...changes,
  }
}

async function trade(assertion: string, changes: Record<string, string | null> = {}): Promise<Tokens> {
  const flow = new OAuthFlow(cluster)
  flow.clientId = 'agent'
  return await flow.token({ grant_type: BEARER_GRANT, assertion, client_secret: SECRET, ...changes })
}

async function call(path: string, token: string): Promise<number> {
  return (await new OAuthFlow(cluster).call(path, token)).status
}

function lastRefusal(): Promise<AuditEvent | undefined> {
  return cluster.events({ type: 'oauth.token.issue' }).then((events) => events.findLast(({ success }) => success === false))
}

describe('an assertion is refused, and that is written down', () => {
  const hour = 3600
  const now = (): number => Math.floor(Date.now() / 1000)

  it.each<[string, Record<string, unknown>, SignOptions, string]>([
    ['without its type', {}, { typ: 'JWT' }, 'no ID-JAG'],
    ['for another authorization server', { aud: 'https://other.example.com' }, TYP, 'another authorization server'],
    ['for several', { aud: ['URL', 'https://other.example.com'] }, TYP, 'several authorization servers'],
    ['for another client', { client_id: 'other' }, TYP, 'another client'],
    ['for no client', { client_id: undefined }, TYP, '"client_id"'],
    ['without an id', { jti: undefined }, TYP, '"jti"'],
    ['with an empty id', { jti: '' }, TYP, 'has no id'],
    ['about nobody', { sub: undefined }, TYP, '"sub"'],
    ['bound to a key', { cnf: { jkt: 'x' } }, TYP, 'bound to a key'],
    ['of an issuer that is not trusted', {}, { ...TYP, issuer: 'https://evil.example.com' }, 'vouches for people'],
    ['that has expired', {}, { ...TYP, issuedAt: now() - 300, expiresAt: now() - 60 }, 'expired'],
    ['of the future', {}, { ...TYP, issuedAt: now() + 120, expiresAt: now() + 300 }, 'not as'],
    ['that lives too long', {}, { ...TYP, expiresAt: now() + hour }, 'times'],
    ["with a key that is not its issuer's", {}, { ...TYP, kid: 'other' }, 'does not have'],
    ['whose email nobody verified', { sub: 'u-9', email_verified: undefined }, TYP, 'verified'],
    ['about somebody without a role', { sub: 'u-9', email: 'no@example.com', groups: ['others'] }, TYP, 'gives you a role'],
  ])('%s', async (_, changes, options, why) => {
    const aud = changes['aud'] ?? cluster.url
    const audience = Array.isArray(aud) ? aud.map((each: unknown) => (each === 'URL' ? cluster.url : each)) : aud
    const answer = await trade(await idp.sign({ ...claims(changes), aud: audience }, options))
    expect(answer).toMatchObject({ status: 400, error: 'invalid_grant' })
    expect(answer.error_description).toContain(why)
    expect(await lastRefusal()).toMatchObject({ client_id: 'agent', grant_type: BEARER_GRANT, error: expect.stringContaining(why) })
  })

  it('signed by another identity provider, whatever it calls itself', async () => {
    const answer = await trade(await other.sign(claims(), { ...TYP, issuer: idp.url }))
    expect(answer).toMatchObject({ status: 400, error: 'invalid_grant' })
    expect(answer.error_description).toContain('signature is wrong')
  })

  it.each<[string, Record<string, unknown>, Record<string, string>, string]>([
    ['a resource of somebody else', { resource: 'https://evil.example.com/mcp' }, {}, 'invalid_target'],
    ['another resource than it names', {}, { resource: '/mcp' }, 'invalid_target'],
    ['no resource at all', { resource: undefined }, {}, 'invalid_target'],
    ['several, of which none is chosen', { resource: ['/mcp', EVERYTHING] }, {}, 'invalid_target'],
    ['a scope that it leaves out', { scope: 'mcp:server:everything' }, { scope: 'mcp:server:other' }, 'invalid_scope'],
    ['scopes that open nothing', { scope: 'chat.read openid' }, {}, 'invalid_scope'],
  ])('for %s', async (_, changes, asked, error) => {
    const at = (value: unknown): unknown => (typeof value === 'string' && value.startsWith('/') ? cluster.url + value : value)
    const wanted = { ...claims(changes) }
    const { resource } = wanted
    const parameters = Object.fromEntries(Object.entries(asked).map(([name, value]) => [name, String(at(value))]))
    const assertion = await idp.sign({ ...wanted, resource: Array.isArray(resource) ? resource.map(at) : at(resource) }, TYP)
    expect(await trade(assertion, parameters)).toMatchObject({ status: 400, error })
    expect(await lastRefusal()).toMatchObject({ error: expect.stringContaining(error) })
  })

  it('of a client that does not prove who it is', async () => {
    const assertion = await idp.sign(claims(), TYP)
    expect(await trade(assertion, { client_secret: 'a-guess-of-sixteen-characters' })).toMatchObject({
      status: 401,
      error: 'invalid_client',
    })
    expect(await trade(assertion, { client_secret: null })).toMatchObject({ status: 401, error: 'invalid_client' })
    // One that registered itself has nothing to prove it with.
    const stranger = new OAuthFlow(cluster)
    await stranger.register({ grant_types: ['authorization_code', BEARER_GRANT] })
    const own = await idp.sign(claims({ client_id: stranger.clientId }), TYP)
    expect(await stranger.token({ grant_type: BEARER_GRANT, assertion: own })).toMatchObject({ status: 400 })
    const without = { name: 'public', spec: { grant_types: [BEARER_GRANT] } }
    await expect(save('oauth_client', without)).rejects.toMatchObject({ code: 'invalid_argument' })
  })

  it('used a second time, and of ten at once nine', async () => {
    const assertion = await idp.sign(claims(), TYP)
    const answers = await Promise.all(Array.from({ length: 10 }, () => trade(assertion)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(await trade(assertion)).toMatchObject({ status: 400, error_description: 'the assertion was used before' })
  })

  it('where two connectors would say whose roles they are', async () => {
    const spec = { issuer_url: idp.url, client_id: 'x', client_secret: 'another', claims_to_roles: [], accept_id_jag: true }
    await expect(save('oidc', { name: 'again', spec })).rejects.toMatchObject({ code: 'already_exists' })
  })
})

async function save(kind: string, { name, spec }: { name: string; spec: unknown }): Promise<void> {
  const version = kind === 'oidc' ? 'v3' : 'v1'
  await cluster.admin(upsertResource, { kind, name, resource: { kind, version, metadata: { name }, spec } })
}

describe('an assertion that holds', () => {
  it('gives a token for its endpoint alone, as a user like one who signs in by the connector', async () => {
    const answer = await trade(await idp.sign(claims({ department: 'r&d' }), TYP))
    expect(answer).toMatchObject({ status: 200, token_type: 'Bearer', scope: 'mcp', expires_in: expect.any(Number) })
    expect(answer['refresh_token']).toBeUndefined()
    expect(await call(EVERYTHING, answer.access_token)).toBe(200)
    expect(await call('/mcp', answer.access_token)).toBe(401)
    expect(await cluster.eventsOnceThere({ type: 'mcp.session.start', user: 'ana@example.com' }, 1)).toMatchObject([
      { user_roles: ['all'] },
    ])
    expect(await findUser('ana@example.com')).toMatchObject({ spec: { traits: { department: ['r&d'], groups: ['developers'] } } })
    const logins = await cluster.events({ type: 'user.login', user: 'ana@example.com' })
    expect(logins.at(-1)).toMatchObject({ method: 'id_jag', connector: 'corp', success: true })
    const grants = (await cluster.admin(listOAuthGrants, { user: 'ana@example.com' })).items
    expect(grants).toMatchObject([{ client_id: 'agent', resources: [cluster.url + EVERYTHING], scope: 'mcp' }])
    // The next assertion goes on with the same grant, and so do sessions.
    expect((await trade(await idp.sign(claims(), TYP))).status).toBe(200)
    expect((await cluster.admin(listOAuthGrants, { user: 'ana@example.com' })).items).toEqual(grants)
  })

  it('may leave out what a sign-in said before; what it says anew counts', async () => {
    await trade(await idp.sign(claims({ sub: 'u-2', email: 'eva@example.com', department: 'law' }), TYP))
    const before = await findUser('eva@example.com')
    const bare = claims({ sub: 'u-2', email: undefined, email_verified: undefined, groups: undefined })
    expect(await trade(await idp.sign(bare, TYP))).toMatchObject({ status: 200 })
    expect(await findUser('eva@example.com')).toEqual(before)
    // Fewer groups are fewer roles, and what stays unsaid does not last longer for it.
    await cluster.saveRole('few', { allow: { app_labels: { env: 'other' } } })
    await saveConnector({
      claims_to_roles: [
        { claim: 'groups', value: 'developers', roles: ['all'] },
        { claim: 'groups', value: 'guests', roles: ['few'] },
      ],
    })
    const fewer = claims({ sub: 'u-2', email: undefined, email_verified: undefined, groups: ['guests'] })
    expect(await trade(await idp.sign(fewer, TYP))).toMatchObject({ status: 200 })
    expect(await findUser('eva@example.com')).toMatchObject({
      metadata: { expires: before.metadata.expires },
      spec: { roles: ['few'], traits: { department: ['law'], groups: ['guests'], email: ['eva@example.com'] } },
    })
  })

  it('is narrowed by its own scopes and by those asked for', async () => {
    const assertion = await idp.sign(claims({ resource: undefined, scope: 'mcp:server:everything other' }), TYP)
    const answer = await trade(assertion, { resource: `${cluster.url}/mcp`, scope: 'mcp' })
    expect(answer).toMatchObject({ status: 200, scope: 'mcp:server:everything' })
    expect(await call('/mcp', answer.access_token)).toBe(200)
  })

  it('opens nothing any more once the user is locked or gone, or the connector is', async () => {
    const token = async (sub: string): Promise<string> =>
      (await trade(await idp.sign(claims({ sub, email: `${sub}@example.com` }), TYP))).access_token
    const [locked, gone, kept] = await Promise.all([token('u-3'), token('u-4'), token('u-5')])
    await cluster.save({ kind: 'lock', version: 'v2', metadata: { name: 'u-3' }, spec: { target: { user: 'u-3@example.com' } } })
    expect(await call(EVERYTHING, locked)).toBe(403)
    expect(await trade(await idp.sign(claims({ sub: 'u-3', email: 'u-3@example.com' }), TYP))).toMatchObject({ error: 'invalid_grant' })
    await cluster.admin(deleteResource, { kind: 'user', name: 'u-4@example.com' })
    expect(await call(EVERYTHING, gone)).toBe(401)
    expect(await call(EVERYTHING, kept)).toBe(200)
    await saveConnector({ accept_id_jag: false })
    expect(await call(EVERYTHING, kept)).toBe(401)
    const answer = await trade(await idp.sign(claims({ sub: 'u-5', email: 'u-5@example.com' }), TYP))
    expect(answer).toMatchObject({ status: 400, error: 'invalid_grant' })
    await saveConnector()
  })

  it('does not make the consent of the person needless', async () => {
    await cluster.saveUser('local', ['all'])
    await save('oauth_client', {
      name: 'site',
      spec: {
        grant_types: ['authorization_code', BEARER_GRANT],
        redirect_uris: [REDIRECT],
        token_endpoint_auth_method: 'client_secret_post',
        client_secret: SECRET,
      },
    })
    const flow = new OAuthFlow(cluster)
    flow.clientId = 'site'
    const assertion = await idp.sign(claims({ client_id: 'site' }), TYP)
    expect(await flow.token({ grant_type: BEARER_GRANT, assertion, client_secret: SECRET })).toMatchObject({ status: 200 })
    expect(await flow.code('local')).not.toBe('')
  })
})

async function findUser(name: string): Promise<{ metadata: { expires?: string } }> {
  const user = cluster.running.auth.feed.list('user').find(({ metadata }) => metadata.name === name)
  if (!user) throw new Error(`no user ${name}`)
  const { revision: _, ...metadata } = user.metadata
  return { ...user, metadata }
}

describe('a client of the official SDK', () => {
  /** Trades ID tokens for assertions (RFC 8693), as identity providers do. */
  const exchange =
    (idToken: string): RequestListener =>
    (request, response) => {
      const answer = (status: number, document: unknown) =>
        void response.writeHead(status, { 'content-type': 'application/json', connection: 'close' }).end(JSON.stringify(document))
      if (request.url === '/jwks') return answer(200, idp.jwks())
      if (request.url !== '/token')
        return answer(200, {
          issuer: idp.url,
          jwks_uri: `${idp.url}/jwks`,
          authorization_endpoint: `${idp.url}/authorize`,
          token_endpoint: `${idp.url}/token`,
          response_types_supported: ['code'],
        })
      let text = ''
      request.on('data', (chunk: Buffer) => (text += chunk.toString()))
      void once(request, 'end').then(async () => {
        const form = new URLSearchParams(text)
        if (form.get('subject_token') !== idToken) return answer(400, { error: 'invalid_grant' })
        const asserted = claims({ aud: form.get('audience'), resource: form.get('resource'), scope: form.get('scope') ?? undefined })
        return answer(200, {
          access_token: await idp.sign({ ...asserted, client_id: 'sdk' }, TYP),
          issued_token_type: 'urn:ietf:params:oauth:token-type:id-jag',
          token_type: 'N_A',
          expires_in: 300,
        })
      })
    }

  it('reaches its tools with an ID token of the company and without a page', async () => {
    const spec = { grant_types: [BEARER_GRANT], token_endpoint_auth_method: 'client_secret_basic', client_secret: SECRET }
    await save('oauth_client', { name: 'sdk', spec })
    const metadata = JSON.parse(await (await fetch(`${cluster.url}/.well-known/oauth-authorization-server`)).text()) as object // compared below
    expect(metadata).toMatchObject({
      authorization_grant_profiles_supported: ['urn:ietf:params:oauth:grant-profile:id-jag'],
      grant_types_supported: expect.arrayContaining([BEARER_GRANT]),
    })
    idp.answer = exchange('the ID token')
    const authProvider = new CrossAppAccessProvider({
      clientId: 'sdk',
      clientSecret: SECRET,
      expectedIssuer: cluster.url,
      assertion: async ({ authorizationServerUrl: audience, resourceUrl: resource, scope, fetchFn }) => {
        const asked = { idpUrl: idp.url, audience, resource, idToken: 'the ID token', clientId: 'at-the-idp', fetchFn }
        return (await discoverAndRequestJwtAuthGrant({ ...asked, ...(scope !== undefined && { scope }) })).jwtAuthGrant
      },
    })
    const client = new Client({ name: 'cross-app', version: '1' })
    try {
      await client.connect(new StreamableHTTPClientTransport(cluster.mcpUrl('everything'), { authProvider }))
      expect((await client.listTools()).tools.map(({ name }) => name)).toContain('echo')
    } finally {
      await client.close()
      idp.answer = undefined
    }
    await eventually('the session', async () =>
      (await cluster.events({ type: 'mcp.session.start', user: 'ana@example.com' })).find(
        ({ client_info }) => client_info === 'cross-app/1',
      ),
    )
  })

  it('with a key needs no secret', async () => {
    const { publicKey, privateKey } = await generateKeyPair('ES256')
    const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256', use: 'sig' }] }
    await save('oauth_client', {
      name: 'keyed',
      spec: { grant_types: [BEARER_GRANT], token_endpoint_auth_method: 'private_key_jwt', jwks },
    })
    const proof = await new SignJWT({})
      .setProtectedHeader({ alg: 'ES256', kid: 'one' })
      .setIssuer('keyed')
      .setSubject('keyed')
      .setAudience(cluster.url)
      .setJti(crypto.randomUUID())
      .setIssuedAt()
      .setExpirationTime('1m')
      .sign(privateKey)
    const assertion = await idp.sign(claims({ client_id: 'keyed', aud: `${cluster.url}/` }), TYP)
    const answer = await trade(assertion, {
      client_id: 'keyed',
      client_secret: null,
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      client_assertion: proof,
    })
    expect(answer).toMatchObject({ status: 200 })
    expect(await call(EVERYTHING, answer.access_token)).toBe(200)
  })
})
