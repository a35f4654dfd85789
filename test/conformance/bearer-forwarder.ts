import { createServer, type IncomingMessage, request as sendRequest, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface BearerForwarder {
  url: string
  close(): Promise<void>
}

/**
 * Puts a bearer token on every request, for a client that cannot send one. Everything else arrives as it was sent, `Host` and `Origin` too,
 * byte for byte and as it comes; whichever side goes away, the other one is told.
 */
export async function startBearerForwarder(target: URL, token: string): Promise<BearerForwarder> {
  const server = createServer((incoming, answer) => forward(incoming, answer, target, token))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // A listening TCP server has an address with a port.
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/mcp`,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function forward(incoming: IncomingMessage, answer: ServerResponse, target: URL, token: string): void {
  const headers = [...incoming.rawHeaders, 'Authorization', `Bearer ${token}`]
  const { hostname, port, pathname } = target
  const outgoing = sendRequest({ hostname, port, path: pathname, method: incoming.method, headers, agent: false })
  outgoing.on('response', (response) => {
    answer.writeHead(response.statusCode ?? 502, response.rawHeaders)
    answer.flushHeaders()
    response.on('error', () => answer.destroy())
    response.pipe(answer)
  })
  outgoing.on('error', () => answer.destroy())
  answer.on('close', () => outgoing.destroy())
  incoming.pipe(outgoing)
}
