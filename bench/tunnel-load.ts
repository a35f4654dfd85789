import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:tls'
import { realClock } from '../src/tunnel/clock.ts'
import type { Exchange } from '../src/tunnel/exchange.ts'
import { TUNNEL_ALPN, secureAsClient } from '../src/tunnel/inner-tls.fixture.ts'
import { openTunnel } from '../src/tunnel/proxy-tunnel.ts'
import { dialWebSocket } from '../src/tunnel/web-socket.ts'
import { type LoadOrder, type LoadResult, loadOrderSchema } from './load.ts'
import { type Carrier, readCarrier, readTls } from './tunnel-carrier.ts'

/**
 * Load over a tunnel, from its proxy's end: this process hands over exchanges and takes their answers. `path` of the order is the carrier,
 * `token` the file of its certificate.
 */
interface Reply {
  status: number
  length: number
  /** Of the body. */
  start: string
}
type Call = (body: Buffer) => Promise<Reply>

const HEADERS = { 'content-type': 'application/json', accept: 'application/json, text/event-stream', 'mcp-protocol-version': '2025-11-25' }
/** As long as a real one. */
const ASSERTION = `${'h'.repeat(60)}.${'c'.repeat(400)}.${'s'.repeat(86)}`
const DEADLINE_MS = 120_000
/** More than any buffer on the way takes. */
const STALLED_BYTES = 20_000_000
const START_BYTES = 64

async function open(carrier: Carrier, order: LoadOrder): Promise<() => Promise<Call>> {
  const { port } = order
  const tls = { ...readTls(order.token), servername: 'localhost' }
  if (carrier === 'direct') return () => openHttp(connect({ ...tls, host: '127.0.0.1', port }))
  if (carrier === 'http2') {
    const session = connectHttp2(`https://localhost:${port}`, { ...tls, settings: { initialWindowSize: 1024 * 1024 } })
    await once(session, 'connect')
    session.setLocalWindowSize(32 * 1024 * 1024)
    return () => Promise.resolve((body) => callHttp2(session, body))
  }
  const trying = new AbortController()
  const socket =
    carrier === 'websocket'
      ? await secureAsClient(await dialWebSocket({ url: new URL(`ws://127.0.0.1:${port}`), signal: trying.signal }), tls, realClock)
      : connect({ ...tls, host: '127.0.0.1', port, ALPNProtocols: [TUNNEL_ALPN] }).setNoDelay(true)
  const { target } = openTunnel(socket, { peer: 'the agent', clock: realClock })
  if (carrier === 'frames-stalled') target(exchangeOf(Buffer.from(messageOf(1, order.tool, STALLED_BYTES)), () => undefined, true))
  return () => Promise.resolve((body) => new Promise((resolve) => target(exchangeOf(body, resolve, false))))
}

async function openHttp(socket: ReturnType<typeof connect>): Promise<Call> {
  socket.setNoDelay(true)
  await once(socket, 'secureConnect')
  const names = Object.entries({ ...HEADERS, 'x-assertion': ASSERTION }).map(([name, value]) => `${name}: ${value}\r\n`)
  let onReply: (reply: Reply) => void = () => undefined
  let reply: Reply | undefined
  let left = 0
  // Bytes, as a proxy would pass them on. The head is in the first chunk, as node:http writes it.
  socket.on('data', (chunk: Buffer) => {
    const at = reply ? 0 : chunk.indexOf('\r\n\r\n') + 4
    if (!reply) {
      const head = chunk.toString('latin1', 0, at)
      left = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? fail(new Error(`no length: ${head}`)))
      reply = { status: Number(head.slice(9, 12)), length: 0, start: chunk.toString('latin1', at, at + START_BYTES) }
    }
    if (reply.start === '') reply.start = chunk.toString('latin1', 0, START_BYTES)
    reply.length += chunk.length - at
    left -= chunk.length - at
    if (left > 0) return
    const whole = reply
    reply = undefined
    onReply(whole)
  })
  return (body) =>
    new Promise((resolve) => {
      onReply = resolve
      const head = `POST /mcp/apps/echo HTTP/1.1\r\nhost: localhost\r\n${names.join('')}content-length: ${body.length}\r\n\r\n`
      socket.write(Buffer.concat([Buffer.from(head, 'latin1'), body]))
    })
}

function callHttp2(session: ReturnType<typeof connectHttp2>, body: Buffer): Promise<Reply> {
  return new Promise((resolve) => {
    const stream = session.request({ ':method': 'POST', ':path': '/mcp/apps/echo', ...HEADERS, 'x-assertion': ASSERTION })
    const reply: Reply = { status: 0, length: 0, start: '' }
    stream.on('response', (head) => (reply.status = head[':status'] ?? 0))
    stream.on('data', (chunk: Buffer) => {
      reply.length += chunk.length
      if (reply.start === '') reply.start = chunk.toString('latin1', 0, START_BYTES)
    })
    stream.on('end', () => resolve(reply))
    stream.end(body)
  })
}

function exchangeOf(body: Buffer, resolve: (reply: Reply) => void, isStalled: boolean): Exchange {
  const reply: Reply = { status: 0, length: 0, start: '' }
  const take = (chunk: Uint8Array): void => {
    if (reply.start === '') reply.start = Buffer.from(chunk.subarray(0, START_BYTES)).toString('latin1')
    reply.length += chunk.byteLength
  }
  return {
    method: 'POST',
    path: '/mcp/apps/echo',
    headers: HEADERS,
    body,
    remoteAddress: '127.0.0.1',
    server: 'echo',
    assertion: ASSERTION,
    signal: new AbortController().signal,
    answer: {
      head: (status) => (reply.status = status),
      write: (chunk) => {
        take(chunk)
        return !isStalled
      },
      drained: () => new Promise(() => undefined),
      end: (chunk) => {
        if (chunk) take(chunk)
        resolve(reply)
      },
      abort: (reason) => fail(new Error(reason)),
    },
  }
}

function messageOf(id: number, tool: string, bytes: number): string {
  const params = { name: tool, arguments: { query: 'quarterly report', limit: 10, labels: ['a', 'b'], ...(bytes > 0 && { bytes }) } }
  return JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params })
}

function fail(error: Error): void {
  process.stderr.write(`tunnel-load: ${error.message}\n`)
  process.exit(1)
}

async function run(order: LoadOrder): Promise<void> {
  const openCall = await open(readCarrier(order.path), order)
  const calls = await Promise.all(Array.from({ length: order.connections }, () => openCall()))
  process.send?.({ ready: true })
  await once(process, 'message')
  const cpu = process.cpuUsage()
  const times: number[] = []
  const from = performance.now() + order.warmupMs
  const until = from + order.measureMs
  let id = 1_000_000
  let allCalls = 0
  const loop = async (call: Call): Promise<void> => {
    while (performance.now() < until) {
      const own = ++id
      const sentAt = performance.now()
      const { status, length, start } = await call(Buffer.from(messageOf(own, order.tool, order.bytes)))
      if (status !== 200 || length < order.bytes || !start.startsWith(`{"jsonrpc":"2.0","id":${own},`))
        return fail(new Error(`wrong answer to ${own}: ${status}, ${length} bytes, ${start}`))
      allCalls++
      if (performance.now() >= from) times.push((performance.now() - sentAt) * 1000)
    }
  }
  await Promise.all(calls.map(loop))
  const elapsedMs = performance.now() - from
  const { user, system } = process.cpuUsage(cpu)
  times.sort((a, b) => a - b)
  const at = (share: number): number => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0
  const result: LoadResult = { calls: times.length, allCalls, elapsedMs, p50: at(0.5), p99: at(0.99), cpuUs: user + system }
  process.send?.({ result })
  process.exit(0)
}

setTimeout(() => fail(new Error('the time is up')), DEADLINE_MS).unref()
process.on('disconnect', () => process.exit(0))
process.once('message', (message) => {
  run(loadOrderSchema.parse(message)).catch((thrown: unknown) => fail(thrown instanceof Error ? thrown : new Error(String(thrown))))
})
