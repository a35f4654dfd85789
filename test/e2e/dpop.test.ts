import { createHash } from 'node:crypto'
import { Client, DpopSession, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { findEverything } from '../../src/cli/server/demo.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { OAuthFlow, REDIRECT } from '../fakes/oauth-flow.ts'
import { OAuthSession } from '../fakes/oauth-session.ts'
import { PlainBrowser } from '../fakes/plain-browser.ts'

// Tokens bound to a key (RFC 9449) where the server asks for proofs that were made just now: with a nonce of its own.

const EVERYTHING = '/mcp/apps/everything'

let cluster: Cluster

beforeAll(async () => {
  cluster = await startCluster({ file: { auth_service: { cluster_name: 'test', oauth: { dpop_nonces: 'required' } } } })
  await cluster.saveStdioApp('everything', process.execPath, [findEverything(), 'stdio'])
  await cluster.saveRole('echoes', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['echo'] } } })
  await cluster.saveUser('ana', ['echoes'])
}, 60_000)
afterAll(() => cluster.close())

async function makeKey() {
  const { publicKey, privateKey } = await generateKeyPair('ES256')
  const jwk = await exportJWK(publicKey)
  return (path: string, claims: Record<string, unknown>) =>
    new SignJWT({ htm: 'POST', htu: cluster.url + path, jti: crypto.randomUUID(), ...claims })
      .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk })
      .setIssuedAt()
      .sign(privateKey)
}

async function call(path: string, token: string, dpop: string) {
  const response = await fetch(new URL(path, cluster.url), {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      authorization: `DPoP ${token}`,
      dpop,
    },
    body: '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bound","version":"1"}}}',
  })
  await response.text()
  return { status: response.status, challenge: response.headers.get('www-authenticate'), nonce: response.headers.get('dpop-nonce') ?? '' }
}

test('a proof without a nonce of the server is sent back for one, and each is good once', async () => {
  const flow = new OAuthFlow(cluster)
  await flow.register()
  const prove = await makeKey()
  const code = await flow.code('ana', { resource: `${cluster.url}/mcp` })
  const ask = async (claims: Record<string, unknown>) => {
    const body = new URLSearchParams({
      grant_type: 'authorization_code',
      code,
      redirect_uri: REDIRECT,
      code_verifier: flow.verifier,
      client_id: flow.clientId,
    })
    const response = await fetch(`${cluster.url}/oauth/token`, {
      method: 'POST',
      body,
      headers: { dpop: await prove('/oauth/token', claims) },
    })
    const answer = JSON.parse(await response.text()) as { error?: string; access_token?: string; token_type?: string } // compared below
    return { status: response.status, nonce: response.headers.get('dpop-nonce') ?? '', ...answer }
  }
  const first = await ask({})
  expect(first).toMatchObject({ status: 400, error: 'use_dpop_nonce', nonce: expect.stringMatching(/./) })
  const tokens = await ask({ nonce: first.nonce })
  expect(tokens).toMatchObject({ status: 200, token_type: 'DPoP' })
  const token = tokens.access_token ?? ''
  const ath = createHash('sha256').update(token).digest('base64url')

  for (const nonce of [undefined, 'made-up', first.nonce]) {
    const sent = await call('/mcp', token, await prove('/mcp', { ath, ...(nonce !== undefined && { nonce }) }))
    expect(sent).toMatchObject({
      status: 401,
      challenge: expect.stringMatching(/^DPoP .*error="use_dpop_nonce"/),
      nonce: expect.stringMatching(/./),
    })
  }
  const { nonce } = await call('/mcp', token, await prove('/mcp', { ath }))
  const proof = await prove('/mcp', { ath, nonce })
  expect(await call('/mcp', token, proof)).toMatchObject({ status: 200, nonce: expect.stringMatching(/./) })
  expect(await call('/mcp', token, proof)).toMatchObject({ status: 401, challenge: expect.stringContaining('error="invalid_dpop_proof"') })
  const refused = { type: 'oauth.token.use.failure' }
  expect((await cluster.events(refused)).at(-1)).toMatchObject({ resource: '/mcp', error: expect.stringContaining('it was used before') })
  // A step of the protocol is no refusal.
  expect((await cluster.events(refused)).length).toBe(1)
  expect((await cluster.events({ type: 'oauth.token.issue' })).map(({ success }) => success)).toEqual([true])
})

test('a client of the official SDK does all that by itself', async () => {
  const session = new OAuthSession()
  const dpop = await DpopSession.create()
  const authProvider = { ...session.provider(), dpop: () => dpop }
  const url = new URL(EVERYTHING, cluster.url)
  const first = new StreamableHTTPClientTransport(url, { authProvider })
  await expect(new Client({ name: 'test', version: '1' }).connect(first)).rejects.toThrow(UnauthorizedError)
  await first.finishAuth((await new PlainBrowser().allow(session.authorizationUrl ?? '', 'ana')).searchParams)
  expect(session.kept).toMatchObject({ token_type: 'DPoP' })
  const client = new Client({ name: 'test', version: '1' })
  await client.connect(new StreamableHTTPClientTransport(url, { authProvider }))
  expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['echo'])
  await client.close()
})
