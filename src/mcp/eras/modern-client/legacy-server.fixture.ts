import { silentLogger } from '../../../lib/log.ts'
import { AppError } from '../../../lib/errors.ts'
import { toAbortSignal } from '../../../lib/stopping.ts'
import type { SseEvent } from '../../../lib/sse.ts'
import { type Fields, fieldsOf, parseId } from '../../message.ts'
import { createQueue, type Queue } from '../../upstream/queue.ts'
import type { OpenOptions, Outgoing, Reply, Upstream, UpstreamSession } from '../../upstream/upstream.ts'
import { eventOf, readMessage } from '../compose.ts'
import { openForModernClient } from './open.ts'

/** A legacy MCP server in memory, played by a test. */
export interface LegacyServer {
  upstream: Upstream
  sessions: PlayedSession[]
  /** What `initialize` is answered with. */
  hello: Record<string, unknown>
  /** Answers every request but `initialize`; silent for what it does not answer. */
  play: (call: PlayedCall) => void | Promise<void>
}

export interface PlayedSession {
  /** The parameters of `initialize`. */
  hello: Fields
  /** Everything after it, `JSON.parse`d, oldest first. */
  received: Fields[]
  /** Responses of the client by the id of the server's request. */
  answers: Map<unknown, Fields>
  isClosed: boolean
  /** Sends on the stream that belongs to no request. */
  emit(message: object): void
  /** The process ends, and with it what it works on. */
  exit(): void
}

export interface PlayedCall {
  session: PlayedSession
  method: string
  params: Fields
  id: unknown
  signal: AbortSignal
  /** Sends on the stream of the request. */
  send(message: object): void
  result(result: object): void
  error(code: number, message: string, data?: unknown): void
  /** Answers with an HTTP error. */
  refuse(status: number, body?: object): void
  /** Resolves with the client's response to a request of the server. */
  answered(id: unknown): Promise<Fields>
}

export function createLegacyServer(play: LegacyServer['play'] = (call) => call.result({})): LegacyServer {
  const server: LegacyServer = {
    sessions: [],
    hello: { protocolVersion: '2025-11-25', capabilities: {}, serverInfo: { name: 'old', version: '1' } },
    play,
    upstream: { open: async (options) => openSession(server, options), stderrTail: () => [], close: async () => undefined },
  }
  return server
}

function openSession(server: LegacyServer, { era }: OpenOptions): UpstreamSession {
  if (era !== 'legacy') throw new Error('this server is a legacy one')
  const ended = Promise.withResolvers<string>()
  const other: Queue<SseEvent> = createQueue({ sizeOf: ({ data }) => data.length })
  const waiting = new Map<unknown, PromiseWithResolvers<Fields>>()
  const running = new Set<(error: AppError) => void>()
  const session: PlayedSession = {
    hello: {},
    received: [],
    answers: new Map(),
    isClosed: false,
    emit: (message) => other.push(eventOf(Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...message })))),
    exit() {
      for (const fail of running) fail(new AppError('unavailable', 'MCP server "tools" exited', { origin: 'upstream' }))
      ended.resolve('exited')
    },
  }
  const answered = (id: unknown): PromiseWithResolvers<Fields> => waiting.getOrInsertComputed(id, () => Promise.withResolvers<Fields>())
  server.sessions.push(session)
  return {
    ended: ended.promise,
    externalId: undefined,
    async send(message, signal) {
      const parsed = readMessage(message.bytes) ?? {}
      if (message.method === 'initialize') {
        session.hello = fieldsOf(parsed['params']) ?? {}
        return { kind: 'message', bytes: Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: parsed['id'], result: server.hello })) }
      }
      session.received.push(parsed)
      if (message.kind === 'response') {
        session.answers.set(parsed['id'], parsed)
        answered(parsed['id']).resolve(parsed)
      }
      if (message.kind !== 'request') return { kind: 'accepted' }
      return playCall(server, session, message, parsed, { signal: toAbortSignal(signal), running, answered: (id) => answered(id).promise })
    },
    async listen() {
      return { kind: 'events', events: other }
    },
    async close() {
      session.isClosed = true
      other.end()
    },
  }
}

function playCall(
  server: LegacyServer,
  session: PlayedSession,
  { id, method }: Outgoing,
  { params }: Fields,
  { signal, running, answered }: Pick<PlayedCall, 'signal' | 'answered'> & { running: Set<(error: AppError) => void> },
): Promise<Reply> {
  const { promise, resolve, reject } = Promise.withResolvers<Reply>()
  let events: Queue<SseEvent> | undefined
  const push = (message: object): Queue<SseEvent> => {
    events ??= createQueue({ sizeOf: ({ data }) => data.length })
    events.push(eventOf(Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...message }))))
    resolve({ kind: 'events', events })
    return events
  }
  const parsedId = parseId(id ?? 'null')
  const answer = (message: object): void => {
    if (events) push({ id: parsedId, ...message }).end()
    else resolve({ kind: 'message', bytes: Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: parsedId, ...message })) })
  }
  const fail = (error: AppError): void => (events ? events.fail(error) : reject(error))
  running.add(fail)
  signal.addEventListener('abort', () => fail(new AppError('cancelled', 'the request was cancelled')), { once: true })
  void server.play({
    session,
    method: method ?? '',
    params: fieldsOf(params) ?? {},
    id: parsedId,
    signal,
    send: (message) => void push(message),
    result: (result) => answer({ result }),
    error: (code, message, data) => answer({ error: { code, message, data } }),
    refuse: (status, body = {}) =>
      resolve({ kind: 'refused', status, bytes: Buffer.from(JSON.stringify(body)), contentType: 'application/json' }),
    answered,
  })
  return promise
}

/** A modern client of such a server, with a clock of its own. */
export interface ModernClient {
  session: UpstreamSession
  clock: { now: number }
  /** A request with its envelope. */
  ask(id: string, method: string, params?: object, more?: Asking): Promise<Reply>
  /** Its response. */
  answerTo(id: string, method: string, params?: object, more?: Asking): Promise<Fields>
}

export interface Asking {
  can?: object
  meta?: object
  signal?: AbortSignal
}

export async function connectModern(server: LegacyServer, caller = 'alice', clock = { now: 1000 }): Promise<ModernClient> {
  let seed = 0
  const session = await openForModernClient(
    server.upstream,
    { era: 'modern', headers: {}, caller: { name: caller, kind: 'user', roles: [] } },
    {
      server: 'tools',
      now: () => clock.now,
      random: (bytes) => Buffer.alloc(bytes, ++seed),
      log: silentLogger,
      version: '9',
    },
  )
  const client: ModernClient = {
    session,
    clock,
    ask: (id, method, params = {}, more = {}) =>
      session.send(modernRequest(id, method, params, more), more.signal ?? new AbortController().signal),
    async answerTo(id, method, params, more) {
      const messages = await messagesOf(await client.ask(id, method, params, more))
      return messages.at(-1) ?? {}
    },
  }
  return client
}

function modernRequest(id: string, method: string, params: object, { can = {}, meta = {} }: Asking): Outgoing {
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientCapabilities': can,
    ...meta,
  }
  const bytes = Buffer.from(`{"jsonrpc":"2.0","id":${id},"method":"${method}","params":${JSON.stringify({ ...params, _meta })}}`)
  return { kind: 'request', bytes, id, method, progressToken: undefined, headers: {}, whole: false }
}

/** All messages of a reply, parsed. */
export async function messagesOf(reply: Reply): Promise<Fields[]> {
  if (reply.kind === 'message') return [readMessage(reply.bytes) ?? {}]
  if (reply.kind !== 'events') throw new Error(`expected messages, got ${reply.kind}`)
  const events = await Array.fromAsync(reply.events)
  return events.map(({ data }) => readMessage(data) ?? {})
}

/** The next so many messages of a stream that stays open. */
export async function nextOf(reply: Reply, count: number): Promise<Fields[]> {
  if (reply.kind !== 'events') throw new Error(`expected events, got ${reply.kind}`)
  const iterator = reply.events[Symbol.asyncIterator]()
  const messages: Fields[] = []
  while (messages.length < count) {
    const { value, done } = await iterator.next()
    if (done) break
    messages.push(readMessage(value.data) ?? {})
  }
  return messages
}

/** What an input_required result asks for. */
export function askedIn(message: Fields): { inputRequests: Record<string, unknown>; requestState: string } {
  const result = fieldsOf(message['result'])
  const state = result?.['requestState']
  if (result?.['resultType'] !== 'input_required' || typeof state !== 'string') throw new Error(`no question: ${JSON.stringify(message)}`)
  return { inputRequests: { ...fieldsOf(result['inputRequests']) }, requestState: state }
}
