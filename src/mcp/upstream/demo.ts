import type { McpHttpHandler } from '@modelcontextprotocol/server'
import { z } from 'zod'
import { AppError } from '../../lib/errors.ts'
import { createSseParser } from '../../lib/sse.ts'
import type { SseEvent } from '../../lib/sse.ts'
import type { App } from '../../resources/app.ts'
import { buildDemoServer } from './demo-server.ts'
import type { OpenOptions, Outgoing, Reply, Upstream, UpstreamSession } from './upstream.ts'

export interface DemoDeps {
  clusterName: string
}

/** The built-in demo: an MCP server inside the agent, without process or network, for both eras of the protocol. */
export function createDemoUpstream(app: App, deps: DemoDeps): Upstream {
  const sessions = new Set<UpstreamSession>()
  return {
    async open(options) {
      const session = await openDemo(app, deps, options, () => sessions.delete(session))
      sessions.add(session)
      return session
    },
    stderrTail: () => [],
    async close() {
      await Promise.all(sessions.values().map((session) => session.close()))
    },
  }
}

const ADDRESS = 'http://teleport-mcp-demo/mcp'
const NAME_META = 'io.modelcontextprotocol/protocolVersion'
const modernSchema = z.object({
  params: z.object({ name: z.string().optional(), uri: z.string().optional(), _meta: z.object({ [NAME_META]: z.string() }) }),
})

async function openDemo(app: App, { clusterName }: DemoDeps, options: OpenOptions, onClose: () => void): Promise<UpstreamSession> {
  // Loaded with the first session: most agents never serve the demo.
  const sdk = await import('@modelcontextprotocol/server')
  const facts = { caller: options.caller, clusterName, appName: app.metadata.name, appDescription: app.metadata.description ?? '' }
  const handler: McpHttpHandler = sdk.createMcpHandler(() => buildDemoServer(sdk, facts))
  const closing = new AbortController()
  return {
    externalId: undefined,
    ended: new Promise(() => undefined),
    async send(message, signal) {
      if (closing.signal.aborted) throw new AppError('cancelled', 'the session with the demo server was closed')
      return exchange(handler, message, AbortSignal.any([signal, closing.signal]))
    },
    listen: async () => ({ kind: 'refused', status: 405, bytes: Buffer.alloc(0), contentType: '' }),
    async close() {
      if (closing.signal.aborted) return
      closing.abort()
      onClose()
      await handler.close()
    },
  }
}

async function exchange(handler: McpHttpHandler, message: Outgoing, signal: AbortSignal): Promise<Reply> {
  if (signal.aborted) throw cancelled()
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...headersOf(message) }
  const response = await handler.fetch(new Request(ADDRESS, { method: 'POST', headers, body: Uint8Array.from(message.bytes), signal }))
  const type = response.headers.get('content-type') ?? ''
  if (type.startsWith('text/event-stream') && response.body) return { kind: 'events', events: readEvents(response.body, signal) }
  const bytes = Buffer.from(await response.arrayBuffer())
  if (!response.ok) return { kind: 'refused', status: response.status, bytes, contentType: type }
  return bytes.length > 0 ? { kind: 'message', bytes } : { kind: 'accepted' }
}

/** The headers a modern message needs over HTTP, made from its body, since the client may have come over stdio. */
function headersOf(message: Outgoing): Record<string, string> {
  const modern = modernSchema.safeParse(JSON.parse(message.bytes.toString('utf8')))
  if (!modern.success) return {}
  const { name, uri, _meta } = modern.data.params
  const target = name ?? uri
  return {
    'mcp-protocol-version': _meta[NAME_META],
    ...(message.method !== undefined && { 'mcp-method': message.method }),
    ...(target !== undefined && { 'mcp-name': `=?base64?${Buffer.from(target).toString('base64')}?=` }),
  }
}

async function* readEvents(body: ReadableStream<Uint8Array>, signal: AbortSignal): AsyncGenerator<SseEvent> {
  const parser = createSseParser()
  const reader = body.getReader()
  const onAbort = (): void => void reader.cancel().catch(() => undefined)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (signal.aborted) throw cancelled()
      if (done) return
      yield* parser.push(value)
    }
  } finally {
    signal.removeEventListener('abort', onAbort)
    onAbort()
  }
}

function cancelled(): AppError {
  return new AppError('cancelled', 'the request was cancelled')
}
