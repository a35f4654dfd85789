import { setImmediate } from 'node:timers/promises'
import { AppError } from '../../../lib/errors.ts'
import type { Logger } from '../../../lib/log.ts'
import { idKey } from '../../request-ids.ts'
import type { Fields } from '../../message.ts'
import type { Reply, UpstreamSession } from '../../upstream/upstream.ts'
import { composeRequest, composeResponse, objectOf, readMessage, saidIn, withMeta } from '../compose.ts'
import type { ServerFacts } from './answers.ts'
import { continueEvents } from './continued.ts'
import { createInbox, type Exchange, type Inbox, type Respond } from './inbox.ts'
import { mostVerbose } from './log-levels.ts'
import { openOtherStream } from './other-stream.ts'

export type Outcome =
  | { kind: 'response'; message: Fields }
  /** The session is gone. `ran` is false when it is certain that the server did not begin with the request. */
  | { kind: 'lost'; ran: boolean; error: AppError }

/** An initialised session with a legacy server, with ids of its own. */
export interface LegacySession {
  readonly facts: ServerFacts
  /** Fires when it is of no use any more. No promise: of those who wait for one, none can be forgotten before it settles. */
  readonly gone: AbortSignal
  /** Rejects with the upstream's AppError (`cancelled` when the signal fires, which cancels the request at the server). */
  exchange(exchange: Exchange, signal: AbortSignal): Promise<Outcome>
  respond: Respond
  onChange: Inbox['onChange']
  onTaskAsk: Inbox['onTaskAsk']
  close(): Promise<void>
}

export interface LegacyParts {
  inner: UpstreamSession
  server: string
  facts: ServerFacts
  log: Logger
}

const SHORT_MS = 60_000
const DRAIN_MS = 2000
/** Answers on their way to a server; one that asks faster than it takes them gets no more. */
const MAX_RESPONSES = 100

export function createLegacySession(parts: LegacyParts): LegacySession {
  const { inner, server, facts, log } = parts
  const headers = { 'mcp-protocol-version': facts.protocolVersion }
  const closing = new AbortController()
  const over = (): void => closing.abort()
  void inner.ended.then(over)

  const respond = createRespond(parts, headers)
  const inbox = createInbox(respond)
  const sender = createSender(parts, headers, inbox, { over, signal: closing.signal })
  const level = createLevel(parts, inbox, sender)
  const other = openOtherStream({ inner, server, headers, log, signal: closing.signal, onMessage: (message) => inbox.receive(message) })

  return {
    facts,
    gone: closing.signal,
    respond,
    onChange: inbox.onChange,
    onTaskAsk: inbox.onTaskAsk,
    async exchange(exchange, signal) {
      await other.isOpen
      if (exchange.logLevel !== undefined) await level.adjust(exchange.logLevel, signal)
      return sender(exchange, signal)
    },
    async close() {
      over()
      await inner.close()
    },
  }
}

function createRespond({ inner, server, log }: LegacyParts, headers: Readonly<Record<string, string>>): Respond {
  let underWay = 0
  return (id, answer) => {
    if (underWay >= MAX_RESPONSES) return log.debug('an MCP server asks faster than it takes answers', { server })
    underWay++
    inner
      .send(composeResponse(JSON.stringify(id), answer, headers), AbortSignal.timeout(SHORT_MS))
      .catch((error: unknown) => log.debug('an MCP server could not be given an answer', { server, error }))
      .finally(() => underWay--)
    return undefined
  }
}

type Sender = LegacySession['exchange']

/** `signal` fires when the session is over, and `over` says so. */
interface Life {
  over: () => void
  signal: AbortSignal
}

function createSender({ inner, server }: LegacyParts, headers: Readonly<Record<string, string>>, inbox: Inbox, life: Life): Sender {
  let lastId = 0

  const post = async (id: string, own: Exchange, signal: AbortSignal): Promise<Outcome> => {
    const stopping = new AbortController()
    const either = AbortSignal.any([signal, stopping.signal])
    const params = own.wantsProgress ? withMeta(own.params, { progressToken: Number(id) }) : own.params
    const reply = await inner.send(composeRequest(id, own.method, params, headers), either)
    const lost = findLost(reply, id, server)
    if (lost) return lost
    let isAnswered = false
    const reopen = (lastEventId: string): Promise<Reply> => inner.listen({ ...headers, 'last-event-id': lastEventId }, either)
    const continuing = { reopen, isAnswered: () => isAnswered, signal: either }
    const messages = saidIn(reply.kind === 'events' ? { ...reply, events: continueEvents(reply.events, continuing) } : reply, server)
    for (;;) {
      const { value, done } = await messages.next()
      if (done) throw new AppError('unavailable', `MCP server "${server}" ended its stream without an answer`, { origin: 'upstream' })
      const { message } = value
      if (message['method'] !== undefined) inbox.receive(message, own)
      else if (idKey(message['id']) === id || isUnreadable(message)) {
        isAnswered = true
        drain(messages, stopping)
        return { kind: 'response', message }
      }
    }
  }

  return async (own, signal) => {
    if (life.signal.aborted) return { kind: 'lost', ran: false, error: gone(server) }
    const id = String(++lastId)
    inbox.running.set(id, own)
    try {
      const outcome = await post(id, own, signal)
      // What came before the answer on the other stream is still on its way through it.
      await setImmediate()
      if (outcome.kind === 'lost') life.over()
      return outcome
    } catch (thrown) {
      await setImmediate()
      if (!life.signal.aborted || signal.aborted || !(thrown instanceof AppError)) throw thrown
      return { kind: 'lost', ran: true, error: thrown.code === 'cancelled' ? gone(server) : thrown }
    } finally {
      inbox.running.delete(id)
    }
  }
}

/** The end of the stream follows: to break it off before would cost the connection. A server that does not end it is not waited for. */
function drain(messages: AsyncGenerator<unknown, void>, stopping: AbortController): void {
  const late = setTimeout(() => stopping.abort(), DRAIN_MS).unref()
  const read = async (): Promise<void> => {
    while (!(await messages.next()).done);
  }
  // What is wrong with a stream after its answer concerns nobody.
  void read()
    .catch(() => undefined)
    .finally(() => clearTimeout(late))
}

/** The level of a session is that of whoever wants most; what others do not want is kept from them. */
function createLevel({ server, facts, log }: LegacyParts, inbox: Inbox, send: Sender) {
  let level: string | undefined
  let last: Promise<void> = Promise.resolve()

  const adjust = async (wanted: string, signal: AbortSignal): Promise<void> => {
    const inUse = [...inbox.running.values()].flatMap(({ logLevel }) => logLevel ?? [])
    const next = mostVerbose([...inUse, wanted])
    if (next === level) return
    const setLevel = { method: 'logging/setLevel', params: { level: next }, wantsProgress: false, logLevel: undefined }
    try {
      const outcome = await send(setLevel, AbortSignal.any([signal, AbortSignal.timeout(SHORT_MS)]))
      const error = outcome.kind === 'lost' ? outcome.error : outcome.message['error']
      if (error !== undefined) log.debug('an MCP server did not take the log level', { server, level: next, error })
    } catch (error) {
      if (signal.aborted) throw error
      log.debug('an MCP server could not be told the log level', { server, level: next, error })
    }
    // The call is worth more than its log messages, and does not wait again for a server that does not answer.
    level = next
  }

  return {
    /** Changes must not overtake each other. */
    adjust(wanted: string, signal: AbortSignal): Promise<void> {
      if (!objectOf(facts.capabilities['logging'])) return last
      const own = last.then(() => adjust(wanted, signal))
      last = own.catch(() => undefined)
      return own
    },
  }
}

/**
 * 404 says that the server has no such session (2025-11-25, session management), and so that it did not look at the request; some
 * servers say 400. An error with the id of the request is an answer to it.
 */
function findLost(reply: Reply, id: string, server: string): Outcome | undefined {
  if (reply.kind !== 'refused' || (reply.status !== 404 && reply.status !== 400)) return undefined
  const message = readMessage(reply.bytes)
  if (objectOf(message?.['error']) && idKey(message?.['id']) === id) return undefined
  return { kind: 'lost', ran: reply.status !== 404, error: gone(server) }
}

function gone(server: string): AppError {
  return new AppError('unavailable', `the session with MCP server "${server}" is gone: try again`, { origin: 'upstream' })
}

/** A server that could not read a request answers it without an id (JSON-RPC 2.0, section 5). */
function isUnreadable(message: Fields): boolean {
  return message['error'] !== undefined && (message['id'] === undefined || message['id'] === null)
}
