import { AppError, toAppError } from '../../lib/errors.ts'
import { beginHead } from '../../lib/http-wire/request-head.ts'
import type { Logger } from '../../lib/log.ts'
import type { SseEvent } from '../../lib/sse.ts'
import type { StopSignal } from '../../lib/stopping.ts'
import { forgetCancelled, renderCancelled } from './cancelled.ts'
import { notProtocol } from './http-fault.ts'
import type { InFlight } from './in-flight.ts'
import { createListenerSlot } from './listener.ts'
import { createRequestTable } from './request-table.ts'
import type { RequestTable } from './request-table.ts'
import { Agreed } from './message-batch.ts'
import { routeLine } from './route-line.ts'
import { readEndpoint } from './sse-endpoint.ts'
import { type Headers, headersNow, type OwnHeaders } from './own-headers.ts'
import type { SseLimits } from './sse-limits.ts'
import type { HttpRequests } from './http-requests.ts'
import type { Outgoing, Reply, UpstreamSession } from './upstream.ts'

export interface SseSessionOptions {
  server: string
  /** Of the event stream. */
  url: URL
  requests: HttpRequests
  limits: SseLimits
  own: OwnHeaders
  log: Logger
  onClose: () => void
}

/**
 * One session over HTTP+SSE (MCP 2024-11-05, basic/transports): the first event of the stream says where messages go, all others are messages.
 * @throws AppError unavailable when there is no such stream, deadline_exceeded when it says nothing in time.
 */
export async function openSseSession(options: SseSessionOptions): Promise<UpstreamSession> {
  const { server, url, requests, limits } = options
  const stream = new AbortController()
  const own = await headersNow(options.own)
  const headers = { accept: 'text/event-stream', ...lowerCase(own) }
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(tooSlow(server, limits.endpointTimeoutMs)), limits.endpointTimeoutMs)
  })
  try {
    const opening = requests
      .run(
        { owner: stream, method: 'GET', head: () => beginHead('GET', url.pathname + url.search, url.host, headers), expect: 'events' },
        stream.signal,
      )
      .then((reply) => readFirst(server, url, reply))
    const { events, endpoint } = await Promise.race([opening, late])
    return createSseSession(options, own, stream, events, endpoint)
  } catch (error) {
    stream.abort()
    throw error
  } finally {
    clearTimeout(timer)
  }
}

async function readFirst(server: string, url: URL, reply: Reply): Promise<{ events: AsyncIterator<SseEvent>; endpoint: URL }> {
  if (reply.kind === 'refused')
    throw new AppError('unavailable', `MCP server "${server}" answered with HTTP ${reply.status} when asked for its event stream`, {
      origin: 'upstream',
    })
  if (reply.kind !== 'events') throw notProtocol(server, 'it opens no event stream; if it speaks streamable HTTP, use mcp+http in spec.uri')
  const events = reply.events[Symbol.asyncIterator]()
  for (;;) {
    const next = await events.next()
    if (next.done) throw notProtocol(server, 'its event stream ended before it named an endpoint')
    const { value } = next
    if (value.event === 'endpoint' && value.hasData) return { events, endpoint: readEndpoint(server, url, value.data.toString('utf8')) }
    if (!value.isComment) throw notProtocol(server, 'the first event of its stream is no endpoint')
  }
}

function createSseSession(
  { server, requests: http, limits, own, log, onClose }: SseSessionOptions,
  first: Headers,
  stream: AbortController,
  events: AsyncIterator<SseEvent>,
  endpoint: URL,
): UpstreamSession {
  const ended = Promise.withResolvers<string>()
  let dead: AppError | undefined
  let closing: Promise<void> | undefined
  let headers: Record<string, string> = { ...POST_HEADERS, ...lowerCase(first) }
  const head = (): string => beginHead('POST', endpoint.pathname + endpoint.search, endpoint.host, headers)
  const post = (body: Buffer): Promise<Reply> => http.run({ owner: stream, method: 'POST', head, body, expect: 'nothing' }, stream.signal)
  const drop = (why: string): void => log.debug('dropped a message of an MCP server', { server, why })
  const listener = createListenerSlot({ maxQueuedBytes: limits.maxQueuedBytes, onDrop: drop })
  const sending = new Map<string, Promise<unknown>>()
  const notes = createNotes({ server, log }, sending, post)
  const requests: RequestTable = createRequestTable({
    server,
    limits,
    onAbandoned: (request) => (dead || request.method === 'initialize' ? undefined : notes.cancel(request)),
  })
  const die = (error: AppError): void => {
    if (dead) return
    dead = error
    requests.failAll(error)
    listener.end(closing ? undefined : error)
    stream.abort()
    if (!closing) ended.resolve(error.message)
  }
  const gone = (): void => die(new AppError('unavailable', `MCP server "${server}" ended its event stream`, { origin: 'upstream' }))
  const broken = (error: unknown): void => die(toAppError(error))
  const route = { server, era: 'legacy', requests, listener, agreed: new Agreed(), drop } as const
  void follow(events, (line) => routeLine(line, route)).then(gone, broken)

  return {
    ended: ended.promise,
    externalId: readSessionId(endpoint),
    async send(message, signal) {
      const now = headersNow(own)
      const set = lowerCase(now instanceof Promise ? await now : now)
      if (dead) throw dead
      if (signal.aborted) throw new AppError('cancelled', 'the request was cancelled before it was sent')
      headers = { ...headers, ...versionOf(message), ...set }
      if (message.kind === 'request') return request(message, signal, { requests, sending, post })
      const reply = await post(message.bytes)
      if (message.method === 'notifications/cancelled') forgetCancelled(requests, message)
      return reply
    },
    async listen(_headers, signal) {
      if (dead) throw dead
      if (signal.aborted) throw new AppError('cancelled', 'the stream was cancelled before it was opened')
      return { kind: 'events', events: listener.open(signal) }
    },
    close: () =>
      (closing ??= within(notes.settled(), limits.closeTimeoutMs).finally(() => {
        die(new AppError('cancelled', `the session with MCP server "${server}" was closed`))
        onClose()
      })),
  }
}

interface Notes {
  cancel(request: InFlight): void
  settled(): Promise<unknown>
}

/** Tells the server what nobody waits for any more; not before the request itself, which may still be on its way on another connection. */
function createNotes(
  { server, log }: Pick<SseSessionOptions, 'server' | 'log'>,
  sending: ReadonlyMap<string, Promise<unknown>>,
  post: (bytes: Buffer) => Promise<Reply>,
): Notes {
  const underWay = new Set<Promise<void>>()
  return {
    cancel({ id, rawId }) {
      const note = Promise.resolve(sending.get(id))
        .then(() => post(renderCancelled(rawId)))
        .then(
          () => undefined,
          (error: unknown) => log.debug('an MCP server could not be told of a cancellation', { server, error }),
        )
        .finally(() => underWay.delete(note))
      underWay.add(note)
    },
    settled: () => Promise.all(underWay),
  }
}

const POST_HEADERS = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }

interface Sending {
  requests: RequestTable
  /** Posts of requests under way, by the key of the request's id. */
  sending: Map<string, Promise<unknown>>
  post: (bytes: Buffer) => Promise<Reply>
}

/** The answer comes on the event stream; the POST itself says only whether the server took the request. */
function request(message: Outgoing, signal: StopSignal, { sending, post, ...rest }: Sending): Promise<Reply> {
  const requests: RequestTable = rest.requests
  requests.check(message)
  const inFlight = requests.add(message, signal)
  const refused = Promise.withResolvers<Reply>()
  const posted = post(message.bytes)
    .then(
      (reply) => {
        if (reply.kind !== 'refused') return
        refused.resolve(reply)
        inFlight.fail(new AppError('unavailable', `the MCP server answered with HTTP ${reply.status}`, { origin: 'upstream' }))
      },
      (error: unknown) => inFlight.fail(toAppError(error)),
    )
    .finally(() => sending.delete(inFlight.id))
  sending.set(inFlight.id, posted)
  return Promise.race([refused.promise, inFlight.reply])
}

/** Until the stream ends, or throws what broke it. */
async function follow(events: AsyncIterator<SseEvent>, onMessage: (line: Buffer) => void): Promise<void> {
  for (;;) {
    const next = await events.next()
    if (next.done) return
    if (next.value.event === 'message' && next.value.data.length > 0) onMessage(next.value.data)
  }
}

function versionOf({ headers }: Outgoing): Record<string, string> {
  const version = headers['mcp-protocol-version']
  return version === undefined ? {} : { 'mcp-protocol-version': version }
}

/** What servers call their session in the endpoint; for the audit log only. */
function readSessionId(endpoint: URL): string | undefined {
  const id = endpoint.searchParams.get('sessionId') ?? endpoint.searchParams.get('session_id')
  return id !== null && /^[\x21-\x7e]{1,1024}$/.test(id) ? id : undefined
}

function lowerCase(headers: Headers): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}

async function within(work: Promise<unknown>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms)
  })
  await Promise.race([work, late])
  clearTimeout(timer)
}

function tooSlow(server: string, ms: number): AppError {
  return new AppError('deadline_exceeded', `MCP server "${server}" did not name its endpoint within ${ms} ms`, {
    origin: 'upstream_unreachable',
  })
}
