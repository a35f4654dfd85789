import { AsyncLocalStorage } from 'node:async_hooks'
import type { McpHttpHandler, McpServer } from '@modelcontextprotocol/server'
import { z } from 'zod'
import { AppError } from '../../lib/errors.ts'
import { createSseParser } from '../../lib/sse.ts'
import type { SseEvent } from '../../lib/sse.ts'
import { toAbortSignal } from '../../lib/stopping.ts'
import type { CallerProof, OpenOptions, Outgoing, Reply, Upstream, UpstreamSession } from './upstream.ts'

export type Sdk = typeof import('@modelcontextprotocol/server')

export interface CurrentRequest {
  /** Fires when nobody wants the answer any more. */
  signal: AbortSignal
  /** Absent where nobody said. */
  caller: CallerProof | undefined
}

/** What answers the requests of one session. */
export interface InProcessServer {
  /** A fresh server with its tools. `current` is the request that is being answered, for whoever asks while it is. */
  build(sdk: Sdk, current: () => CurrentRequest): McpServer
  /** Ends what the session held. */
  close?(): Promise<void>
}

/** An MCP server inside the agent, without process or network, for both eras of the protocol. */
export function createInProcessUpstream(open: (options: OpenOptions) => InProcessServer): Upstream {
  const sessions = new Set<UpstreamSession>()
  return {
    async open(options) {
      const session = await openSession(open(options), () => sessions.delete(session))
      sessions.add(session)
      return session
    },
    stderrTail: () => [],
    async close() {
      await Promise.all(sessions.values().map((session) => session.close()))
    },
  }
}

const ADDRESS = 'http://in-process/mcp'
const NAME_META = 'io.modelcontextprotocol/protocolVersion'
const modernSchema = z.object({
  params: z.object({ name: z.string().optional(), uri: z.string().optional(), _meta: z.object({ [NAME_META]: z.string() }) }),
})

const running = new AsyncLocalStorage<CurrentRequest>()

async function openSession(server: InProcessServer, onClose: () => void): Promise<UpstreamSession> {
  // Loaded with the first session: many agents never serve one.
  const sdk = await import('@modelcontextprotocol/server')
  const closing = new AbortController()
  const handler: McpHttpHandler = sdk.createMcpHandler(() =>
    server.build(sdk, () => running.getStore() ?? { signal: closing.signal, caller: undefined }),
  )
  return {
    externalId: undefined,
    ended: new Promise(() => undefined),
    async send(message, signal) {
      if (closing.signal.aborted) throw new AppError('cancelled', 'the session with this server was closed')
      const either = AbortSignal.any([toAbortSignal(signal), closing.signal])
      return running.run({ signal: either, caller: message.caller }, () => exchange(handler, message, either))
    },
    listen: async () => ({ kind: 'refused', status: 405, bytes: Buffer.alloc(0), contentType: '' }),
    async close() {
      if (closing.signal.aborted) return
      closing.abort()
      onClose()
      await handler.close()
      await server.close?.()
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
