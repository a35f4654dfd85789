import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { Server } from '@modelcontextprotocol/sdk/server/index.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import {
  CallToolRequestSchema,
  ElicitResultSchema,
  ListToolsRequestSchema,
  ListResourcesRequestSchema,
  SetLevelRequestSchema,
  SubscribeRequestSchema,
  UnsubscribeRequestSchema,
} from '@modelcontextprotocol/sdk/types.js'

export const NOTE = 'note://1'

/** An MCP server of the SDK with sessions, whose tool `ask` asks the client and says what it was told, and which knows what each session asked for. */
export interface AskingHttp {
  url: string
  /** Of the sessions that are open, oldest first. */
  sessions(): { level: string | undefined; subscribed: string[] }[]
  /** Tells every session that subscribed to `NOTE` that it changed. */
  change(): Promise<void>
  close(): Promise<void>
}

interface Session {
  server: Server
  transport: StreamableHTTPServerTransport
  level: string | undefined
  subscribed: Set<string>
}

export async function startAskingHttp(): Promise<AskingHttp> {
  const sessions = new Map<string, Session>()
  const http = createServer((request, response) => {
    const id = request.headers['mcp-session-id']
    const known = typeof id === 'string' ? sessions.get(id) : undefined
    const serve = async (): Promise<void> => {
      if (id !== undefined && !known) response.writeHead(404).end()
      else await (known ?? (await openSession(sessions))).transport.handleRequest(request, response)
    }
    serve().catch(() => response.destroy())
  })
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  const address = http.address()
  return {
    url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/mcp`,
    sessions: () => [...sessions.values()].map(({ level, subscribed }) => ({ level, subscribed: [...subscribed] })),
    change: async () => {
      for (const { server, subscribed } of sessions.values()) if (subscribed.has(NOTE)) await server.sendResourceUpdated({ uri: NOTE })
    },
    close: async () => {
      http.closeAllConnections()
      await new Promise((resolve) => http.close(resolve))
    },
  }
}

async function openSession(sessions: Map<string, Session>): Promise<Session> {
  const capabilities = { tools: {}, resources: { subscribe: true }, logging: {} }
  const server = new Server({ name: 'asking', version: '1' }, { capabilities })
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    onsessioninitialized: (id) => void sessions.set(id, session),
    onsessionclosed: (id) => void sessions.delete(id),
  })
  const session: Session = { server, transport, level: undefined, subscribed: new Set() }
  server.setRequestHandler(ListToolsRequestSchema, () => ({ tools: [{ name: 'ask', inputSchema: { type: 'object' } }] }))
  server.setRequestHandler(ListResourcesRequestSchema, () => ({ resources: [{ uri: NOTE, name: 'note' }] }))
  server.setRequestHandler(SubscribeRequestSchema, ({ params }) => (session.subscribed.add(params.uri), {}))
  server.setRequestHandler(UnsubscribeRequestSchema, ({ params }) => (session.subscribed.delete(params.uri), {}))
  server.setRequestHandler(SetLevelRequestSchema, ({ params }) => ((session.level = params.level), {}))
  server.setRequestHandler(CallToolRequestSchema, async (_, { sendRequest }) => {
    const said = await sendRequest(
      {
        method: 'elicitation/create',
        params: { message: 'Who?', requestedSchema: { type: 'object', properties: { name: { type: 'string' } } } },
      },
      ElicitResultSchema,
    )
    return { content: [{ type: 'text', text: JSON.stringify(said) }] }
  })
  await server.connect(transport)
  return session
}
