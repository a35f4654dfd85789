import { once } from 'node:events'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer as createHttpServer, request as httpRequest } from 'node:http'
import { createServer as createTlsServer, request as tlsRequest } from 'node:https'
import type { Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ROUTES } from '../../api/routes.ts'
import { issueIdentityCertificate } from '../../ca/identity-certificate.ts'
import { createAuthority } from '../../ca/authority.ts'
import { generateKeyPair, renderPrivateKey } from '../../ca/keys.ts'
import { ADMIN, PASSWORD, proveKey, startFixture } from './auth-fixture.ts'
import type { Fixture } from './auth-fixture.ts'

let f: Fixture
const servers: Server[] = []
let plain = 0
let tls = 0
let local = 0

beforeAll(async () => {
  f = await startFixture({ now: Date.now, limits: { publicCallsPerMinute: 80 } })
  const { key, cert } = await f.auth.issueServerCertificate({ dns: ['localhost'], ip: ['127.0.0.1'] })
  plain = await listen(createHttpServer(f.auth.handler))
  local = await listen(createHttpServer(f.auth.localHandler))
  tls = await listen(createTlsServer({ key, cert, requestCert: true, rejectUnauthorized: false }, f.auth.handler))
})
afterAll(async () => {
  for (const server of servers) server.close()
  await f.close()
})

async function listen(server: Server): Promise<number> {
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  return typeof address === 'object' && address ? address.port : 0
}

interface Reply {
  status: number | undefined
  headers: Record<string, string | string[] | undefined>
  body: string
}

async function ask(port: number, path: string, headers: Record<string, string> = {}): Promise<Reply> {
  const request = httpRequest({ host: '127.0.0.1', port, path, headers: { host: `localhost:${port}`, ...headers } }).end()
  const [response] = await once(request, 'response')
  return { status: response.statusCode, headers: response.headers, body: await text(response) }
}

async function askTls(path: string, identity: { key: string; cert: string } | undefined): Promise<Reply> {
  const request = tlsRequest({ host: 'localhost', port: tls, path, ca: f.auth.hostAuthorityPems(), agent: false, ...identity }).end()
  const [response] = await once(request, 'response')
  return { status: response.statusCode, headers: response.headers, body: await text(response) }
}

test('a page of another site, also under a rebound name, is refused', async () => {
  expect(await ask(plain, '/v1/webapi/find', { host: 'evil.example' })).toMatchObject({ status: 403 })
  expect(await ask(plain, '/v1/webapi/find', { origin: 'https://evil.example' })).toMatchObject({ status: 403 })
  expect(await ask(plain, '/v1/webapi/find', { host: '192.0.2.1', origin: 'https://evil.example' })).toMatchObject({ status: 403 })
  expect(await ask(plain, '/v1/webapi/find', { host: '192.0.2.1:3080', origin: 'https://192.0.2.1:3080' })).toMatchObject({ status: 200 })
  expect(await ask(plain, '/v1/webapi/find', { host: 'proxy.example.com:3080' })).toMatchObject({ status: 200 })
  expect((await ask(plain, '/v1/webapi/find', { origin: `http://localhost:${plain}` })).headers).not.toHaveProperty(
    'access-control-allow-origin',
  )
})

test('every answer carries the security headers; pages have no script', async () => {
  for (const path of ['/v1/webapi/find', '/nothing', '/v1/whoami'])
    expect((await ask(plain, path)).headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
      'content-security-policy': expect.stringContaining("default-src 'none'"),
    })
  const page = await ask(plain, '/web/login?id=x')
  expect(page).toMatchObject({
    status: 404,
    headers: {
      'content-type': expect.stringContaining('text/html'),
      'cache-control': 'no-store',
      'content-security-policy': expect.stringContaining("style-src 'self'"),
    },
  })
  expect(page.body).not.toContain('<script')
  expect(await ask(plain, '/web/style.css')).toMatchObject({ status: 200, headers: { 'content-type': 'text/css; charset=utf-8' } })
})

test('only a certificate of this cluster says who calls', async () => {
  expect(await ask(plain, '/v1/whoami')).toMatchObject({ status: 401, headers: { 'www-authenticate': 'Bearer' } })
  expect(await askTls('/v1/whoami', undefined)).toMatchObject({ status: 401 })
  const foreign = createAuthority('user', 'example', Date.now())
  const pair = await generateKeyPair()
  const fields = { kind: 'user' as const, name: 'ana', roles: ['editor'], mfaVerified: true }
  const forged = issueIdentityCertificate(foreign, 'example', pair.publicKey, fields, { now: Date.now(), ttlMs: 60_000 })
  expect(await askTls('/v1/whoami', { key: renderPrivateKey(pair.privateKey), cert: forged.certificatePem })).toMatchObject({ status: 401 })

  await f.addUser('ana', ['access'])
  const { privateKeyPem, proof } = await proveKey('login', 'ana')
  const { body } = await f.call('POST', '/v1/login/local', { user: 'ana', password: PASSWORD, ...proof })
  const mine = { key: privateKeyPem, cert: body.certificate }
  const answer = await askTls('/v1/whoami', mine)
  expect(JSON.parse(answer.body)).toMatchObject({ kind: 'user', name: 'ana', roles: ['access'], cluster_name: 'example' })
  expect(await f.call('DELETE', '/v1/resources/user/ana', undefined, ADMIN)).toMatchObject({ status: 200 })
  expect(await askTls('/v1/whoami', mine)).toMatchObject({ status: 401 })
})

test('the local socket speaks for the administrator', async () => {
  expect(JSON.parse((await ask(local, '/v1/whoami', { host: 'whatever' })).body)).toMatchObject({
    kind: 'host',
    name: 'local-admin',
    roles: ['Admin'],
  })
})

test('invalid tokens are counted, so that they cannot fill the audit log', async () => {
  const before = (await f.events()).length
  for (let i = 0; i < 90; i += 1) await f.call('GET', '/v1/whoami', undefined, 'spt_nonsense')
  expect(await f.call('GET', '/v1/whoami', undefined, 'spt_nonsense')).toMatchObject({ status: 429 })
  expect((await f.events()).length - before).toBeLessThanOrEqual(80)
})

test('public routes are limited per address', async () => {
  const statuses: (number | undefined)[] = []
  for (let i = 0; i < 81; i += 1) statuses.push((await ask(plain, '/v1/webapi/find')).status)
  expect(statuses.at(-1)).toBe(429)
})

test('what a client asks first', async () => {
  const { body } = await f.call('GET', '/v1/webapi/find')
  expect(body).toMatchObject({
    server_version: '1.2.3',
    cluster_name: 'example',
    auth: { type: 'local', second_factor: 'optional' },
    ca_pins: [expect.stringMatching(/^sha256:[0-9a-f]{64}$/)],
  })
  expect(await f.call('GET', '/.well-known/jwks.json')).toMatchObject({
    status: 200,
    body: {
      keys: [
        { kty: 'EC', kid: f.auth.assertionKeys()[0]?.kid },
        { kty: 'EC', use: 'sig' },
      ],
    },
  })
  expect(await f.call('GET', '/v1/status', undefined, ADMIN)).toMatchObject({
    status: 200,
    body: { authorities: [{ type: 'user' }, { type: 'host' }, { type: 'db' }, { type: 'db_client' }, { type: 'spiffe' }] },
  })
})

test('every row of the contract is served', async () => {
  for (const row of Object.values(ROUTES)) {
    const answer = await f.call(row.method, row.path, row.method === 'GET' || row.method === 'DELETE' ? undefined : {})
    expect([row.name, answer.body.error?.message ?? '']).not.toEqual([row.name, expect.stringMatching(/^there is no /)])
  }
})

test('the second start finds what the first one made; a deleted preset stays deleted', async () => {
  const dataDirectory = await mkdtemp(join(tmpdir(), 'sallyport-auth-'))
  const first = await startFixture({ dataDirectory })
  expect(first.auth.feed.list('role').map((role) => role.metadata.name)).toEqual(['access', 'auditor', 'editor', 'mcp-user'])
  expect(await first.auth.hasUsers()).toBe(false)
  const before = { keys: first.auth.assertionKeys()[0]?.kid, host: first.auth.hostAuthorityPems() }
  await first.call('DELETE', '/v1/resources/role/mcp-user', undefined, ADMIN)
  await first.auth.close()
  const file = await readFile(join(dataDirectory, 'audit', '2027-01-31.jsonl'), 'utf8')
  expect(
    file
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).event),
  ).toEqual(['cluster.start', 'role.deleted', 'cluster.stop'])
  expect((await stat(join(dataDirectory, 'secret.key'))).mode & 0o777).toBe(0o600)

  await expect(startFixture({ dataDirectory, yaml: { cluster_name: 'other' } })).rejects.toMatchObject({ code: 'failed_precondition' })
  const second = await startFixture({ dataDirectory, yaml: {} })
  expect(second.auth.clusterName).toBe('example')
  expect({ keys: second.auth.assertionKeys()[0]?.kid, host: second.auth.hostAuthorityPems() }).toEqual(before)
  expect(second.auth.feed.list('role').map((role) => role.metadata.name)).toEqual(['access', 'auditor', 'editor'])
  await second.auth.close()

  await rm(join(dataDirectory, 'secret.key'))
  await expect(startFixture({ dataDirectory })).rejects.toThrow('is missing, and the store is sealed with its key')
  await writeFile(join(dataDirectory, 'secret.key'), Buffer.alloc(32, 7).toString('base64url'))
  await expect(startFixture({ dataDirectory })).rejects.toMatchObject({
    code: 'failed_precondition',
    message: expect.stringContaining('secret.key'),
  })
  await rm(dataDirectory, { recursive: true })
})

test('sealed in the store, not readable there', async () => {
  const stored = Buffer.concat(await Promise.all(['sallyport.db', 'sallyport.db-wal'].map((name) => readFile(join(f.dataDirectory, name)))))
  expect(stored.includes('sealed-v1.')).toBe(true)
  expect(stored.includes('PRIVATE KEY')).toBe(false)
})

test('a body over the limit or of unknown length is refused before it is read; a DELETE without one is served', async () => {
  const send = async (method: string, path: string, body: string | undefined, headers: Record<string, string>): Promise<Reply> => {
    const request = httpRequest({
      host: '127.0.0.1',
      port: local,
      method,
      path,
      headers: { host: 'localhost', 'content-type': 'application/json', ...headers },
    })
    request.end(body)
    const [response] = await once(request, 'response')
    return { status: response.statusCode, headers: response.headers, body: await text(response) }
  }
  const role = { kind: 'role', version: 'v8', metadata: { name: 'gone-soon' }, spec: {} }
  const create = JSON.stringify({ kind: 'role', resource: role })
  const large = JSON.stringify({ kind: 'role', resource: { ...role, metadata: { name: 'large', description: 'x'.repeat(1024 * 1024) } } })
  expect((await send('POST', '/v1/resources/role', large, { 'content-length': String(large.length) })).status).toBe(400)
  expect((await send('POST', '/v1/resources/role', create, { 'transfer-encoding': 'chunked' })).body).toContain(
    'send the body with Content-Length',
  )
  expect((await send('POST', '/v1/resources/role', create, { 'content-length': String(create.length) })).status).toBe(200)
  expect(await send('DELETE', '/v1/resources/role/gone-soon', undefined, {})).toMatchObject({ status: 200, body: '{}' })
})
