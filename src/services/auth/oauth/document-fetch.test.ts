import { afterAll, beforeAll, expect, test } from 'vitest'
import { type DocumentServer, startDocumentServer } from '../../../../test/fakes/document-server.ts'
import { createDocumentFetch } from './document-fetch.ts'

// What strangers name is fetched from public addresses only; here a name server says what those are.

const NAME = 'client.example.com'
const ID = `https://${NAME}/client.json`

let documents: DocumentServer
let inside: DocumentServer
beforeAll(async () => {
  ;[documents, inside] = await Promise.all([startDocumentServer([NAME]), startDocumentServer()])
})
afterAll(async () => {
  await Promise.all([documents.close(), inside.close()])
})

/** The name at the port of the server, whatever it is looked up as. */
const at = (path = '/client.json'): string => `https://${NAME}:${new URL(documents.url).port}${path}`

function answer(body: unknown, { status = 200, headers = {} }: { status?: number; headers?: Record<string, string> } = {}): void {
  documents.answer = (_, response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers })
    response.end(typeof body === 'string' ? body : JSON.stringify(body))
  }
}

const document = (changes: Record<string, unknown> = {}) => ({
  client_id: at(),
  client_name: 'C',
  redirect_uris: ['https://c.example.com/cb'],
  ...changes,
})

test.each([
  [['127.0.0.1']],
  [['169.254.169.254']],
  [['::ffff:127.0.0.1']],
  [['::ffff:a9fe:a9fe']],
  [['64:ff9b::7f00:1']],
  [['::']],
  [['fd00::1']],
  [['fe80::1']],
  [['10.1.2.3']],
  [['100.64.0.1']],
  [['93.184.215.14', '192.168.0.1']],
  [['2002:7f00:1::']],
])('a name that leads to %s is not asked', async (addresses) => {
  answer(document())
  const before = documents.seen.length
  const fetchDocument = createDocumentFetch({ lookup: async () => addresses })
  await expect(fetchDocument(at())).rejects.toMatchObject({ code: 'permission_denied' })
  expect(documents.seen).toHaveLength(before)
})

test('the address that was checked is the one that is asked, whatever the name leads to a moment later', async () => {
  answer(document())
  let asked = 0
  const lookup = async (): Promise<string[]> => (++asked === 1 ? ['127.0.0.1'] : ['169.254.169.254'])
  const response = await createDocumentFetch({ allowLoopback: true, lookup })(at())
  expect(response.status).toBe(200)
  expect(asked).toBe(1)
})

const loopback = (options = {}) => createDocumentFetch({ allowLoopback: true, lookup: async () => ['127.0.0.1'], ...options })

test('a redirect is followed nowhere', async () => {
  inside.answer = (_, response) => void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(document()))
  for (const status of [301, 302, 307, 308]) {
    answer('', { status, headers: { location: `${inside.url}/client.json` } })
    expect((await loopback()(at())).status).toBe(status)
  }
  expect(inside.seen).toEqual([])
})

test.each([
  ['larger than is read', () => answer(document({ client_name: 'x'.repeat(40_000) }))],
  [
    'that never ends',
    () => {
      documents.answer = (_, response) => {
        response.writeHead(200, { 'content-type': 'application/json' })
        const timer = setInterval(() => response.write(' '), 20)
        response.on('close', () => clearInterval(timer))
      }
    },
  ],
  ['that never begins', () => (documents.answer = () => undefined)],
])('a document %s is given up', async (_, prepare) => {
  prepare()
  await expect(loopback({ timeoutMs: 300 })(at())).rejects.toMatchObject({ code: 'unavailable' })
})

test('a name server that says nothing is waited for no longer', async () => {
  const lookup = (): Promise<string[]> => new Promise(() => undefined)
  await expect(createDocumentFetch({ lookup, timeoutMs: 50 })(ID)).rejects.toMatchObject({ code: 'unavailable' })
})

test.each(['text/html', 'text/plain', 'image/svg+xml', 'application/octet-stream', ''])('what comes as %s is no document', async (type) => {
  answer(document(), { headers: { 'content-type': type } })
  const response = await loopback()(at())
  expect(response.status).toBe(502)
  expect(await response.text()).toBe('')
})

test.each([
  [['javascript:alert(1)'], 'has a scheme that is not allowed'],
  [['http://c.example.com/cb'], 'needs https'],
  [['https://c.example.com/cb#x'], 'has a fragment'],
])('a document may not have answers sent to %s', async (redirect_uris, why) => {
  answer(document({ redirect_uris }))
  await expect(loopback()(at())).rejects.toThrow(why)
})

test('of a document counts what is known, and nothing that only an administrator may say', async () => {
  answer(
    document({
      grant_types: ['authorization_code', 'client_credentials', 'implicit'],
      client_secret: 'x',
      bot: 'ci',
      may_introspect: true,
    }),
  )
  expect(JSON.parse(await (await loopback()(at())).text())).toEqual({
    client_id: at(),
    client_name: 'C',
    redirect_uris: ['https://c.example.com/cb'],
    grant_types: ['authorization_code'],
    response_types: ['code'],
    application_type: 'web',
  })
})
