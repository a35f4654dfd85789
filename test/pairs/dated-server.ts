import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { answerWithTasks } from './dated-tasks.ts'
import { type Fields, fieldsOf, NeedsInput, RpcError, type Turn } from './dated-tools.ts'

/**
 * An MCP server that speaks exactly one revision over HTTP and is strict about it: what does not belong to its revision is a fault that the
 * test reads from `faults`.
 */
export interface DatedServer {
  revision: string
  /** `spec.uri` of the app that stands for it. */
  uri: string
  /** What clients sent that its revision has not. */
  faults: string[]
  /** Calls of `wait` that were cancelled. */
  cancelled: () => number
  toolsChanged(): void
  resourceUpdated(uri: string): void
  /** How many sessions or listens want to hear of this resource now. */
  subscribers(uri: string): number
  close(): Promise<void>
}

const META = 'io.modelcontextprotocol/'

export async function startDatedServer(revision: string): Promise<DatedServer> {
  const door = revision === '2026-07-28' ? createModernDoor() : createLegacyDoor(revision)
  const server = createServer((request, response) => void door.serve(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // A listening TCP server has an address with a port.
  const { port } = server.address() as AddressInfo
  const isOld = revision === '2024-11-05'
  return {
    revision,
    uri: `mcp+${isOld ? 'sse+' : ''}http://127.0.0.1:${port}/${isOld ? 'sse' : 'mcp'}`,
    faults: door.faults,
    cancelled: () => door.cancelled,
    toolsChanged: () => door.tell('toolsListChanged', 'notifications/tools/list_changed', {}),
    resourceUpdated: (uri) => door.tell(uri, 'notifications/resources/updated', { uri }),
    subscribers: (uri) => door.subscribers(uri),
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

interface Door {
  faults: string[]
  cancelled: number
  serve(request: IncomingMessage, response: ServerResponse): Promise<void>
  /** A notification for those who want to hear of this topic: a kind of list, or the URI of a resource. */
  tell(topic: string, method: string, params: Fields): void
  subscribers(uri: string): number
}

/** Answers that become a stream of events once there is more to say than the response. */
class Reply {
  readonly #response: ServerResponse
  constructor(response: ServerResponse) {
    this.#response = response
  }

  event(message: Fields): void {
    if (!this.#response.headersSent) this.#response.writeHead(200, { 'content-type': 'text/event-stream' })
    this.#response.write(`event: message\ndata: ${JSON.stringify(message)}\n\n`)
  }

  last(message: Fields, status = 200, headers: Record<string, string> = {}): void {
    if (this.#response.headersSent) {
      this.event(message)
      this.#response.end()
    } else {
      this.#response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(message))
    }
  }
}

function createModernDoor(): Door {
  const listens = new Map<Reply, { id: unknown; topics: Set<string> }>()
  const door: Door = {
    faults: [],
    cancelled: 0,
    async serve(request, response) {
      const message = await readBody(request)
      const { id, method } = message
      const params = fieldsOf(message['params']) ?? {}
      const meta = fieldsOf(params['_meta']) ?? {}
      const reply = new Reply(response)
      const refuse = (status: number, code: number, text: string): void =>
        reply.last({ jsonrpc: '2.0', id, error: { code, message: text } }, status)
      if (request.method !== 'POST') return void response.writeHead(405).end()
      if (method === 'initialize') return refuse(404, -32601, 'Method not found')
      if (meta[`${META}protocolVersion`] !== '2026-07-28') return refuse(400, -32602, 'io.modelcontextprotocol/protocolVersion is missing')
      if (request.headers['mcp-protocol-version'] !== '2026-07-28' || request.headers['mcp-method'] !== method)
        return refuse(400, -32020, 'headers and body differ')
      if (request.headers['mcp-session-id'] !== undefined) door.faults.push('a session id')
      if (id === undefined) return void response.writeHead(202).end()
      const capabilities = fieldsOf(meta[`${META}clientCapabilities`]) ?? {}
      const gone = new AbortController()
      response.on('close', () => gone.abort())
      if (method === 'subscriptions/listen') return listen(reply, id, params, gone.signal)
      const responses = fieldsOf(params['inputResponses'])
      const turn: Turn = {
        revision: '2026-07-28',
        capabilities,
        logLevel: meta[`${META}logLevel`],
        signal: gone.signal,
        notify: (name, facts) => reply.event({ jsonrpc: '2.0', method: name, params: facts }),
        ask: async (key, asked, facts) => {
          const given = fieldsOf(responses?.[key])
          if (given && params['requestState'] !== `state of ${key}`) throw new RpcError(-32602, 'the state is not the one given')
          if (given) return given
          throw new NeedsInput(key, asked, facts)
        },
        onCancelled: () => (door.cancelled += 1),
      }
      try {
        const result = await answerWithTasks(String(method), params, turn)
        reply.last({ jsonrpc: '2.0', id, result: { resultType: 'complete', ...hints(String(method)), ...result } })
      } catch (thrown) {
        if (gone.signal.aborted) return
        if (thrown instanceof NeedsInput) {
          const inputRequests = { [thrown.key]: { method: thrown.method, params: thrown.params } }
          return reply.last({
            jsonrpc: '2.0',
            id,
            result: { resultType: 'input_required', inputRequests, requestState: `state of ${thrown.key}` },
          })
        }
        const { code, message: text, data } = RpcError.of(thrown)
        reply.last({ jsonrpc: '2.0', id, error: { code, message: text, ...(data && { data }) } }, code === -32601 ? 404 : 200)
      }
    },
    tell(topic, method, params) {
      for (const [reply, { id, topics }] of listens)
        if (topics.has(topic)) reply.event({ jsonrpc: '2.0', method, params: { ...params, _meta: { [`${META}subscriptionId`]: id } } })
    },
    subscribers: (uri) => [...listens.values()].filter(({ topics }) => topics.has(uri)).length,
  }
  const listen = (reply: Reply, id: unknown, params: Fields, signal: AbortSignal): void => {
    const wanted = fieldsOf(params['notifications']) ?? {}
    const uris = Array.isArray(wanted['resourceSubscriptions']) ? wanted['resourceSubscriptions'].map(String) : []
    const topics = new Set([...uris, ...Object.keys(wanted).filter((key) => wanted[key] === true)])
    listens.set(reply, { id, topics })
    signal.addEventListener('abort', () => listens.delete(reply))
    const acknowledged = { notifications: wanted, _meta: { [`${META}subscriptionId`]: id } }
    reply.event({ jsonrpc: '2.0', method: 'notifications/subscriptions/acknowledged', params: acknowledged })
  }
  return door
}

/** Cacheable results must say how long they may be kept (2026-07-28, caching). */
function hints(method: string): Fields {
  return /\/list$|^resources\/(?:read|templates\/list)$|^server\/discover$/.test(method) ? { ttlMs: 0, cacheScope: 'private' } : {}
}

interface Session {
  id: string
  capabilities: Fields
  level: unknown
  /** The GET stream, or the one stream of HTTP+SSE. */
  stream: Reply | undefined
  subscribed: Set<string>
  asked: Map<unknown, (response: Fields) => void>
  running: Map<unknown, AbortController>
}

function createLegacyDoor(revision: string): Door {
  const sessions = new Map<string, Session>()
  const isOld = revision === '2024-11-05'
  let next = 1
  const create = (): Session => {
    const id = `session-${next++}`
    const session = {
      id,
      capabilities: {},
      level: undefined,
      stream: undefined,
      subscribed: new Set<string>(),
      asked: new Map(),
      running: new Map(),
    }
    sessions.set(id, session)
    return session
  }
  const door: Door = {
    faults: [],
    cancelled: 0,
    async serve(request, response) {
      const url = new URL(request.url ?? '/', 'http://server')
      const key = isOld ? url.searchParams.get('sessionId') : request.headers['mcp-session-id']
      const session = typeof key === 'string' ? sessions.get(key) : undefined
      if (request.method === 'GET') {
        const listener = isOld ? create() : session
        if (!listener) return void response.writeHead(400).end()
        response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
        if (isOld) response.write(`event: endpoint\ndata: /message?sessionId=${listener.id}\n\n`)
        listener.stream = new Reply(response)
        response.on('close', () => (listener.stream = undefined))
        return
      }
      if (request.method === 'DELETE') return void (sessions.delete(String(key)), response.writeHead(200).end())
      const body = await readJson(request)
      if (Array.isArray(body))
        return session && revision === '2025-03-26' ? takeBatch(session, body, response) : void response.writeHead(400).end()
      const message = fieldsOf(body) ?? {}
      const isOpening = message['method'] === 'initialize'
      if (!isOpening && !session) return void response.writeHead(404).end()
      const mine = isOld || !isOpening ? session : create()
      if (!mine) return void response.writeHead(404).end()
      checkLegacy(door, revision, message, request)
      await take(mine, message, response, isOpening)
    },
    tell(topic, method, params) {
      for (const { stream, subscribed } of sessions.values())
        if (topic.endsWith('ListChanged') || subscribed.has(topic)) stream?.event({ jsonrpc: '2.0', method, params })
    },
    subscribers: (uri) => [...sessions.values()].filter(({ subscribed }) => subscribed.has(uri)).length,
  }

  /** Every answer as an event of one stream, which 2025-03-26 allows in place of an array. */
  const takeBatch = async (session: Session, messages: unknown[], response: ServerResponse): Promise<void> => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const stream = new Reply(response)
    await Promise.all(messages.map((message) => take(session, fieldsOf(message) ?? {}, response, false, stream)))
    response.end()
  }

  const take = async (
    session: Session,
    message: Fields,
    response: ServerResponse,
    isOpening: boolean,
    stream = isOld ? session.stream : undefined,
  ): Promise<void> => {
    const { id, method } = message
    const params = fieldsOf(message['params']) ?? {}
    const reply = stream ?? (isOld ? undefined : new Reply(response))
    if (isOld || id === undefined || method === undefined) response.writeHead(202).end()
    if (method === undefined) return session.asked.get(id)?.(message)
    if (method === 'notifications/cancelled') session.running.get(params['requestId'])?.abort()
    if (id === undefined || !reply) return
    if (isOpening) session.capabilities = fieldsOf(params['capabilities']) ?? {}
    const running = new AbortController()
    session.running.set(id, running)
    const turn: Turn = {
      revision,
      capabilities: session.capabilities,
      logLevel: session.level,
      signal: running.signal,
      notify: (name, facts) => reply.event({ jsonrpc: '2.0', method: name, params: facts }),
      ask: async (_key, asked, facts) => {
        const askedId = next++
        const { promise, resolve } = Promise.withResolvers<Fields>()
        session.asked.set(askedId, resolve)
        reply.event({ jsonrpc: '2.0', id: askedId, method: asked, params: facts })
        const { result, error } = await promise
        const given = fieldsOf(result)
        if (!given) throw new RpcError(-32603, `the client refused: ${String(fieldsOf(error)?.['message'])}`)
        return given
      },
      onCancelled: () => (door.cancelled += 1),
    }
    const send = (rest: Fields): void => {
      const answered = { jsonrpc: '2.0', id, ...rest }
      if (stream) stream.event(answered)
      else reply.last(answered, 200, isOpening ? { 'mcp-session-id': session.id } : {})
    }
    try {
      if (method === 'logging/setLevel') session.level = params['level']
      if (method === 'resources/subscribe') session.subscribed.add(String(params['uri']))
      if (method === 'resources/unsubscribe') session.subscribed.delete(String(params['uri']))
      send({ result: await answerWithTasks(String(method), params, turn) })
    } catch (thrown) {
      if (running.signal.aborted) return void response.end()
      const { code, message: text, data } = RpcError.of(thrown)
      send({ error: { code, message: text, ...(data && { data }) } })
    } finally {
      session.running.delete(id)
    }
  }
  return door
}

function checkLegacy(door: Door, revision: string, message: Fields, request: IncomingMessage): void {
  const { method } = message
  const meta = JSON.stringify(fieldsOf(fieldsOf(message['params'])?.['_meta']) ?? {})
  if (meta.includes(`${META}protocolVersion`)) door.faults.push(`${String(method)}: modern _meta`)
  const header = request.headers['mcp-protocol-version']
  if (header !== undefined && header !== revision && method !== 'initialize')
    door.faults.push(`${String(method)}: MCP-Protocol-Version ${String(header)}`)
}

async function readBody(request: IncomingMessage): Promise<Fields> {
  return fieldsOf(await readJson(request)) ?? {}
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const text = (await request.toArray()).join('')
  return text === '' ? {} : JSON.parse(text)
}
