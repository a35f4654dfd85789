import { createHash, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { issueRouteAssertion } from '../../src/api/identity.ts'
import { type IdentityFile, parseIdentityFile } from '../../src/ca/identity-file.ts'
import { openIdentityApi } from '../../src/client/join.ts'
import type { Exchange } from '../../src/tunnel/exchange.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { ECHO_STDIO } from '../fakes/stdio-app.ts'

// What an agent that keeps what it is sent, and a proxy that lies, gain by it: nothing.

let cluster: Cluster
let alice: IdentityFile
let mallory: IdentityFile

beforeAll(async () => {
  cluster = await startCluster()
  await cluster.saveStdioApp('tools', process.execPath, [ECHO_STDIO])
  await cluster.saveStdioApp('other', process.execPath, [ECHO_STDIO])
  await cluster.saveRole('dev', { allow: { app_labels: { env: 'test' }, mcp: { tools: ['echo'] } } })
  await cluster.saveUser('alice', ['dev'])
  await cluster.saveUser('mallory', ['dev'])
  alice = parseIdentityFile(await readFile(await cluster.identityFileOf('alice'), 'utf8'))
  mallory = parseIdentityFile(await readFile(await cluster.identityFileOf('mallory'), 'utf8'))
})
afterAll(() => cluster.close())

const proxy = () => ({ host: '127.0.0.1', port: cluster.running.address.port })
const PING =
  '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}'

async function assertionOf(identity: IdentityFile, server = 'tools'): Promise<string> {
  const { api, close } = openIdentityApi({ proxy: proxy() }, identity)
  try {
    return (await api(issueRouteAssertion, { server })).assertion
  } finally {
    close()
  }
}

/** A POST over TLS with a certificate or none; the status, and the text behind it. */
function post(assertion: string, identity: IdentityFile | undefined, server = 'tools'): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const credentials = identity && { key: identity.privateKeyPem, cert: identity.certificatePem }
    const socket = connectTls({ ...proxy(), ca: alice.authorityPems, ALPNProtocols: ['http/1.1'], ...credentials }, () => {
      const head = `POST /mcp/apps/${server} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${assertion}\r\nconnection: close\r\n`
      socket.write(
        `${head}content-type: application/json\r\naccept: application/json, text/event-stream\r\ncontent-length: ${PING.length}\r\n\r\n${PING}`,
      )
    })
    let text = ''
    socket.setEncoding('utf8').on('data', (part: string) => (text += part))
    socket.on('error', reject)
    socket.on('close', () => resolve({ status: Number(text.split(' ')[1]), text }))
  })
}

test('an assertion that an agent has seen is worth nothing at the proxy: without its certificate, or with another', async () => {
  const assertion = await assertionOf(alice)
  for (const thief of [undefined, mallory]) {
    const { status, text } = await post(assertion, thief)
    expect(status).toBe(401)
    expect(text).toContain('accepted only from the client that it was issued to')
  }
  const plain = await fetch(cluster.mcpUrl('tools'), {
    method: 'POST',
    headers: { authorization: `Bearer ${assertion}`, 'content-type': 'application/json' },
    body: PING,
  })
  expect(plain.status).toBe(401)
  expect((await post(assertion, alice)).status).toBe(200)
})

test('one that the proxy fetched for a token is accepted from nobody', async () => {
  const token = await cluster.tokenOf('alice')
  const answer = await fetch(`${cluster.url}/v1/assertions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: '{"server":"tools"}',
  })
  const { assertion } = (await answer.json()) as { assertion: string } // of our own API
  expect((await post(assertion, alice)).status).toBe(401)
  expect((await post(assertion, undefined)).status).toBe(401)
})

test('one whose binding was altered to the thief is no assertion any more', async () => {
  const [head, payload = '', signature] = (await assertionOf(alice)).split('.')
  const claims: Record<string, unknown> = { ...JSON.parse(Buffer.from(payload, 'base64url').toString()) }
  const certificate = new X509Certificate(mallory.certificatePem)
  claims['cnf'] = { 'x5t#S256': createHash('sha256').update(certificate.raw).digest('base64url') }
  const forged = [head, Buffer.from(JSON.stringify(claims)).toString('base64url'), signature].join('.')
  const { status, text } = await post(forged, mallory)
  expect(status).toBe(401)
  expect(text).toContain('its signature is wrong')
})

test('the agent decides by the assertion alone, whatever a lying proxy says of caller, server, method and body', async () => {
  const told = async (more: Partial<Exchange>): Promise<{ status: number; text: string }> => {
    const { promise, resolve } = Promise.withResolvers<{ status: number; text: string }>()
    let status = 0
    let text = ''
    cluster.running.agent?.accept({
      method: 'POST',
      path: '/mcp/apps/tools',
      headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
      body: Buffer.from(PING),
      remoteAddress: '127.0.0.1',
      signal: new AbortController().signal,
      server: 'tools',
      assertion: 'none',
      answer: {
        head: (code) => void (status = code),
        write: (chunk) => (text += Buffer.from(chunk).toString()) !== '',
        drained: () => Promise.resolve(),
        end: (chunk) => resolve({ status, text: text + (chunk ? Buffer.from(chunk).toString() : '') }),
        abort: (reason) => resolve({ status: 0, text: reason }),
      },
      ...more,
    })
    return await promise
  }
  const assertion = await assertionOf(mallory)
  expect(await told({})).toMatchObject({ status: 401 })
  expect(await told({ assertion, server: 'other' })).toMatchObject({ status: 401, text: expect.stringContaining('not meant for this use') })
  expect(await told({ assertion, method: 'PUT' })).toMatchObject({ status: 405 })
  const headers = {
    'x-forwarded-user': 'alice',
    'teleport-jwt-assertion': assertion,
    authorization: 'Bearer x',
    'content-type': 'application/json',
  }
  const body = Buffer.from('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pid"},"user":"alice"}')
  expect((await told({ assertion, headers, body })).status).toBeGreaterThanOrEqual(400)
  const [event] = await cluster.eventsOnceThere({ user: 'mallory', type: 'mcp.session.request' }, 1)
  expect(event).toMatchObject({ user: 'mallory', server: 'tools' })
  expect(await cluster.events({ user: 'alice', type: 'mcp.session.request', tool: 'pid' })).toEqual([])
})
