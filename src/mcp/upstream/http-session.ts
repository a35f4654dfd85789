import type { Dispatcher } from 'undici'
import { AppError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { createAnswer } from './http-answer.ts'
import type { Answer, AnswerOptions } from './http-answer.ts'
import { notProtocol } from './http-fault.ts'
import type { HttpLimits } from './http-limits.ts'
import type { OpenOptions, Outgoing, Reply, UpstreamSession } from './upstream.ts'

export interface HttpSessionOptions {
  server: string
  pool: Dispatcher
  path: string
  /** All answers under way at this server, over its sessions. */
  answers: Set<Answer>
  limits: HttpLimits
  options: OpenOptions
  now: () => number
  log: Logger
  onClose: () => void
}

/** One conversation over streamable HTTP: the legacy shape with its session id and GET stream, or the modern one that is POST only. */
export function createHttpSession(session: HttpSessionOptions): UpstreamSession {
  const { server, options } = session
  const isLegacy = options.era === 'legacy'
  const fixed = lowerCase(options.headers)
  const ended = Promise.withResolvers<string>()
  const own = new Set<Answer>()
  let sessionId: string | undefined
  let protocolVersion: string | undefined
  let closing: Promise<void> | undefined

  const exchange = (request: Exchange, signal?: AbortSignal, onAborted?: () => void): Promise<Reply> => {
    const headers = { ...request.headers, ...(sessionId && { 'mcp-session-id': sessionId }), ...fixed }
    return run(session, own, { ...request, headers }, signal, onAborted)
  }
  const post = (message: Outgoing, signal?: AbortSignal): Promise<Reply> => {
    const sentId = sessionId
    const onHeaders: AnswerOptions['onHeaders'] = (status, headers) => {
      if (isLegacy && status === 200 && message.method === 'initialize') sessionId = readSessionId(server, headers['mcp-session-id'])
      // MCP 2025-11-25, basic/transports, session management: a session that is terminated answers 404.
      if (status === 404 && sentId !== undefined) ended.resolve(`MCP server "${server}" does not know the session any more`)
    }
    const cancel = isLegacy && message.kind === 'request' && message.method !== 'initialize' ? () => notes.cancel(message) : undefined
    const expect = message.kind === 'request' ? 'response' : 'nothing'
    const headers = { ...POST_HEADERS, ...protocolHeaders(message.headers) }
    return exchange({ method: 'POST', body: message.bytes, headers, expect, whole: message.whole, onHeaders }, signal, cancel)
  }
  const notes = createNotes(session, post)
  const end = async (): Promise<void> => {
    await notes.settled()
    const headers = { accept: POST_HEADERS.accept, ...(protocolVersion && { 'mcp-protocol-version': protocolVersion }) }
    if (sessionId) await withDeadline(exchange({ method: 'DELETE', headers, expect: 'nothing' }), session)
  }

  return {
    ended: ended.promise,
    get externalId() {
      return sessionId
    },
    async send(message, signal) {
      if (closing) throw closedSession(server)
      protocolVersion = message.headers['mcp-protocol-version'] ?? protocolVersion
      return post(message, signal)
    },
    async listen(clientHeaders, signal) {
      if (closing) throw closedSession(server)
      const reply = await exchange({ method: 'GET', headers: listenHeaders(clientHeaders), expect: 'events' }, signal)
      return reply.kind === 'events' || reply.kind === 'refused' ? reply : NO_STREAM
    },
    close: () =>
      (closing ??= end()
        .catch((error: unknown) => session.log.debug('the session of an MCP server could not be ended', { server, error }))
        .finally(() => {
          for (const answer of own) answer.abort(closedSession(server))
          session.onClose()
        })),
  }
}

interface Notes {
  cancel(message: Outgoing): void
  settled(): Promise<unknown>
}

/** To a legacy server a closed connection is no cancellation (MCP 2025-11-25, basic/transports): it has to be told. */
function createNotes(session: HttpSessionOptions, post: (message: Outgoing) => Promise<Reply>): Notes {
  const { server, log } = session
  const underWay = new Set<Promise<void>>()
  return {
    cancel(message) {
      const note = withDeadline(post(cancellationOf(message)), session)
        .catch((error: unknown) => log.debug('an MCP server could not be told of a cancellation', { server, error }))
        .finally(() => underWay.delete(note))
      underWay.add(note)
    },
    settled: () => Promise.all(underWay),
  }
}

interface Exchange {
  method: 'GET' | 'POST' | 'DELETE'
  headers: Readonly<Record<string, string>>
  body?: Buffer
  expect: AnswerOptions['expect']
  whole?: boolean
  onHeaders?: AnswerOptions['onHeaders']
}

/** An empty answer to GET is no stream: to the client the same as a server that offers none. */
const NO_STREAM: Extract<Reply, { kind: 'refused' }> = { kind: 'refused', status: 405, bytes: Buffer.alloc(0), contentType: '' }
const POST_HEADERS = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }

/** Sends one HTTP request and follows it until its body ended. */
function run(
  session: HttpSessionOptions,
  own: Set<Answer>,
  exchange: Exchange,
  signal: AbortSignal | undefined,
  onAborted?: () => void,
): Promise<Reply> {
  const { server, answers, limits, pool } = session
  if (signal?.aborted) return Promise.reject(new AppError('cancelled', 'the request was cancelled before it was sent'))
  if (answers.size >= limits.maxConnections)
    return Promise.reject(
      new AppError('resource_exhausted', `MCP server "${server}" has ${answers.size} requests and streams open already`),
    )
  const onAbort = (): void => {
    answer.abort(new AppError('cancelled', 'the request was cancelled'))
    onAborted?.()
  }
  const answer = createAnswer({
    server,
    expect: exchange.expect,
    whole: exchange.whole ?? false,
    now: session.now,
    onHeaders: exchange.onHeaders,
    onOver() {
      answers.delete(answer)
      own.delete(answer)
      signal?.removeEventListener('abort', onAbort)
    },
  })
  answers.add(answer)
  own.add(answer)
  signal?.addEventListener('abort', onAbort, { once: true })
  pool.dispatch({ path: session.path, method: exchange.method, headers: exchange.headers, body: exchange.body ?? null }, answer.handler)
  return answer.reply
}

/** `accept` is ours, since we read the answer; of the rest only what MCP defines goes on (MCP 2026-07-28, basic/transports). */
function protocolHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  const kept: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    if (name === 'mcp-protocol-version' || name === 'mcp-method' || name === 'mcp-name' || name.startsWith('mcp-param-')) kept[name] = value
  }
  return kept
}

function listenHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  const resume = headers['last-event-id']
  return { accept: 'text/event-stream', ...protocolHeaders(headers), ...(resume !== undefined && { 'last-event-id': resume }) }
}

function cancellationOf({ id, headers }: Outgoing): Outgoing {
  const text = `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":${id},"reason":"cancelled by the client"}}`
  const method = 'notifications/cancelled'
  return { kind: 'notification', bytes: Buffer.from(text), id: undefined, method, progressToken: undefined, headers, whole: false }
}

function lowerCase(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}

/** Visible ASCII (MCP 2025-11-25, basic/transports), and short, since it goes into every request and into the audit log. */
function readSessionId(server: string, value: string | string[] | undefined): string | undefined {
  if (value === undefined) return undefined
  if (typeof value !== 'string' || !/^[\x21-\x7e]{1,1024}$/.test(value))
    throw notProtocol(server, 'its session id is not short visible ASCII')
  return value
}

async function withDeadline(reply: Promise<Reply>, { server, limits }: HttpSessionOptions): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    const error = new AppError('deadline_exceeded', `MCP server "${server}" did not answer in time`, { origin: 'upstream_unreachable' })
    timer = setTimeout(() => reject(error), limits.closeTimeoutMs)
  })
  try {
    await Promise.race([reply, late])
  } finally {
    clearTimeout(timer)
  }
}

function closedSession(server: string): AppError {
  return new AppError('cancelled', `the session with MCP server "${server}" was closed`)
}
