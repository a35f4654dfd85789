import { AppError } from '../../lib/errors.ts'
import { countOf, fieldOf } from '../../lib/http-wire/response-head.ts'
import type { HeaderFields } from '../../lib/http-wire/response-head.ts'
import type { Logger } from '../../lib/log.ts'
import type { StopSignal } from '../../lib/stopping.ts'
import { renderCancelled } from './cancelled.ts'
import type { HttpAsk } from './http-answer.ts'
import { isUnknownMethod } from './healing-signs.ts'
import { notProtocol } from './http-fault.ts'
import { HeadsOf } from './http-heads.ts'
import type { HttpLimits } from './http-limits.ts'
import { isSuccess } from './http-sink.ts'
import { Agreed, learnFrom } from './message-batch.ts'
import type { HttpRequests } from './http-requests.ts'
import { type Headers, headersNow, type OwnHeaders } from './own-headers.ts'
import type { OpenOptions, Outgoing, Reply, UpstreamSession } from './upstream.ts'

export interface HttpSessionOptions {
  server: string
  /** Of all sessions with this server. */
  requests: HttpRequests
  url: URL
  limits: HttpLimits
  options: OpenOptions
  log: Logger
  onClose: () => void
}

/** One conversation over streamable HTTP: the legacy shape with its session id and GET stream, or the modern one that is POST only. */
export class HttpSession implements UpstreamSession {
  readonly #session: HttpSessionOptions
  readonly #isLegacy: boolean
  readonly #heads: HeadsOf
  readonly #agreed = new Agreed()
  readonly #ended = Promise.withResolvers<string>()
  readonly #notes: Notes
  #sessionId: string | undefined
  #protocolVersion: string | undefined
  #closing: Promise<void> | undefined

  constructor(session: HttpSessionOptions) {
    this.#session = session
    this.#isLegacy = session.options.era === 'legacy'
    this.#heads = new HeadsOf(session.url)
    this.#notes = createNotes(session, (message, signal) => this.#post(message, signal))
  }

  get ended(): Promise<string> {
    return this.#ended.promise
  }

  get externalId(): string | undefined {
    return this.#sessionId
  }

  send(message: Outgoing, signal: StopSignal): Promise<Reply> {
    if (this.#closing) return Promise.reject(closedSession(this.#session.server))
    this.#protocolVersion = message.headers['mcp-protocol-version'] ?? this.#protocolVersion
    return this.#post(message, signal)
  }

  async listen(clientHeaders: Headers, signal: AbortSignal): ReturnType<UpstreamSession['listen']> {
    const { server, options, requests } = this.#session
    if (this.#closing) throw closedSession(server)
    const own = await headersNow(options.headers)
    const head = (): string => this.#heads.of(own).get(clientHeaders, this.#sessionId)
    const ask = { owner: this.#session, method: 'GET', head, expect: 'events', batches: this.#agreed.mayBatch } as const
    const reply = await requests.run(ask, signal)
    return reply.kind === 'events' || reply.kind === 'refused' ? reply : NO_STREAM
  }

  close(): Promise<void> {
    this.#closing ??= leave(this.#session, this.#end())
    return this.#closing
  }

  #post(message: Outgoing, signal: StopSignal): Promise<Reply> {
    return withCredentials(this.#session.options.headers, (own) => this.#send(own, message, signal))
  }

  #send(own: Headers, message: Outgoing, signal: StopSignal): Promise<Reply> {
    const sentId = this.#sessionId
    const isRequest = message.kind === 'request'
    const opens = this.#isLegacy && message.method === 'initialize'
    const onHead: HttpAsk['onHead'] = (status, fields) => {
      if (opens && isSuccess(status)) this.#sessionId = readSessionId(this.#session.server, fields)
      // MCP 2025-11-25, basic/transports, session management: a session that is terminated answers 404. Whoever waits for that answer gets it first.
      if (status === 404 && sentId !== undefined)
        reply.then(
          (found) => this.#forgotten(found),
          () => this.#forgotten(),
        )
    }
    const ask: HttpAsk = {
      owner: this.#session,
      method: 'POST',
      head: () => this.#heads.of(own).post(message.headers, sentId),
      body: message.bytes,
      expect: isRequest ? 'response' : 'nothing',
      whole: message.whole,
      batches: !opens && this.#agreed.mayBatch,
      onHead,
      onCancelled: this.#isLegacy && !opens && isRequest ? () => this.#notes.cancel(message) : undefined,
    }
    const reply = this.#session.requests.run(ask, signal)
    return opens ? reply.then((opening) => learnFrom(opening, this.#agreed)) : reply
  }

  #forgotten(found?: Reply): void {
    if (found?.kind === 'refused' && isUnknownMethod(found)) return
    this.#ended.resolve(`MCP server "${this.#session.server}" does not know the session any more`)
  }

  async #end(): Promise<void> {
    await this.#notes.settled()
    if (this.#sessionId !== undefined) await endAtServer(this.#session, this.#heads, this.#sessionId, this.#protocolVersion)
  }
}

/** Whatever the server made of its end. */
async function leave(session: HttpSessionOptions, end: Promise<void>): Promise<void> {
  const { server, requests, log, onClose } = session
  try {
    await end
  } catch (error) {
    log.debug('the session of an MCP server could not be ended', { server, error })
  } finally {
    requests.abortAll(session, closedSession(server))
    onClose()
  }
}

async function endAtServer(session: HttpSessionOptions, heads: HeadsOf, id: string, protocolVersion: string | undefined): Promise<void> {
  const { requests, options } = session
  const known = heads.latest ?? heads.of(await headersNow(options.headers))
  const head = (): string => known.delete(protocolVersion, id)
  await withDeadline(requests.run({ owner: session, method: 'DELETE', head, expect: 'nothing' }), session)
}

/** Sends with the gateway's headers as they are now; once more where the server refused these and others are to be had: it has done nothing yet. */
function withCredentials(headers: OwnHeaders, send: (own: Headers) => Promise<Reply>): Promise<Reply> {
  const attempt = (own: Headers): Promise<Reply> => {
    if (typeof headers !== 'function' || !headers.refused) return send(own)
    return send(own).then(async (reply) => {
      if (reply.kind !== 'refused' || reply.status !== 401) return reply
      headers.refused?.(own)
      return await send(await headersNow(headers))
    })
  }
  const own = headersNow(headers)
  return own instanceof Promise ? own.then(attempt) : attempt(own)
}

interface Notes {
  cancel(message: Outgoing): void
  settled(): Promise<unknown>
}

/** To a legacy server a closed connection is no cancellation (MCP 2025-11-25, basic/transports): it has to be told. */
function createNotes({ server, log, limits }: HttpSessionOptions, post: (message: Outgoing, signal: StopSignal) => Promise<Reply>): Notes {
  const underWay = new Set<Promise<void>>()
  return {
    cancel(message) {
      // A server that does not answer has no connection for it longer than this: there can be as many as there are requests.
      const note = post(cancellationOf(message), AbortSignal.timeout(limits.closeTimeoutMs))
        .then(() => undefined)
        .catch((error: unknown) => log.debug('an MCP server could not be told of a cancellation', { server, error }))
        .finally(() => underWay.delete(note))
      underWay.add(note)
    },
    settled: () => Promise.all(underWay),
  }
}

/** An empty answer to GET is no stream: to the client the same as a server that offers none. */
const NO_STREAM: Extract<Reply, { kind: 'refused' }> = { kind: 'refused', status: 405, bytes: Buffer.alloc(0), contentType: '' }

function cancellationOf({ id, headers }: Outgoing): Outgoing {
  const method = 'notifications/cancelled'
  return {
    kind: 'notification',
    bytes: renderCancelled(id ?? 'null'),
    id: undefined,
    method,
    progressToken: undefined,
    headers,
    whole: false,
  }
}

/** Visible ASCII (MCP 2025-11-25, basic/transports), and short, since it goes into every request and into the audit log. */
function readSessionId(server: string, fields: HeaderFields): string | undefined {
  const value = fieldOf(fields, 'mcp-session-id')
  if (value === undefined) return undefined
  if (countOf(fields, 'mcp-session-id') > 1 || !/^[\x21-\x7e]{1,1024}$/.test(value))
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
