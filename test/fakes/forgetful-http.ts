import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from './scripted-http.ts'

export interface ForgetfulHttp {
  url: string
  /** The methods of the messages that were taken, with the number of the session they came in. */
  taken: string[]
  /** What `initialize` answers. */
  capabilities: string
  /** Forgets all sessions, as a server does that was started again. */
  forget(): void
  close(): Promise<void>
}

/** An MCP server over streamable HTTP with sessions, which answers every tool with the number of the session. */
export async function startForgetfulHttp(): Promise<ForgetfulHttp> {
  const streams = new Map<string, ServerResponse[]>()
  let count = 0
  const fake: ForgetfulHttp = {
    url: '',
    taken: [],
    capabilities: '{"tools":{"listChanged":true}}',
    forget() {
      for (const stream of [...streams.values()].flat()) stream.destroy()
      streams.clear()
    },
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
      const [, method = ''] = /"method":"([^"]+)"/.exec(body) ?? []
      const id = /"id"\s*:\s*("[^"]*"|\d+)/.exec(body)?.[1]
      const session = method === 'initialize' ? String(++count) : String(request.headers['mcp-session-id'])
      if (method === 'initialize') streams.set(session, [])
      const own = streams.get(session)
      if (!own) return void response.writeHead(404).end()
      if (request.method === 'GET')
        return (void own.push(response.writeHead(200, { 'content-type': 'text/event-stream' })), response.flushHeaders())
      if (request.method === 'DELETE') return void response.writeHead(200).end()
      fake.taken.push(`${method} ${session}`)
      if (id === undefined) return void response.writeHead(202).end()
      response.setHeader('mcp-session-id', session)
      const result =
        method === 'initialize'
          ? `{"protocolVersion":"2025-11-25","capabilities":${fake.capabilities},"serverInfo":{"name":"forgetful","version":"1"}}`
          : `{"content":[{"type":"text","text":"session ${session}"}]}`
      json(response, `{"jsonrpc":"2.0","id":${id},"result":${result}}`)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // A listening TCP server has an address with a port.
  const { port } = server.address() as AddressInfo
  fake.url = `http://127.0.0.1:${port}/mcp`
  return fake
}
