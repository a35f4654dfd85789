import { createServer, type Server } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { userInfo } from 'node:os'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { findMembership } from '../../src/cli/server/membership.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { ECHO_STDIO } from '../fakes/stdio-app.ts'
import { sees, startRemoteAgent } from '../remote-agent.ts'
import { openRawSession } from './raw-session.ts'

// An agent in a network that lets out only HTTPS to one place, through an HTTP proxy that wants a password.

let cluster: Cluster
let middle: Server
let alice = ''
const seen: string[] = []

beforeAll(async () => {
  cluster = await startCluster({ file: { app_service: { enabled: 'no' } } })
  await cluster.saveRole('dev', { allow: { app_labels: { env: 'dev' }, mcp: { tools: ['echo'] } } })
  await cluster.saveUser('alice', ['dev'])
  alice = await cluster.tokenOf('alice')
  middle = createServer()
  middle.on('connect', (request, client: Socket) => {
    seen.push(`${request.url} ${request.headers['proxy-authorization']}`)
    const upstream = connect(cluster.running.address.port, '127.0.0.1', () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n')
      client.pipe(upstream).pipe(client)
    })
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const)
      one.on('error', () => other.destroy()).on('close', () => other.destroy())
  })
  await new Promise<void>((resolve) => middle.listen(0, '127.0.0.1', resolve))
})
afterAll(async () => {
  await cluster.close()
  middle.closeAllConnections()
  middle.close()
})

const membership = (env: Record<string, string>, file: { via_websocket?: boolean } = {}) =>
  findMembership({ proxy_server: `localhost:${cluster.running.address.port}`, ...file }, {}, env)

test('an HTTP proxy is used where the environment names one, and the file does not say no', () => {
  expect(membership({})?.proxy.open).toBeUndefined()
  expect(membership({ HTTPS_PROXY: 'http://p:1', NO_PROXY: 'example.com,localhost' })?.proxy.open).toBeUndefined()
  expect(membership({ HTTPS_PROXY: 'http://p:1' }, { via_websocket: false })?.proxy.open).toBeUndefined()
  expect(membership({ https_proxy: 'p:1' })?.proxy.open).toBeDefined()
  expect(membership({}, { via_websocket: true })?.proxy.open).toBeDefined()
})

test('joins, watches, ships and serves over WebSockets alone', async () => {
  const port = (middle.address() as AddressInfo).port // of a TCP server that listens
  const found = membership({ HTTPS_PROXY: `http://me:secret@127.0.0.1:${port}` })
  const agent = await startRemoteAgent(cluster, { proxy: found?.proxy })
  try {
    await cluster.save({
      kind: 'app',
      version: 'v3',
      metadata: { name: 'tools', labels: { env: 'dev' } },
      spec: { mcp: { command: process.execPath, args: [ECHO_STDIO], run_as_host_user: userInfo().username } },
    })
    await sees(cluster, alice, 'tools')
    const session = await openRawSession(cluster.mcpUrl('tools'), alice)
    expect((await session.call('echo', { text: 'x'.repeat(100_000) })).status).toBe(200)
    const [event] = await cluster.eventsOnceThere({ type: 'mcp.session.request', user: 'alice', tool: 'echo' }, 1)
    expect(event).toMatchObject({ server: 'tools', success: true })
    expect(new Set(seen)).toEqual(
      new Set([`localhost:${cluster.running.address.port} Basic ${Buffer.from('me:secret').toString('base64')}`]),
    )
  } finally {
    await agent.close()
  }
}, 60_000)

test('a WebSocket leads to what brings a certificate, and to nothing else', async () => {
  const open = membership({}, { via_websocket: true })?.proxy.open
  const stream = await open?.(AbortSignal.timeout(10_000))
  const { connect: connectTls } = await import('node:tls')
  const refused = await new Promise((resolve) => {
    const socket = connectTls({ ...(stream && { socket: stream }), ALPNProtocols: ['http/1.1'], rejectUnauthorized: false })
    socket.on('error', (error) => resolve(error.message))
    socket.on('close', () => resolve('closed'))
    socket.on('secureConnect', () => socket.write('GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n'))
    socket.on('data', (data) => resolve(String(data)))
  })
  expect(refused).not.toContain('HTTP/1.1 200')
  expect(await (await fetch(`${cluster.url}/v1/tunnel`)).text()).toContain('not_found')
})
