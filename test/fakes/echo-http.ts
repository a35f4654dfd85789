/**
 * A tiny MCP server over streamable HTTP, without an SDK: `startEchoHttp()` in a test, or `node test/fakes/echo-http.ts [port]`, which prints
 * its URL. The name of the called tool says how it answers, see TOOLS below.
 */
import { createServer } from 'node:http'
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'

export interface SeenRequest {
  method: string
  url: string
  headers: IncomingMessage['headers']
  body: string
}

export interface EchoHttp {
  url: string
  /** Everything that came, oldest first. */
  seen: SeenRequest[]
  /** Settles when a request of this method was broken off by the client. */
  aborted(method: string): Promise<void>
  /** Sends an event to the open GET stream. */
  emit(data: string): void
  close(): Promise<void>
}

export interface EchoHttpOptions {
  port?: number
  /** Given by the answer to `initialize`; none when undefined. */
  sessionId?: string
  tls?: { key: string; cert: string }
}

interface Call {
  id: string
  arguments: Record<string, unknown>
  response: ServerResponse
}

const TOOLS: Record<string, (call: Call) => void> = {
  /** Answers with `text` as JSON. */
  echo: (call) => sendJson(call.response, resultOf(call, String(call.arguments['text'] ?? ''))),
  /** The same as an event stream, after a comment, an event without data and progress. */
  stream(call) {
    call.response.writeHead(200, { 'content-type': 'text/event-stream' })
    call.response.write(': hello\n\nid: 1\nretry: 500\ndata:\n\n')
    call.response.write('event: message\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}\n\n')
    call.response.end(`data: ${resultOf(call, 'streamed')}\n\n`)
  },
  /** Begins an event stream that never ends. */
  endless(call) {
    call.response.writeHead(200, { 'content-type': 'text/event-stream' })
    call.response.write('data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}\n\n')
  },
  /** Event stream of `count` events of 1 KiB as fast as the client reads; `count` written so far is in `floodWritten`. */
  flood(call) {
    call.response.writeHead(200, { 'content-type': 'text/event-stream' })
    const event = `data: ${'x'.repeat(1024)}\n\n`
    let left = Number(call.arguments['count'] ?? 1)
    const more = (): void => {
      while (left > 0 && call.response.write(event)) left--
      if (left > 0) call.response.once('drain', more)
      else call.response.end()
      left--
    }
    more()
  },
  /** Answers with `bytes` times x, without content-length when `chunked`. */
  big(call) {
    const text = resultOf(call, 'x'.repeat(Number(call.arguments['bytes'] ?? 0)))
    call.response.writeHead(200, {
      'content-type': 'application/json',
      ...(call.arguments['chunked'] !== true && { 'content-length': Buffer.byteLength(text) }),
    })
    call.response.end(text)
  },
  hang: () => undefined,
  /** Stops in the middle of the body. */
  stall(call) {
    call.response.writeHead(200, { 'content-type': 'application/json' })
    call.response.write('{"jsonrpc"')
  },
  /** Breaks the connection off before the answer, or within it. */
  reset: (call) => call.response.destroy(),
  'reset-within'(call) {
    call.response.writeHead(200, { 'content-type': 'application/json' })
    call.response.write('{"jsonrpc"', () => call.response.destroy())
  },
  /** HTTP `status` with a text of `bytes` letters. */
  status: (call) =>
    call.response
      .writeHead(Number(call.arguments['status']), { 'content-type': 'text/plain' })
      .end('e'.repeat(Number(call.arguments['bytes'] ?? 4))),
  redirect: (call) => call.response.writeHead(307, { location: 'http://elsewhere.example/mcp?token=hidden' }).end(),
  html: (call) => call.response.writeHead(200, { 'content-type': 'text/html' }).end('<p>hi'),
  empty: (call) => call.response.writeHead(200, { 'content-length': '0' }).end(),
  zipped: (call) => call.response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' }).end('{}'),
}

export async function startEchoHttp(options: EchoHttpOptions = {}): Promise<EchoHttp> {
  const seen: SeenRequest[] = []
  const streams = new Set<ServerResponse>()
  const aborts = new Map<string, PromiseWithResolvers<void>>()
  const abortOf = (method: string): PromiseWithResolvers<void> => aborts.getOrInsertComputed(method, () => Promise.withResolvers<void>())

  const listener: RequestListener = (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    response.on('close', () => {
      if (!response.writableFinished) abortOf(request.method ?? '').resolve()
    })
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString('utf8')
      seen.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers, body })
      if (request.method === 'POST') return servePost(body, response, options.sessionId)
      if (request.method === 'DELETE') return void response.writeHead(200).end()
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(': open\n\n')
      streams.add(response)
    })
  }
  const server: Server = options.tls ? createTlsServer(options.tls, listener) : createServer(listener)
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, '127.0.0.1', resolve))
  // A listening TCP server has an address with a port.
  const { port } = server.address() as AddressInfo
  return {
    url: `${options.tls ? 'https' : 'http'}://127.0.0.1:${port}/mcp?x=1`,
    seen,
    aborted: (method) => abortOf(method).promise,
    emit(data) {
      for (const stream of streams) stream.write(`data: ${data}\n\n`)
    },
    close() {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

interface Message {
  id?: string | number
  method?: string
  params?: { name?: string; arguments?: Record<string, unknown> }
}

function servePost(body: string, response: ServerResponse, sessionId: string | undefined): void {
  // A server of our tests: what it gets is a message.
  const { id, method, params } = JSON.parse(body) as Message
  if (id === undefined || method === undefined) return void response.writeHead(202).end()
  if (method === 'initialize') {
    const result = '{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"echo-http","version":"1"}}'
    if (sessionId !== undefined) response.setHeader('mcp-session-id', sessionId)
    return sendJson(response, `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${result}}`)
  }
  if (method === 'tools/list')
    return sendJson(
      response,
      JSON.stringify({
        jsonrpc: '2.0',
        id,
        result: { tools: Object.keys(TOOLS).map((name) => ({ name, inputSchema: { type: 'object' } })) },
      }),
    )
  const tool = TOOLS[params?.name ?? '']
  if (tool) return tool({ id: JSON.stringify(id), arguments: params?.arguments ?? {}, response })
  sendJson(response, JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32601, message: 'unknown' } }))
}

function resultOf(call: Call, text: string): string {
  return `{"jsonrpc":"2.0","id":${call.id},"result":{"content":[{"type":"text","text":${JSON.stringify(text)}}]}}`
}

function sendJson(response: ServerResponse, text: string): void {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }).end(text)
}

if (import.meta.main) {
  const { url } = await startEchoHttp({ port: Number(process.argv[2] ?? 0), sessionId: 'echo-session' })
  process.stdout.write(`${url}\n`)
}
