import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { SignJWT, UnsecuredJWT } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { deleteResource } from '../../src/api/resources.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { type EchoHttp, startEchoHttp } from '../fakes/echo-http.ts'
import { type Issuer, startIssuer } from '../fakes/issuer.ts'
import { askHttp } from '../fakes/raw-http.ts'
import { headersOf } from '../fakes/raw-mcp.ts'
import { eventually } from '../wait.ts'

// JWTs of another issuer at the endpoints of MCP servers.

let cluster: Cluster
let issuer: Issuer
let upstream: EchoHttp

beforeAll(async () => {
  cluster = await startCluster()
  issuer = await startIssuer()
  upstream = await startEchoHttp()
  await cluster.saveRole('dev', { allow: { app_labels: { env: ['dev', 'prod'] }, mcp: { tools: ['echo'] } } })
  await cluster.saveUser('ana@example.com', ['dev'])
  await cluster.saveUser('guest@example.com', ['auditor'])
  await cluster.saveHttpApp('tools', upstream.url, { env: 'dev' })
  await cluster.saveHttpApp('others', upstream.url, { env: 'prod' })
  await saveConfig('corp')
})
afterAll(async () => {
  await cluster.close()
  await issuer.close()
  await upstream.close()
})

function saveConfig(name: string, jwt: Record<string, unknown> = {}, labels: Record<string, string> = { env: 'dev' }): Promise<void> {
  const keys = 'static_jwks' in jwt ? {} : { jwks_url: `${issuer.url}/jwks` }
  const spec = { app_labels: labels, jwt: { issuer: issuer.url, audience: 'mcp', ...keys, ...jwt } }
  return cluster.save({ kind: 'app_auth_config', sub_kind: 'jwt', version: 'v1', metadata: { name }, spec })
}

const sign = (claims: Record<string, unknown> = {}, options: Parameters<Issuer['sign']>[1] = {}) =>
  issuer.sign({ email: 'ana@example.com', aud: 'mcp', ...claims }, options)

const PING =
  '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}'

async function ask(token: string, server = 'tools', headers: Record<string, string> = headersOf(token)) {
  const { status, text } = await askHttp(cluster.mcpUrl(server), { headers, body: PING })
  return { status, text }
}

test('what is not of this issuer, for this audience, in time and signed by its keys is refused, and written down', async () => {
  const secret = new TextEncoder().encode(JSON.stringify(issuer.jwks().keys[0]))
  const hmac = new SignJWT({ email: 'ana@example.com', aud: 'mcp' }).setProtectedHeader({ alg: 'HS256' }).setIssuer(issuer.url)
  const none = new UnsecuredJWT({ email: 'ana@example.com', aud: 'mcp' }).setIssuer(issuer.url).setExpirationTime('5m').encode()
  const right = await sign()
  const cases: [string, string][] = [
    [await sign({ aud: 'other' }), '"aud" is not as it has to be'],
    [await sign({}, { expiresAt: Date.now() / 1000 - 60 }), 'it has expired'],
    [await sign({}, { issuer: 'https://evil.example' }), 'its issuer is not one that this MCP server accepts'],
    [await sign({}, { kid: 'unknown' }), 'it is signed with a key that its issuer does not have'],
    [`${right.slice(0, -6)}AAAAAA`, 'its signature is wrong'],
    [await hmac.setExpirationTime('5m').sign(secret), 'an algorithm that is not accepted'],
    [`${none}AAAA`, 'not accepted'],
    [await sign({ email: undefined }), '"email" names nobody'],
    [await sign({ email: ['ana@example.com'] }), '"email" names nobody'],
    [await sign({ email: 'nobody@example.com' }), 'does not exist'],
    [await sign({ email: 'bot-x' }), 'does not exist'],
  ]
  const reasons = await Promise.all(cases.map(async ([token]) => await ask(token)))
  expect(reasons.map(({ status }) => status)).toEqual(cases.map(() => 401))
  for (const [index, [, reason]] of cases.entries()) expect(reasons[index]?.text.replaceAll('\\"', '"')).toContain(reason)
  const events = await cluster.events({ type: 'app_auth_config.verify.failure' })
  expect(events).toHaveLength(cases.length)
  expect(events[0]).toMatchObject({ code: 'SPAAC001W', server: 'tools', success: false })
  expect(JSON.stringify(events).includes(right)).toBe(false)
})

test('a token without an end is refused', async () => {
  const { privateKey, publicKey } = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
  const jwk = { ...(await crypto.subtle.exportKey('jwk', publicKey)), kid: 'one', alg: 'ES256' }
  await saveConfig('static', { issuer: 'https://static.example', static_jwks: JSON.stringify({ keys: [jwk] }) })
  const made = () =>
    new SignJWT({ email: 'ana@example.com', aud: 'mcp' })
      .setProtectedHeader({ alg: 'ES256', kid: 'one' })
      .setIssuer('https://static.example')
  expect((await ask(await made().sign(privateKey))).text).toContain('exp')
  expect((await ask(await made().setExpirationTime('5m').sign(privateKey))).status).toBe(200)
})

test('it opens the servers of its labels only, and only as far as the roles of the user go', async () => {
  expect((await ask(await sign(), 'others')).status).toBe(401)
  expect((await ask(await sign({ email: 'guest@example.com' }))).status).toBe(404)
  const { status } = await askHttp(new URL('/mcp', cluster.url), { headers: headersOf(await sign()), body: PING })
  expect(status).toBe(401)
  const api = await fetch(new URL('/v1/whoami', cluster.url), { headers: { authorization: `Bearer ${await sign()}` } })
  expect(api.status).toBe(401)
})

test('a user works with it, as the same user with each new token', async () => {
  const client = new Client({ name: 'test', version: '1' })
  const fetchSigned = async (url: URL | string, init?: RequestInit) => {
    const headers = new Headers(init?.headers)
    headers.set('authorization', `Bearer ${await sign({ n: Math.random() })}`)
    return await fetch(url, { ...init, headers })
  }
  await client.connect(new StreamableHTTPClientTransport(cluster.mcpUrl('tools'), { fetch: fetchSigned }))
  const result = await client.callTool({ name: 'echo', arguments: { text: 'hello' } })
  expect(JSON.stringify(result.content)).toContain('hello')
  expect(upstream.seen.at(-1)?.headers['authorization']).toBeUndefined()
  const [event] = await cluster.eventsOnceThere({ type: 'app_auth_config.verify.success' }, 1)
  expect(event).toMatchObject({ code: 'SPAAC001I', server: 'tools', success: true })

  // Taking the configuration away ends what rests on it.
  await cluster.admin(deleteResource, { kind: 'app_auth_config', name: 'corp' })
  await eventually('the session ends', () =>
    client.callTool({ name: 'echo', arguments: { text: 'again' } }).then(
      () => undefined,
      () => true,
    ),
  )
  expect((await ask(await sign())).status).toBe(401)
  await saveConfig('corp')
})

test('another header may carry it, which then goes nowhere else', async () => {
  await saveConfig('corp', { authorization_header: 'X-Corp-Jwt' })
  const { authorization: _, ...plain } = headersOf('')
  const token = await sign()
  expect((await ask('', 'tools', { ...plain, 'x-corp-jwt': `${token}x` })).status).toBe(401)
  expect((await ask('', 'tools', plain)).status).toBe(401)
  expect((await ask('', 'tools', { ...plain, 'x-corp-jwt': token })).status).toBe(200)
  expect((await ask('', 'tools', { ...plain, 'x-corp-jwt': `Bearer ${token}` })).status).toBe(200)
  expect(JSON.stringify(upstream.seen).includes(token)).toBe(false)
  const events = await cluster.eventsOnceThere({ type: 'mcp.session.start' }, 1)
  expect(JSON.stringify(events).includes(token)).toBe(false)
  await saveConfig('corp')
})

test.each([
  [{ jwks_url: 'http://10.0.0.1/keys' }, 'has to be https'],
  [{ static_jwks: '{}' }, 'static_jwks is not a JWKS'],
  [{ static_jwks: '{"keys":[]}', jwks_url: 'https://x.example/keys' }, 'one of jwks_url and static_jwks'],
  [{ authorization_header: 'Cookie' }, 'means something else'],
])('a configuration that cannot work is not saved: %o', async (jwt, reason) => {
  await expect(saveConfig('bad', jwt)).rejects.toThrow(reason)
})
