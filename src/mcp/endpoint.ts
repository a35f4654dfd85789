import type { Denied } from '../access/decision.ts'
import { AppError, toAppError } from '../lib/errors.ts'
import type { HttpExchange } from '../lib/http-exchange.ts'
import type { Logger } from '../lib/log.ts'
import type { SseEvent } from '../lib/sse.ts'
import type { App } from '../resources/app.ts'
import type { Identity } from '../resources/identity.ts'
import type { Caller } from './caller.ts'
import type { Conversation } from './conversation.ts'
import { type ConversationLimits, Conversations } from './conversations.ts'
import { isModern } from './eras/revisions.ts'
import { ListFollower } from './list-changes.ts'
import { findRequestId } from './message.ts'
import { Outlet } from './outlet.ts'
import { protocolHeaders, servePost, SESSION_HEADER } from './posting.ts'
import type { AuditOptions } from './recorder.ts'
import { recordRefusal } from './refusal.ts'
import { judgeEvent } from './relay.ts'
import { findListening, resumeStream, withoutOurs } from './resumption.ts'
import { toEvent } from './upstream/in-flight.ts'
import type { OwnHeaders } from './upstream/own-headers.ts'
import { createQueue } from './upstream/queue.ts'
import type { CallerWords, Upstream } from './upstream/upstream.ts'

export interface EndpointOptions {
  app: App
  upstream: Upstream
  audit: AuditOptions
  /** Headers for an HTTP server that forward who calls; `caller` is who it was at the latest request of a conversation. */
  ownHeaders(caller: () => Caller): OwnHeaders
  /** What else a server is told of it. */
  words?: ((caller: () => Caller) => CallerWords | undefined) | undefined
  log: Logger
  limits?: Partial<ConversationLimits>
  /** Makes the id of a session, which nobody can guess; random text unless given. */
  sessionId?: (() => string) | undefined
}

/** Streamable HTTP for the clients of one MCP server: POST, GET and DELETE of every revision, each message judged on its own. */
export class McpEndpoint {
  readonly #options: EndpointOptions
  readonly #conversations: Conversations

  constructor(options: EndpointOptions) {
    this.#options = options
    this.#conversations = new Conversations(options)
  }

  /** Answers an exchange; never rejects: what goes wrong becomes the answer, and what is refused an event. */
  serve(exchange: HttpExchange, caller: Caller): Promise<void> {
    try {
      return this.#dispatch(exchange, caller).catch((thrown: unknown) => this.#refuse(exchange, caller, thrown))
    } catch (thrown) {
      return this.#refuse(exchange, caller, thrown)
    }
  }

  #dispatch(exchange: HttpExchange, caller: Caller): Promise<void> {
    const { decision } = caller.access()
    if (!decision.allow) throw new AppError('permission_denied', decision.reason)
    if (exchange.method === 'POST') return servePost({ exchange, caller, conversations: this.#conversations, now: this.#options.audit.now })
    if (exchange.method === 'GET') return this.#listen(exchange, caller)
    if (exchange.method === 'DELETE') return this.#delete(exchange, caller)
    throw new AppError('invalid_argument', `method ${exchange.method} is not allowed`, { details: { http: 405, rpc: -32600 } })
  }

  async #refuse(exchange: HttpExchange, caller: Caller, thrown: unknown): Promise<void> {
    const error = toAppError(thrown)
    const { decision } = caller.access()
    await this.#record(exchange, caller, error, decision.allow || error.code !== 'permission_denied' ? undefined : decision)
    await new Outlet(exchange, {}).fail(error, findRequestId(exchange.body))
  }

  async #record(exchange: HttpExchange, { identity }: Caller, error: AppError, decision: Denied | undefined): Promise<void> {
    const { app, audit, log } = this.#options
    const server = app.metadata.name
    if (error.code === 'internal') log.error('request failed', { server, error })
    try {
      await recordRefusal(audit, { exchange, server, app, identity, error, decision })
    } catch (thrown) {
      // The refusal stands, and its event waits in memory for the journal.
      log.warn('a refusal could not be written to the audit journal', { server, error: String(thrown) })
    }
  }

  /** Ends every conversation for which `reasonFor` gives a reason; the client is told it. */
  cut(reasonFor: (identity: Identity) => string | undefined): void {
    this.#conversations.cut(reasonFor)
  }

  /** What callers for whom it is true may use here is not what it was: their clients are told. */
  accessChanged(concerns: (identity: Identity) => boolean): void {
    this.#conversations.accessChanged(concerns)
  }

  /** Whether a request is under way. */
  get isBusy(): boolean {
    return this.#conversations.isBusy
  }

  /** What has to be done from time to time; done every second. */
  sweep(): void {
    this.#conversations.sweep()
  }

  async close(why?: AppError): Promise<void> {
    try {
      await this.#conversations.close(why)
    } finally {
      await this.#options.upstream.close()
    }
  }

  async #listen(exchange: HttpExchange, caller: Caller): Promise<void> {
    if (isModern(exchange.headers['mcp-protocol-version'])) throw methodNotAllowed()
    const conversation = this.#conversations.get(exchange.headers[SESSION_HEADER], caller)
    if (!/\btext\/event-stream\b|\*\/\*/.test(exchange.headers['accept'] ?? '')) {
      throw new AppError('invalid_argument', 'a GET must accept text/event-stream', { details: { http: 406, rpc: -32600 } })
    }
    if (await resumeStream(exchange, conversation, this.#options.audit.now)) return
    const listening = conversation.takeListening()
    const onGone = (): void => listening.abort()
    if (exchange.signal.aborted) onGone()
    else exchange.signal.addEventListener('abort', onGone, { once: true })
    const outlet = new Outlet(exchange, {})
    conversation.attach(outlet)
    try {
      await this.#pump(exchange, conversation, outlet, listening.signal)
    } catch (thrown) {
      if (outlet.state === 'empty') return await outlet.fail(conversation.signal.aborted ? conversation.why : toAppError(thrown), undefined)
      if (!listening.signal.aborted) this.#options.log.debug('event stream ended', { error: String(thrown) })
    } finally {
      if (conversation.signal.aborted) outlet.explain(conversation.why.message)
      conversation.detach(outlet, this.#options.audit.now())
      outlet.end()
    }
  }

  async #pump(exchange: HttpExchange, conversation: Conversation, outlet: Outlet, signal: AbortSignal): Promise<void> {
    const headers = withoutOurs(protocolHeaders(exchange, undefined), conversation)
    const reply = await conversation.upstream.listen(headers, signal).catch(async (thrown: unknown) => {
      await conversation.recorder.listen(toAppError(thrown).message)
      throw thrown
    })
    const isSilent = reply.kind === 'refused' && reply.status === 405
    const isOurs = isSilent && conversation.lists.length > 0
    if (reply.kind === 'refused' && !isOurs) {
      await conversation.recorder.listen(`HTTP ${reply.status}`)
      if (isSilent) throw methodNotAllowed()
      throw new AppError('unavailable', `the MCP server answered with HTTP ${reply.status}`, { origin: 'upstream' })
    }
    await conversation.recorder.listen()
    outlet.open('events')
    outlet.keepAlive() // sends the head at once: clients wait for it
    const kept = conversation.replay?.listening(conversation.primes)
    await kept?.attach(outlet, findListening(exchange, conversation), headers['last-event-id'] !== undefined)
    const send = (event: SseEvent, bytes: Buffer): Promise<void> => (kept ? kept.take(event, bytes) : outlet.write(bytes))
    const unfollow = conversation.follow(followerOf(conversation, send))
    try {
      // A server that has nothing to say outside requests may have lists, of which the gateway has to tell.
      for await (const event of reply.kind === 'events' ? reply.events : nothingUntil(signal)) {
        const { bytes } = await judgeEvent(event, undefined, conversation)
        if (bytes) await send(event, bytes)
      }
    } finally {
      unfollow()
      kept?.detach(outlet)
    }
  }

  async #delete(exchange: HttpExchange, caller: Caller): Promise<void> {
    if (isModern(exchange.headers['mcp-protocol-version'])) throw methodNotAllowed()
    const conversation = this.#conversations.get(exchange.headers[SESSION_HEADER], caller)
    await this.#conversations.end(conversation)
    new Outlet(exchange, {}).empty(200)
  }
}

function followerOf({ lists }: Conversation, send: (event: SseEvent, bytes: Buffer) => Promise<void>): ListFollower {
  return new ListFollower({
    lists,
    write: (data) => {
      const event = toEvent(Buffer.from(data))
      return send(event, event.raw)
    },
  })
}

/** No event, and no end before `signal` fires. */
function nothingUntil(signal: AbortSignal): AsyncIterable<SseEvent> {
  const queue = createQueue<SseEvent>({ sizeOf: () => 0, onAbandon: () => undefined })
  if (signal.aborted) queue.end()
  else signal.addEventListener('abort', () => queue.end(), { once: true })
  return queue
}

function methodNotAllowed(): AppError {
  return new AppError('invalid_argument', 'this endpoint offers no such stream', { details: { http: 405, rpc: -32600 } })
}
