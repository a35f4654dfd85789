import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Ways in which servers differ from what the specification says, or from each other. */
export interface SessionHttpWays {
  /** Answers GET, where the server has no streams; default 405. */
  get?: (response: ServerResponse, isKnown: boolean) => unknown
  /** Answers a POST in a session that it does not know; default 404. */
  unknown?: (response: ServerResponse) => void
  /** What it answers to `initialize`. */
  revision?: string
  /** The HTTP status of its answers; default 200. */
  status?: number
  /** Answers what matches with 400, for a reason of its own. */
  refused?: RegExp
  /** Methods that it does not know, and answers with 404. */
  lacks?: RegExp
  /** Sends everybody on to this place. */
  moved?: string
}

export interface SessionHttp {
  url: string
  /** Method or `GET` of what came, with the number of its session. */
  taken: string[]
  /** Forgets all sessions, as a server does that was started again. */
  forget(): void
  close(): Promise<void>
}

/** An MCP server over streamable HTTP that has sessions and no streams, and answers every tool with the number of the session. */
export async function startSessionHttp({
  get,
  unknown,
  revision = '2025-11-25',
  refused,
  moved,
  lacks,
  status = 200,
}: SessionHttpWays = {}): Promise<SessionHttp> {
  const known = new Set<string>()
  let count = 0
  const taken: string[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString('utf8')
      const [, method = request.method ?? ''] = /"method":"([^"]+)"/.exec(body) ?? []
      const id = /"id"\s*:\s*("[^"]*"|\d+)/.exec(body)?.[1]
      const session = method === 'initialize' ? String(++count) : String(request.headers['mcp-session-id'])
      if (method === 'initialize') known.add(session)
      taken.push(`${method} ${session}`)
      if (moved !== undefined) return void response.writeHead(307, { location: moved }).end()
      if (request.method === 'GET') return void (get ? get(response, known.has(session)) : response.writeHead(405).end())
      if (!known.has(session)) return unknown ? unknown(response) : void response.writeHead(404).end()
      if (request.method === 'DELETE') return void response.writeHead(200).end()
      if (id === undefined) return void response.writeHead(202).end()
      if (lacks?.test(method))
        return void response.writeHead(404).end(`{"jsonrpc":"2.0","id":${id},"error":{"code":-32601,"message":"Method not found"}}`)
      if (refused?.test(body))
        return void response
          .writeHead(400)
          .end(`{"jsonrpc":"2.0","error":{"code":-32602,"message":"no session of yours has this tool"},"id":${id}}`)
      response.setHeader('mcp-session-id', session)
      const result =
        method === 'initialize'
          ? `{"protocolVersion":"${revision}","capabilities":{"tools":{}},"serverInfo":{"name":"sessions","version":"1"}}`
          : `{"content":[{"type":"text","text":"session ${session}"}]}`
      response.writeHead(status, { 'content-type': 'application/json' }).end(`{"jsonrpc":"2.0","id":${id},"result":${result}}`)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // A listening TCP server has an address with a port.
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/mcp`,
    taken,
    forget: () => known.clear(),
    close() {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}
