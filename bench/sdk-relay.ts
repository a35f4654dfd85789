import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { Server } from '@modelcontextprotocol/sdk/server/index.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import { CallToolRequestSchema, CallToolResultSchema } from '@modelcontextprotocol/sdk/types.js'
import { listenAndTell } from './tell.ts'

/** A relay as the SDK suggests one: a server object and a client object for each session, joined by a handler. */
const upstream = new URL(`http://127.0.0.1:${process.argv[2]}/mcp`)
const sessions = new Map<string, StreamableHTTPServerTransport>()

async function open(): Promise<StreamableHTTPServerTransport> {
  const client = new Client({ name: 'relay', version: '1.0.0' })
  await client.connect(new StreamableHTTPClientTransport(upstream))
  const server = new Server({ name: 'relay', version: '1.0.0' }, { capabilities: { tools: {} } })
  server.setRequestHandler(CallToolRequestSchema, ({ params }) => client.request({ method: 'tools/call', params }, CallToolResultSchema))
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    enableJsonResponse: true,
    onsessioninitialized: (id) => void sessions.set(id, transport),
    onsessionclosed: (id) => void sessions.delete(id),
  })
  await server.connect(transport)
  return transport
}

const server = createServer({ keepAliveTimeout: 0 }, (request, response) => {
  const id = request.headers['mcp-session-id']
  const session = typeof id === 'string' ? sessions.get(id) : undefined
  Promise.resolve(session ?? open())
    .then((transport) => transport.handleRequest(request, response))
    .catch(() => response.destroy())
})
listenAndTell(server)
