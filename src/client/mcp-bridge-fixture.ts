import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { PassThrough } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach } from 'vitest'
import { createApiClient } from './call.ts'
import { runMcpBridge } from './mcp-bridge.ts'
import { createMcpEndpoint } from './mcp-endpoint.ts'
import type { AnswerMemory } from './mcp-memory.ts'

export const INITIALIZE =
  '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}'
export const INITIALIZED = '{"jsonrpc":"2.0","method":"notifications/initialized"}'
export const HELLO = (version = '1', name = 's') =>
  `{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"${name}","version":"${version}"}}}`

export interface Seen {
  method: string
  headers: IncomingMessage['headers']
  body: string
}
export type Serve = (seen: Seen, response: ServerResponse) => void

const open: (() => unknown)[] = []
afterEach(async () => {
  for (const close of open.splice(0)) await close()
})

/** A strict server of a revision with sessions. */
export function legacy({
  session = () => 's1',
  hello = () => HELLO(),
  listen,
}: { session?: () => string; hello?: () => string; listen?: string } = {}): Serve {
  return ({ method, headers, body }, response) => {
    if (body.includes('"initialize"')) return answer(response, 200, hello(), { 'mcp-session-id': session() })
    if (headers['mcp-session-id'] !== session())
      return answer(response, 404, '{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Session not found"}}')
    if (method === 'GET' && listen !== undefined) return void response.writeHead(200, { 'content-type': 'text/event-stream' }).write(listen)
    if (method !== 'POST') return void response.writeHead(405).end()
    if (body.includes('notifications/')) return void response.writeHead(202).end()
    answer(response, 200, `{"jsonrpc":"2.0","id":1,"result":{"s":"${session()}"}}`)
  }
}

export function answer(response: ServerResponse, status: number, body: string, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body)
}

interface StartOptions {
  autoReconnect?: boolean
  /** In place of the connection to the Auth Service, as long as it throws. */
  open?: () => Promise<void>
  memory?: AnswerMemory
  /** How time passes for the bridge. */
  wait?: (ms: number, signal: AbortSignal) => Promise<void>
  interrupted?: AbortSignal
}

const realTime = (ms: number, signal: AbortSignal): Promise<void> => delay(ms, undefined, { signal }).catch(() => {})

/** A bridge between a client in the test and a server on loopback. */
export async function start(
  serve: Serve,
  { autoReconnect = true, open: openConnection, memory, wait = realTime, interrupted }: StartOptions = {},
) {
  const seen: Seen[] = []
  const watching = new Set<() => void>()
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += String(chunk)
    const entry = { method: request.method ?? '', headers: request.headers, body }
    seen.push(entry)
    serve(entry, response)
    for (const notify of watching) notify()
  })
  const port = await listen(server)
  let assertions = 0
  const api = createApiClient(async () => {
    assertions++
    return { status: 200, body: JSON.stringify({ assertion: `a${assertions}`, expires: '2030-01-01T00:00:00Z' }) }
  })
  const connect = async () => {
    await openConnection?.()
    return { how: 'profile' as const, api, proxy: { host: '127.0.0.1', port }, trust: { authorities: [] }, close: () => {} }
  }
  const endpoint = createMcpEndpoint({ server: 'demo', open: connect, now: () => 0 })
  const client = new PassThrough()
  const output: string[] = []
  const waiting: ((line: string) => void)[] = []
  const write = async (line: Uint8Array) => {
    const text = Buffer.from(line).toString()
    const next = waiting.shift()
    if (next) next(text)
    else output.push(text)
  }
  const done = runMcpBridge({ input: client, write, endpoint, autoReconnect, log: () => {}, wait, memory, interrupted })
  done.catch(() => {})
  open.push(async () => {
    client.end()
    server.closeAllConnections()
    server.close()
    await done.catch(() => {})
  })
  const line = () => (output.length > 0 ? Promise.resolve(output.shift() ?? '') : new Promise<string>((fulfil) => waiting.push(fulfil)))
  const initialize = async () => {
    client.write(`${INITIALIZE}\n`)
    await line()
    client.write(`${INITIALIZED}\n`)
    // The GET stream is asked for only after the notification was taken.
    await new Promise<void>((fulfil) => watching.add(() => void (seen.some(({ method }) => method === 'GET') && fulfil())))
  }
  return { client, seen, done, line, initialize, written: () => output, assertions: () => assertions }
}

function listen(server: Server): Promise<number> {
  return new Promise((fulfil) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      fulfil(typeof address === 'object' && address ? address.port : 0)
    })
  })
}
