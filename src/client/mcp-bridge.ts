import type { IncomingMessage } from 'node:http'
import { AppError } from '../lib/errors.ts'
import { createLineReader } from '../lib/lines.ts'
import { oneLine } from '../lib/json-scan.ts'
import { readBody } from './answer.ts'
import type { McpEndpoint } from './mcp-endpoint.ts'
import { bridgeError, errorOfStatus, explain, isPassing, renderErrorLine, renderLostNotice, renderParseError } from './mcp-errors.ts'
import { classifyClientLine, findRefusal, isSubscription } from './mcp-frame.ts'
import type { ClientMessage } from './mcp-frame.ts'
import { noteInitializeAnswer } from './mcp-handshake.ts'
import { openPatiently } from './mcp-listen.ts'
import type { AnswerMemory } from './mcp-memory.ts'
import { Reply } from './mcp-reply.ts'
import { INITIALIZE_WAIT_MS, McpSession, sessionIdOf } from './mcp-session.ts'
import { deliver, MAX_MESSAGE_BYTES } from './mcp-stream.ts'
import type { Delivered } from './mcp-stream.ts'

export interface BridgeOptions {
  /** The client's stdin. Its end ends the bridge. */
  input: AsyncIterable<Uint8Array>
  /** Writes one message and its newline to the client's stdout; settles when there is room for more. */
  write: (line: Uint8Array) => Promise<void>
  endpoint: McpEndpoint
  /** False: the bridge ends with the first lost connection. */
  autoReconnect: boolean
  /** For stderr; stdout belongs to the protocol. */
  log: (line: string) => void
  wait: (ms: number, signal: AbortSignal) => Promise<void>
  /** What the server answered before. */
  memory?: AnswerMemory | undefined
  /** Fires when the client wants it to end now: nobody reads the answers any more. */
  interrupted?: AbortSignal | undefined
}

const ORDER_WAIT_MS = 10_000
/** For the answers to what was asked before the input ended: longer than SDK clients wait (two seconds) before they send a signal. */
const DRAIN_MS = 5_000
const MAX_RESUMES = 10
/** A server that has not answered by then lets the client go by what it answered before: clients give up slow starters. */
const PATIENCE_MS = 100
/** For a list it is worth waiting as long as a program takes to start: an old one lacks what a role has just allowed, and many programs ask only once. */
const LIST_PATIENCE_MS = 3_000

/** Runs until `input` ends: MCP's stdio transport here, Streamable HTTP of every revision there. Nothing is contacted before the first message. */
export async function runMcpBridge(options: BridgeOptions): Promise<void> {
  const bridge = new McpBridge(options)
  const reader = createLineReader({ maxLineBytes: MAX_MESSAGE_BYTES })
  const input = options.input[Symbol.asyncIterator]()
  try {
    const read = () => Promise.race([input.next(), bridge.ended])
    for (let next = await read(); next && !next.done; next = await read())
      for (const line of reader.push(next.value)) await bridge.take(line)
    const last = bridge.lost ? undefined : reader.end()
    if (last) await bridge.take(last)
  } catch (thrown) {
    // The stream has lost its place: no id is known to answer.
    if (thrown instanceof AppError) await options.write(renderParseError(thrown))
    throw thrown
  } finally {
    await bridge.close()
  }
  if (bridge.lost) throw bridge.lost
}

type Stage = 'sent' | 'answered'

/** Whom an exchange tells how far it is, and what was answered. */
interface Towards {
  advance: (stage: Stage) => void
  reply: Reply
}

interface InFlight {
  message: ClientMessage
  abort: AbortController
  done: Promise<void>
}

class McpBridge {
  /** Why the bridge is to end, once a connection is lost that must not be opened again. */
  lost: AppError | undefined
  /** Settles then. */
  readonly ended: Promise<undefined>
  #end: (value: undefined) => void
  readonly #options: BridgeOptions
  readonly #session: McpSession
  readonly #running = new Set<InFlight>()
  readonly #closing = new AbortController()

  constructor(options: BridgeOptions) {
    this.#options = options
    this.#session = new McpSession({ ...options, closing: this.#closing.signal, onLost: (error) => this.#endWith(error) })
    const { promise, resolve } = Promise.withResolvers<undefined>()
    this.ended = promise
    this.#end = resolve
  }

  async take(line: Buffer): Promise<void> {
    let message: ClientMessage
    try {
      message = classifyClientLine(line)
    } catch (thrown) {
      return await this.#options.write(renderParseError(thrown))
    }
    if (message.cancels !== undefined && this.#abortModern(message.cancels)) return
    const passed = Promise.withResolvers<void>()
    const [settled, abort] = [new AbortController(), new AbortController()]
    // Later messages must not overtake: a request has to be on its way, a notification taken, an initialisation answered.
    const isInitialize = message.method === 'initialize'
    const isPassed = (stage: Stage): boolean => stage === 'answered' || (message.kind === 'request' && !isInitialize)
    const advance = (stage: Stage): void => void (isPassed(stage) && passed.resolve())
    const entry: InFlight = { message, abort, done: this.#run(message, abort.signal, advance).finally(() => this.#running.delete(entry)) }
    this.#running.add(entry)
    await Promise.race([passed.promise, entry.done, this.#options.wait(isInitialize ? INITIALIZE_WAIT_MS : ORDER_WAIT_MS, settled.signal)])
    settled.abort()
  }

  /** On HTTP a request of 2026-07-28 is cancelled by closing its stream; the notification itself is not sent. */
  #abortModern(idText: string): boolean {
    const entry = [...this.#running].find(({ message }) => message.modernVersion !== undefined && message.ids.includes(idText))
    entry?.abort.abort()
    return entry !== undefined
  }

  async #run(message: ClientMessage, signal: AbortSignal, advance: (stage: Stage) => void): Promise<void> {
    const known = await this.#options.memory?.find(message)
    const reply = new Reply(message, known, this.#options)
    const exchange = this.#exchange(message, signal, { advance, reply })
    const sayKnown = async (): Promise<void> => {
      if (!(await reply.sayKnown())) return
      if (known && message === this.#session.handshake.initialize) this.#session.assume(known, exchange)
      advance('answered')
    }
    const settled = new AbortController()
    const patience = message.method === 'tools/list' ? LIST_PATIENCE_MS : PATIENCE_MS
    if (known) void this.#options.wait(patience, settled.signal).then(() => (settled.signal.aborted ? undefined : sayKnown()))
    try {
      await exchange
    } catch (thrown) {
      if (signal.aborted) return
      // What keeps us from asking now need not keep the client from knowing what there is: a call will say what to do.
      if (known && isPassing(thrown)) await sayKnown()
      if (reply.isSaid) this.#options.log(explain(thrown).message)
      else await this.#fail(message, thrown)
    } finally {
      settled.abort()
    }
  }

  async #exchange(message: ClientMessage, signal: AbortSignal, towards: Towards): Promise<void> {
    const { handshake } = this.#session
    const inSession = message.modernVersion === undefined && message.method !== 'initialize'
    if (message.method === 'initialize' && message.modernVersion === undefined) handshake.initialize = message
    if (inSession && handshake.stale && this.#options.autoReconnect) {
      if (message.method === 'notifications/initialized') return await this.#initialized(message, towards)
      await this.#session.replay()
    }
    const used = handshake.sessionId
    const onSent = (): void => towards.advance('sent')
    const post = () => this.#session.post(message, signal, onSent)
    const isPatient = isSubscription(message) && this.#options.autoReconnect
    let answer = await (isPatient ? openPatiently(post, { wait: this.#options.wait, signal, onAway: onSent }) : post())
    if (answer.statusCode === 404 && inSession && used !== undefined) {
      if (!this.#options.autoReconnect) throw this.#endWith(errorOfStatus(404, Buffer.alloc(0), true))
      answer.resume()
      // The server did not know the session, so it did not act on the message: it may be sent again.
      if (handshake.sessionId === used) handshake.stale = true
      await this.#session.replay()
      answer = await post()
    }
    await this.#handOver(message, answer, signal, towards)
    if (message.method === 'notifications/initialized' && inSession) this.#session.begin(message)
  }

  /** The client goes by an answer of another time: nothing has to wait for the server but what is asked of it. */
  async #initialized(message: ClientMessage, { advance }: Towards): Promise<void> {
    this.#session.handshake.initialized = message
    advance('answered')
    await this.#session.replay()
  }

  #endWith(error: AppError): AppError {
    this.lost ??= error
    this.#end(undefined)
    return error
  }

  async #handOver(message: ClientMessage, answer: IncomingMessage, signal: AbortSignal, { advance, reply }: Towards): Promise<void> {
    const status = answer.statusCode ?? 0
    if (status >= 300) return await this.#handOverError(message, answer, reply)
    if (message.ids.length === 0 && (status === 202 || status === 204 || answer.headers['content-type'] === undefined))
      return void answer.resume()
    const sessionId = sessionIdOf(answer)
    const { handshake } = this.#session
    let delivered = await deliver(answer, async (line, answers) => {
      if (answers === undefined || !message.ids.includes(answers)) return await this.#options.write(line)
      if (message === handshake.initialize) {
        if (handshake.isAssumed) this.#session.noteReplay(line, sessionId)
        else noteInitializeAnswer(handshake, line, sessionId)
      }
      await reply.say(line)
      advance('answered')
    })
    for (let resumes = 0; !isAnswered(message, delivered) && delivered.lastEventId !== undefined && resumes < MAX_RESUMES; resumes++) {
      delivered = await this.#session.resume(delivered, signal)
    }
    if (isAnswered(message, delivered) || signal.aborted) return
    const error = bridgeError(
      'MCP_UPSTREAM_UNREACHABLE',
      'the connection ended before the answer came: the call may or may not have been carried out',
    )
    this.#session.markLost(error)
    throw error
  }

  /** A refusal in JSON-RPC passes as it is; one without the id gets it, or the client would wait for ever. */
  async #handOverError(message: ClientMessage, answer: IncomingMessage, reply: Reply): Promise<void> {
    const status = answer.statusCode ?? 0
    const body = await readBody(answer, 1024 * 1024)
    const refusal = findRefusal(body)
    const [id] = message.ids
    if (!refusal || message.ids.length !== 1 || id === undefined)
      throw errorOfStatus(status, body, this.#session.handshake.sessionId !== undefined)
    const line = refusal.id === id ? body : Buffer.from(`{"jsonrpc":"2.0","id":${id},"error":${refusal.error}}`)
    await reply.say(oneLine(line))
  }

  async #fail(message: ClientMessage, thrown: unknown): Promise<void> {
    this.#options.log(explain(thrown).message)
    if (message.ids.length === 0) return await this.#options.write(renderLostNotice(thrown))
    for (const id of message.ids) await this.#options.write(renderErrorLine(id, thrown))
  }

  async close(): Promise<void> {
    // A subscription is answered when it ends, and clients kill what has not ended half a second after its input.
    for (const { message, abort } of this.#running) if (isSubscription(message)) abort.abort()
    const { wait, interrupted } = this.#options
    const drained = new AbortController()
    // Who was interrupted may be killed soon, and the server is to hear of the end before that.
    const isOver = interrupted ? AbortSignal.any([drained.signal, interrupted]) : drained.signal
    await Promise.race([Promise.all([...this.#running].map(({ done }) => done)), wait(DRAIN_MS, isOver)])
    drained.abort()
    this.#closing.abort()
    for (const { abort } of this.#running) abort.abort()
    await this.#session.end()
    this.#options.endpoint.close()
  }
}

function isAnswered(message: ClientMessage, { answered }: Delivered): boolean {
  return message.ids.every((id) => answered.has(id))
}
