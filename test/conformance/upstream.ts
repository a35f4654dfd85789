import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { toNodeHandler } from '@modelcontextprotocol/node'
import {
  createMcpHandler,
  type EventStore,
  hostHeaderValidationResponse,
  isInitializeRequest,
  isLegacyRequest,
  type JSONRPCMessage,
  localhostAllowedHostnames,
  localhostAllowedOrigins,
  type McpServer,
  originValidationResponse,
  WebStandardStreamableHTTPServerTransport,
} from '@modelcontextprotocol/server'
import { serveStdio } from '@modelcontextprotocol/server/stdio'
import { createFixtures } from './fixtures.ts'
import { createTasksServer, type TaskStore } from './tasks.ts'

export interface ConformanceUpstream {
  /** Tools, prompts, resources and skills. */
  url: string
  /** The same host, for tools that run as tasks; 2026-07-28 alone. */
  tasksUrl: string
  close(): Promise<void>
}

/**
 * The MCP server that the official conformance suite wants to meet: streamable HTTP with sessions for the legacy revisions, with
 * priming events and streams that can be resumed, and without any state for 2026-07-28.
 */
export async function startConformanceUpstream(): Promise<ConformanceUpstream> {
  const modern = createMcpHandler(
    () => createFixtures({ toolsChanged: () => modern.notify.toolsChanged(), promptsChanged: () => modern.notify.promptsChanged() }),
    { legacy: 'reject' },
  )
  const tasks: TaskStore = new Map()
  const modernTasks = createMcpHandler(() => createTasksServer(tasks), { legacy: 'reject' })
  const legacy = createLegacy()
  const fetch = async (request: Request): Promise<Response> =>
    hostHeaderValidationResponse(request, localhostAllowedHostnames()) ??
    originValidationResponse(request, localhostAllowedOrigins()) ??
    (request.url.endsWith('/tasks') ? modernTasks.fetch(request) : undefined) ??
    ((await isLegacyRequest(request)) ? legacy.serve(request) : modern.fetch(request))
  const listener = toNodeHandler({ fetch })
  const server = createServer((request, response) => void listener(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // A listening TCP server has an address with a port.
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/mcp`,
    tasksUrl: `http://127.0.0.1:${port}/tasks`,
    async close() {
      await legacy.close()
      await modern.close()
      await modernTasks.close()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Announces on the stream of the client that called. */
function createOverOneStream(): McpServer {
  const server = createFixtures({
    toolsChanged: () => server.sendToolListChanged(),
    promptsChanged: () => server.sendPromptListChanged(),
  })
  return server
}

interface Legacy {
  serve(request: Request): Promise<Response>
  close(): Promise<void>
}

function createLegacy(): Legacy {
  const sessions = new Map<string, WebStandardStreamableHTTPServerTransport>()
  const open = async (): Promise<WebStandardStreamableHTTPServerTransport> => {
    const transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => void sessions.set(id, transport),
      onsessionclosed: (id) => void sessions.delete(id),
      eventStore: createEventStore(),
      retryInterval: 200,
    })
    await createOverOneStream().connect(transport)
    return transport
  }
  return {
    async serve(request) {
      const id = request.headers.get('mcp-session-id')
      const transport = id === null ? undefined : sessions.get(id)
      if (transport) return transport.handleRequest(request)
      if (id !== null) return refuse(404, 'no such session')
      const body: unknown = request.method === 'POST' ? await request.clone().json() : undefined
      return isInitializeRequest(body) ? (await open()).handleRequest(request) : refuse(400, 'no session')
    },
    async close() {
      await Promise.all([...sessions.values()].map((transport) => transport.close()))
    },
  }
}

function refuse(status: number, message: string): Response {
  return Response.json({ jsonrpc: '2.0', id: null, error: { code: -32000, message } }, { status })
}

/** What a session has sent, so that a stream that broke off can be resumed. */
function createEventStore(): EventStore {
  const events: { id: string; stream: string; message: JSONRPCMessage }[] = []
  return {
    async storeEvent(stream, message) {
      const id = `${stream}/${events.length}`
      events.push({ id, stream, message })
      return id
    },
    async replayEventsAfter(lastId, { send }) {
      const last = events.findIndex(({ id }) => id === lastId)
      const stream = events[last]?.stream ?? ''
      for (const event of events.slice(last + 1)) {
        // A priming event is stored as a message without members.
        if (event.stream === stream && 'jsonrpc' in event.message) await send(event.id, event.message)
      }
      return stream
    },
  }
}

// `node test/conformance/upstream.ts` is the same server as a program that speaks over stdio, with `tasks` the one whose tools run as tasks.
if (import.meta.main) {
  const tasks: TaskStore = new Map()
  serveStdio(process.argv[2] === 'tasks' ? () => createTasksServer(tasks) : createOverOneStream)
}
