import { once } from 'node:events'
import type { RequestListener } from 'node:http'
import { createServer } from 'node:https'
import type { Server } from 'node:https'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createAuthority } from '../../../ca/authority.ts'
import { issueCertificate } from '../../../ca/certificate.ts'
import { generateKeyPair, renderPrivateKey } from '../../../ca/keys.ts'
import { createDocumentFetch } from './document-fetch.ts'

const HOST = 'client.example.com'
let server: Server
let port: number
let ca: string
let serve: RequestListener
let asked: string[]

beforeAll(async () => {
  const now = Date.now()
  const authority = createAuthority('host', 'test', now)
  const pair = await generateKeyPair()
  const cert = issueCertificate({
    subject: { commonName: HOST, organization: ['test'] },
    publicKey: pair.publicKey,
    issuer: authority,
    notBefore: now - 60_000,
    notAfter: now + 3_600_000,
    usage: 'server',
    names: { dns: [HOST], ip: [] },
    serial: new Uint8Array(16).fill(1),
  })
  ca = authority.certificatePem
  server = createServer({ key: renderPrivateKey(pair.privateKey), cert }, (request, response) => {
    asked.push(`${request.headers.host} ${request.url} ${Object.keys(request.headers).toSorted().join(',')}`)
    serve(request, response)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  port = typeof address === 'object' && address !== null ? address.port : 0
})
afterAll(() => server.close())
beforeEach(() => {
  asked = []
})

const url = (): string => `https://${HOST}:${port}/client.json`
const fetchHere = (text = url()) =>
  createDocumentFetch({ allowLoopback: true, ca, lookup: async () => ['127.0.0.1'], timeoutMs: 300, maxBytes: 2000 })(text)
const document = () => ({
  client_id: url(),
  client_name: 'Agent',
  redirect_uris: ['http://localhost/callback'],
  logo_uri: 'https://x.example.com/l.png',
})
const json: (body: unknown, status?: number, headers?: Record<string, string>) => RequestListener =
  (body, status = 200, headers = {}) =>
  (_, response) =>
    void response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))

test('this machine is not asked unless somebody says so', async () => {
  serve = json(document())
  await expect(createDocumentFetch({ ca, lookup: async () => ['127.0.0.1'] })(url())).rejects.toMatchObject({ code: 'permission_denied' })
  expect(asked).toEqual([])
})

test('a redirect is not followed', async () => {
  serve = json({}, 302, { location: `https://${HOST}:${port}/other` })
  expect((await fetchHere()).status).toBe(302)
  expect(asked.length).toBe(1)
})

test('too much, too slow and another name are refused', async () => {
  serve = json({ ...document(), client_name: 'x'.repeat(3000) })
  await expect(fetchHere()).rejects.toMatchObject({ code: 'unavailable' })
  serve = () => undefined
  await expect(fetchHere()).rejects.toMatchObject({ code: 'unavailable' })
  serve = json(document())
  await expect(fetchHere(`https://other.example.com:${port}/client.json`)).rejects.toMatchObject({ code: 'unavailable' })
})

test('a document with an address that no answer is sent to is refused', async () => {
  serve = json({ ...document(), redirect_uris: ['javascript:alert(1)'] })
  await expect(fetchHere()).rejects.toMatchObject({ error: 'invalid_redirect_uri' })
})

test('of a document only what counts is read, and it says what kind of client it is', async () => {
  serve = json({ ...document(), grant_types: ['authorization_code', 'password'] })
  expect(await (await fetchHere()).json()).toEqual({
    client_id: url(),
    client_name: 'Agent',
    redirect_uris: ['http://localhost/callback'],
    grant_types: ['authorization_code'],
    response_types: ['code'],
    application_type: 'native',
  })
  expect(asked).toEqual([`${HOST}:${port} /client.json accept,connection,host,user-agent`])
})
