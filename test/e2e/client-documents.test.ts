import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { findEverything } from '../../src/cli/server/demo.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { type DocumentServer, startDocumentServer } from '../fakes/document-server.ts'
import { type Issuer, startIssuer } from '../fakes/issuer.ts'
import { OAuthFlow } from '../fakes/oauth-flow.ts'
import { OAuthSession } from '../fakes/oauth-session.ts'
import { PlainBrowser } from '../fakes/plain-browser.ts'

// Clients that say who they are at an address of their own (client-id metadata documents).

const EVERYTHING = '/mcp/apps/everything'

let cluster: Cluster
let documents: DocumentServer
let idp: Issuer

beforeAll(async () => {
  ;[cluster, documents, idp] = await Promise.all([
    startCluster({ file: { auth_service: { cluster_name: 'test', oauth: { loopback_documents: true } } } }),
    startDocumentServer(),
    startIssuer(),
  ])
  await cluster.saveStdioApp('everything', process.execPath, [findEverything(), 'stdio'])
  await cluster.saveRole('echoes', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['echo'] } } })
  await cluster.saveUser('ana', ['echoes'])
}, 60_000)
afterAll(async () => {
  await Promise.all([cluster.close(), documents.close(), idp.close()])
})

function publish(document: Record<string, unknown>): void {
  documents.answer = (_, response) => void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(document))
}

test('a client of the SDK that has one registers nowhere, and gets the tools of the role', async () => {
  const session = new OAuthSession()
  const clientMetadataUrl = `${documents.url}/sdk.json`
  publish({ ...session.clientMetadata, client_id: clientMetadataUrl, client_name: 'With a document' })
  const authProvider = { ...session.provider(), clientMetadataUrl }
  const url = new URL(EVERYTHING, cluster.url)
  const first = new StreamableHTTPClientTransport(url, { authProvider })
  await expect(new Client({ name: 'test', version: '1' }).connect(first)).rejects.toThrow(UnauthorizedError)
  expect(session.authorizationUrl?.searchParams.get('client_id')).toBe(clientMetadataUrl)
  await first.finishAuth((await new PlainBrowser().allow(session.authorizationUrl ?? '', 'ana')).searchParams)
  const client = new Client({ name: 'test', version: '1' })
  await client.connect(new StreamableHTTPClientTransport(url, { authProvider }))
  expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['echo'])
  await client.close()
  expect(await cluster.events({ type: 'oauth.client.register' })).toEqual([])
  expect((await cluster.events({ type: 'oauth.grant.create' })).at(-1)).toMatchObject({
    client_id: clientMetadataUrl,
    client_name: 'With a document',
  })
})

test.each([
  ['of somebody else', { client_id: 'https://example.com/other.json' }],
  ['without a name of its own', { client_id: undefined }],
  ['with a secret', { client_secret: 'x', token_endpoint_auth_method: 'client_secret_basic' }],
  ['with another address for answers', { redirect_uris: ['https://evil.example.com/cb'] }],
  ['that is no object', undefined],
])('a document %s lets nobody in, and that is written down', async (what, changes) => {
  const id = `${documents.url}/${encodeURIComponent(what)}.json`
  const right = {
    client_id: id,
    client_name: 'Wrong',
    redirect_uris: ['http://127.0.0.1:7777/callback'],
    token_endpoint_auth_method: 'none',
  }
  if (changes) publish({ ...right, ...changes })
  else documents.answer = (_, response) => void response.writeHead(200, { 'content-type': 'application/json' }).end('[]')
  const flow = new OAuthFlow(cluster)
  expect((await flow.browser.open(flow.authorizeUrl({ client_id: id }))).status).toBe(400)
  expect((await cluster.events({ type: 'oauth.authorize.failure' })).at(-1)).toMatchObject({
    success: false,
    client_id: id,
    error: expect.stringMatching(/^invalid_/),
  })
})

test('a document that is elsewhere now is not looked for there', async () => {
  const id = `${documents.url}/moved.json`
  documents.answer = (_, response) => void response.writeHead(302, { location: `${cluster.url}/healthz` }).end()
  const flow = new OAuthFlow(cluster)
  expect((await flow.browser.open(flow.authorizeUrl({ client_id: id }))).status).toBe(400)
  expect((await cluster.events({ type: 'oauth.authorize.failure' })).at(-1)).toMatchObject({ client_id: id })
})

test.each([
  'https://10.0.0.1/client.json',
  'https://169.254.169.254/latest/meta-data/client.json',
  'https://[::ffff:10.0.0.1]/client.json',
])('%s is not asked for who it is', async (id) => {
  const flow = new OAuthFlow(cluster)
  const page = await flow.browser.open(flow.authorizeUrl({ client_id: id }))
  expect(page.status).toBeGreaterThanOrEqual(400)
  expect((await cluster.events({ type: 'oauth.authorize.failure' })).at(-1)).toMatchObject({ client_id: id, success: false })
})

test('a client with a key in its document trades what the identity provider says of a person', async () => {
  const BEARER_GRANT = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
  const id = `${documents.url}/keyed.json`
  const { publicKey, privateKey } = await generateKeyPair('ES256')
  const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256', use: 'sig' }] }
  publish({ client_id: id, client_name: 'Keyed', grant_types: [BEARER_GRANT], token_endpoint_auth_method: 'private_key_jwt', jwks })
  await cluster.save({
    kind: 'oidc',
    version: 'v3',
    metadata: { name: 'corp' },
    spec: {
      issuer_url: idp.url,
      client_id: 'sallyport',
      client_secret: 'a secret',
      claims_to_roles: [{ claim: 'groups', value: 'dev', roles: ['echoes'] }],
      accept_id_jag: true,
    },
  })
  const claims = {
    sub: 'u',
    aud: cluster.url,
    client_id: id,
    jti: 'j',
    resource: cluster.url + EVERYTHING,
    email: 'eva@example.com',
    email_verified: true,
    groups: ['dev'],
  }
  const assertion = await idp.sign(claims, { typ: 'oauth-id-jag+jwt' })
  const proof = await new SignJWT({})
    .setProtectedHeader({ alg: 'ES256', kid: 'one' })
    .setIssuer(id)
    .setSubject(id)
    .setAudience(cluster.url)
    .setJti('k')
    .setIssuedAt()
    .setExpirationTime('1m')
    .sign(privateKey)
  const flow = new OAuthFlow(cluster)
  flow.clientId = id
  const tokens = await flow.token({
    grant_type: BEARER_GRANT,
    assertion,
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: proof,
  })
  expect(tokens).toMatchObject({ status: 200, scope: 'mcp' })
  expect((await flow.call(EVERYTHING, tokens.access_token)).status).toBe(200)
})
