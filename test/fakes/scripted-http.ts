import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface ScriptedHttp {
  url: string
  /** The body of every POST, oldest first. */
  bodies: string[]
  /** Answers every request but `initialize`; `id` is raw JSON text. */
  script: (id: string, body: string, response: ServerResponse) => void
  /** Answers `initialize`. */
  initialize: (id: string, response: ServerResponse) => void
  /** GET streams that are open. */
  streams: Set<ServerResponse>
  close(): Promise<void>
}

/** An MCP server over streamable HTTP that keeps what it gets and answers what a test tells it to. */
export async function startScriptedHttp(): Promise<ScriptedHttp> {
  let sessions = 0
  const fake: ScriptedHttp = {
    url: '',
    bodies: [],
    streams: new Set(),
    initialize: (id, response) =>
      json(
        response,
        `{"jsonrpc":"2.0","id":${id},"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"scripted","version":"1"}}}`,
      ),
    script: (id, _, response) => json(response, `{"jsonrpc":"2.0","id":${id},"result":{}}`),
    close,
  }
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      if (request.method === 'GET') {
        fake.streams.add(response)
        response.on('close', () => fake.streams.delete(response))
        return void response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': open\n\n')
      }
      if (request.method !== 'POST') return void response.writeHead(200).end()
      const body = Buffer.concat(chunks).toString('utf8')
      fake.bodies.push(body)
      const id = /"id"\s*:\s*("(?:[^"\\]|\\.)*"|-?[0-9.eE+-]+)/.exec(body)?.[1]
      if (id === undefined || !/"(?:m|\\u006[dD])/.test(body)) return void response.writeHead(202).end()
      if (!body.includes('"initialize"')) return fake.script(id, body, response)
      response.setHeader('mcp-session-id', `upstream-${++sessions}`)
      fake.initialize(id, response)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // A listening TCP server has an address with a port.
  const { port } = server.address() as AddressInfo
  fake.url = `http://127.0.0.1:${port}/mcp`
  return fake

  function close(): Promise<void> {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(() => resolve()))
  }
}

export function json(response: ServerResponse, text: string): void {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }).end(text)
}

export function sse(response: ServerResponse, ...data: string[]): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' }).end(data.map((one) => `data: ${one}\n\n`).join(''))
}
