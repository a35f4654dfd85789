import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface SseServer {
  /** Of the event stream. */
  url: string
  /** What came, oldest first. */
  seen: { method: string; url: string; headers: IncomingHttpHeaders; body: string }[]
  /** Open streams. */
  streams: Set<ServerResponse>
  /** What the stream begins with; `undefined` says nothing. */
  greeting: string | undefined
  /** What a POST is answered with. */
  status: number
  /** What a request is answered on the stream, given its raw id and body; undefined for nothing. */
  script: (id: string, body: string) => string | undefined
  /** Sends a message on every stream. */
  say(data: string): void
  /** Settles when a stream was broken off. */
  left: Promise<void>
  close(): Promise<void>
}

/** An MCP server of the transport of 2024-11-05, which keeps what it gets and answers what a test tells it to. */
export async function startSseServer(): Promise<SseServer> {
  const left = Promise.withResolvers<void>()
  const fake: SseServer = {
    url: '',
    seen: [],
    streams: new Set(),
    greeting: 'event: endpoint\ndata: /message?sessionId=one\n\n',
    status: 202,
    script: (id, body) =>
      body.includes('"initialize"')
        ? `{"jsonrpc":"2.0","id":${id},"result":{"protocolVersion":"2024-11-05","capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"old","version":"1"}}}`
        : `{"jsonrpc":"2.0","id":${id},"result":{"content":[{"type":"text","text":"said"}]}}`,
    say(data) {
      for (const stream of fake.streams) stream.write(`event: message\ndata: ${data}\n\n`)
    },
    left: left.promise,
    close() {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString('utf8')
      fake.seen.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers, body })
      if (request.method === 'GET') {
        fake.streams.add(response)
        response.on('close', () => {
          fake.streams.delete(response)
          left.resolve()
        })
        response.writeHead(200, { 'content-type': 'text/event-stream' }).write(fake.greeting ?? ': nothing yet\n\n')
        return
      }
      response.writeHead(fake.status).end('taken')
      const id = /"id"\s*:\s*("(?:[^"\\]|\\.)*"|-?[0-9.eE+]+)/.exec(body)?.[1]
      if (fake.status !== 202 || id === undefined || !body.includes('"method"')) return
      const answer = fake.script(id, body)
      if (answer !== undefined) fake.say(answer)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // A listening TCP server has an address with a port.
  const { port } = server.address() as AddressInfo
  fake.url = `http://127.0.0.1:${port}/sse?x=1`
  return fake
}
