import type { IncomingMessage } from 'node:http'
import { AppError } from '../lib/errors.ts'
import { createLineReader } from '../lib/lines.ts'
import { oneLine } from '../lib/json-scan.ts'
import { readBody } from './answer.ts'
import type { McpEndpoint } from './mcp-endpoint.ts'
import { bridgeError, errorOfStatus, explain, renderErrorLine, renderLostNotice, renderParseError } from './mcp-errors.ts'
import { classifyClientLine, findRefusal, headersFor, isSubscription, sessionHeaders } from './mcp-frame.ts'
import type { ClientMessage } from './mcp-frame.ts'
import { checkSameServer, createHandshake, noteInitializeAnswer, requireHandshake } from './mcp-handshake.ts'
import type { Handshake } from './mcp-handshake.ts'
import { isNetworkFault, ListenStream, MAX_BACKOFF_MS, openPatiently } from './mcp-listen.ts'
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
}

const ORDER_WAIT_MS = 10_000
const INITIALIZE_WAIT_MS = 60_000
const DRAIN_MS = 5_000
const DELETE_MS = 2_000
const MAX_RESUMES = 10

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
  readonly #session: Handshake = createHandshake()
  readonly #running = new Set<InFlight>()
  readonly #closing = new AbortController()
  readonly #listening: ListenStream
  #replaying: Promise<void> | undefined

  constructor(options: BridgeOptions) {
    this.#options = options
    this.#listening = new ListenStream({
      ...options,
      open: (lastEventId, signal) => this.#get(lastEventId, signal),
      closing: this.#closing.signal,
    })
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
    try {
      await this.#exchange(message, signal, advance)
    } catch (thrown) {
      if (!signal.aborted) await this.#fail(message, thrown)
    }
  }

  async #exchange(message: ClientMessage, signal: AbortSignal, advance: (stage: Stage) => void): Promise<void> {
    const inSession = message.modernVersion === undefined && message.method !== 'initialize'
    if (message.method === 'initialize' && message.modernVersion === undefined) this.#session.initialize = message
    if (inSession && this.#session.stale && this.#options.autoReconnect) await this.#replay()
    const used = this.#session.sessionId
    const onSent = (): void => advance('sent')
    const post = () => this.#post(message, signal, onSent)
    const isPatient = isSubscription(message) && this.#options.autoReconnect
    let answer = await (isPatient ? openPatiently(post, { wait: this.#options.wait, signal, onAway: onSent }) : post())
    if (answer.statusCode === 404 && inSession && used !== undefined) {
      if (!this.#options.autoReconnect) throw this.#endWith(errorOfStatus(404, Buffer.alloc(0), true))
      answer.resume()
      // The server did not know the session, so it did not act on the message: it may be sent again.
      if (this.#session.sessionId === used) this.#session.stale = true
      await this.#replay()
      answer = await post()
    }
    await this.#handOver(message, answer, signal, advance)
    if (message.method === 'notifications/initialized' && inSession) {
      this.#session.initialized = message
      this.#listening.start()
    }
  }

  async #post(message: ClientMessage, signal: AbortSignal, onSent?: () => void): Promise<IncomingMessage> {
    const repeatable = message.kind !== 'batch' && message.method !== 'tools/call'
    try {
      const headers = headersFor(message, this.#session)
      return await this.#options.endpoint.send({
        method: 'POST',
        headers,
        body: message.line,
        repeatable,
        signal,
        ...(onSent ? { onSent } : {}),
      })
    } catch (thrown) {
      if (isNetworkFault(thrown)) this.#markLost(thrown)
      throw thrown
    }
  }

  /** A session with an id may well outlive a broken connection: the server's 404 tells when not. Without an id nobody would. */
  #markLost(error: AppError): void {
    if (this.#session.sessionId === undefined) this.#session.stale = this.#session.serverInfo !== undefined
    if (!this.#options.autoReconnect) this.#endWith(error)
  }

  #endWith(error: AppError): AppError {
    this.lost ??= error
    this.#end(undefined)
    return error
  }

  async #handOver(message: ClientMessage, answer: IncomingMessage, signal: AbortSignal, advance: (stage: Stage) => void): Promise<void> {
    const status = answer.statusCode ?? 0
    if (status >= 300) return await this.#handOverError(message, answer, status)
    if (message.ids.length === 0 && (status === 202 || status === 204 || answer.headers['content-type'] === undefined))
      return void answer.resume()
    const sessionId = headerOf(answer, 'mcp-session-id')
    let delivered = await deliver(answer, async (line, answers) => {
      if (message === this.#session.initialize && answers !== undefined) noteInitializeAnswer(this.#session, line, sessionId)
      await this.#options.write(line)
      if (answers !== undefined && message.ids.includes(answers)) advance('answered')
    })
    for (let resumes = 0; !isAnswered(message, delivered) && delivered.lastEventId !== undefined && resumes < MAX_RESUMES; resumes++) {
      delivered = await this.#resume(delivered, signal)
    }
    if (isAnswered(message, delivered) || signal.aborted) return
    const error = bridgeError(
      'MCP_UPSTREAM_UNREACHABLE',
      'the connection ended before the answer came: the call may or may not have been carried out',
    )
    this.#markLost(error)
    throw error
  }

  /** Takes up the stream of a POST again, by GET (2025-11-25: servers may close early and let the client poll). */
  async #resume(before: Delivered, signal: AbortSignal): Promise<Delivered> {
    await this.#options.wait(Math.min(before.retryMs ?? 1000, MAX_BACKOFF_MS), signal)
    const answer = await this.#get(before.lastEventId, signal)
    if (answer.statusCode !== 200) {
      answer.resume()
      return { ...before, lastEventId: undefined }
    }
    const after = await deliver(answer, async (line) => await this.#options.write(line))
    const answered = after.answered.union(before.answered)
    return { ...after, answered, lastEventId: after.lastEventId ?? before.lastEventId, retryMs: after.retryMs ?? before.retryMs }
  }

  async #get(lastEventId: string | undefined, signal: AbortSignal): Promise<IncomingMessage> {
    const headers = {
      accept: 'text/event-stream',
      ...sessionHeaders(this.#session),
      ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
    }
    return await this.#options.endpoint.send({ method: 'GET', headers, repeatable: true, signal })
  }

  /** A refusal in JSON-RPC passes as it is; one without the id gets it, or the client would wait for ever. */
  async #handOverError(message: ClientMessage, answer: IncomingMessage, status: number): Promise<void> {
    const body = await readBody(answer, 1024 * 1024)
    const refusal = findRefusal(body)
    const [id] = message.ids
    if (!refusal || message.ids.length !== 1 || id === undefined) throw errorOfStatus(status, body, this.#session.sessionId !== undefined)
    if (refusal.id === id) return await this.#options.write(oneLine(body))
    await this.#options.write(oneLine(Buffer.from(`{"jsonrpc":"2.0","id":${id},"error":${refusal.error}}`)))
  }

  #replay(): Promise<void> {
    this.#replaying ??= this.#replayOnce().finally(() => (this.#replaying = undefined))
    return this.#replaying
  }

  /** Initialises a new session in the client's place, unseen by it. */
  async #replayOnce(): Promise<void> {
    if (!this.#session.stale) return
    const { initialize, initialized } = requireHandshake(this.#session)
    this.#options.log('the MCP session was lost: starting it again')
    this.#listening.stop()
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(INITIALIZE_WAIT_MS)])
    const answer = await this.#post(initialize, signal)
    if ((answer.statusCode ?? 0) >= 300) throw errorOfStatus(answer.statusCode ?? 0, await readBody(answer, 65_536), false)
    let answered: Uint8Array | undefined
    await deliver(answer, async (line, answers) => {
      if (answers === initialize.ids[0]) answered = line
      else if (answers === undefined) await this.#options.write(line)
    })
    if (!answered) throw bridgeError('MCP_PROTOCOL_ERROR', 'the server did not answer the repeated initialize: restart the MCP client')
    checkSameServer(this.#session, answered)
    noteInitializeAnswer(this.#session, answered, headerOf(answer, 'mcp-session-id'))
    const taken = await this.#post(initialized, signal)
    taken.resume()
    this.#listening.start()
  }

  async #fail(message: ClientMessage, thrown: unknown): Promise<void> {
    this.#options.log(explain(thrown).message)
    if (message.ids.length === 0) return await this.#options.write(renderLostNotice(thrown))
    for (const id of message.ids) await this.#options.write(renderErrorLine(id, thrown))
  }

  async close(): Promise<void> {
    // A subscription is answered when it ends, and clients kill what has not ended half a second after its input.
    for (const { message, abort } of this.#running) if (isSubscription(message)) abort.abort()
    const drained = new AbortController()
    await Promise.race([Promise.all([...this.#running].map(({ done }) => done)), this.#options.wait(DRAIN_MS, drained.signal)])
    drained.abort()
    this.#closing.abort()
    for (const { abort } of this.#running) abort.abort()
    if (this.#session.sessionId !== undefined && !this.#session.stale) await this.#endSession()
    this.#options.endpoint.close()
  }

  async #endSession(): Promise<void> {
    try {
      const answer = await this.#options.endpoint.send({
        method: 'DELETE',
        headers: sessionHeaders(this.#session),
        signal: AbortSignal.timeout(DELETE_MS),
      })
      answer.resume()
    } catch (thrown) {
      this.#options.log(`the session could not be ended on the server: ${explain(thrown).message}`)
    }
  }
}

function isAnswered(message: ClientMessage, { answered }: Delivered): boolean {
  return message.ids.every((id) => answered.has(id))
}

function headerOf(answer: IncomingMessage, name: string): string | undefined {
  const value = answer.headers[name]
  return typeof value === 'string' && /^[\x21-\x7e]{1,1024}$/.test(value) ? value : undefined
}
