import type { IncomingMessage } from 'node:http'
import type { AppError } from '../lib/errors.ts'
import { readBody } from './answer.ts'
import type { McpEndpoint } from './mcp-endpoint.ts'
import { bridgeError, errorOfStatus, explain } from './mcp-errors.ts'
import { headersFor, sessionHeaders } from './mcp-frame.ts'
import type { ClientMessage } from './mcp-frame.ts'
import { checkSameServer, createHandshake, noteInitializeAnswer, requireHandshake } from './mcp-handshake.ts'
import type { Handshake } from './mcp-handshake.ts'
import { isNetworkFault, ListenStream, MAX_BACKOFF_MS } from './mcp-listen.ts'
import { deliver } from './mcp-stream.ts'
import type { Delivered } from './mcp-stream.ts'

export interface McpSessionOptions {
  /** Hands one message to the client. */
  write: (line: Uint8Array) => Promise<void>
  endpoint: McpEndpoint
  /** False: a lost connection is not opened again. */
  autoReconnect: boolean
  log: (line: string) => void
  wait: (ms: number, signal: AbortSignal) => Promise<void>
  /** Fires when the client is gone. */
  closing: AbortSignal
  /** Told of a lost connection that must not be opened again. */
  onLost(error: AppError): void
}

export const INITIALIZE_WAIT_MS = 60_000
const DELETE_MS = 2_000

/** The server's side of a client's session: what was agreed, its stream of messages, and how it is begun again when it is lost. */
export class McpSession {
  readonly handshake: Handshake = createHandshake()
  readonly #options: McpSessionOptions
  readonly #listening: ListenStream
  #replaying: Promise<void> | undefined
  #opening: Promise<void> | undefined

  constructor(options: McpSessionOptions) {
    this.#options = options
    this.#listening = new ListenStream({ ...options, open: (lastEventId, signal) => this.#get(lastEventId, signal) })
  }

  /** Sends a message; a request that is refused by the network leaves the session to be looked at anew. */
  async post(message: ClientMessage, signal: AbortSignal, onSent?: () => void): Promise<IncomingMessage> {
    const repeatable = message.kind !== 'batch' && message.method !== 'tools/call'
    try {
      const headers = headersFor(message, this.handshake)
      return await this.#options.endpoint.send({
        method: 'POST',
        headers,
        body: message.line,
        repeatable,
        signal,
        ...(onSent ? { onSent } : {}),
      })
    } catch (thrown) {
      if (isNetworkFault(thrown)) this.markLost(thrown)
      throw thrown
    }
  }

  /** A session with an id may well outlive a broken connection: the server's 404 tells when not. Without an id nobody would. */
  markLost(error: AppError): void {
    if (this.handshake.sessionId === undefined) this.handshake.stale = this.handshake.serverInfo !== undefined
    if (!this.#options.autoReconnect) this.#options.onLost(error)
  }

  /** Takes up the stream of a POST again, by GET (2025-11-25: servers may close early and let the client poll). */
  async resume(before: Delivered, signal: AbortSignal): Promise<Delivered> {
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

  /** The client has said that it is ready: from now on the server may speak unasked. */
  begin(initialized: ClientMessage): void {
    this.handshake.initialized = initialized
    this.#listening.start()
  }

  /**
   * The client goes by what the server answered at another time. `opening` is its own `initialize`, still on its way: the next message
   * waits for it, or begins the session itself when it came to nothing.
   */
  assume(answer: Uint8Array, opening: Promise<void>): void {
    noteInitializeAnswer(this.handshake, answer, undefined)
    this.handshake.stale = true
    this.handshake.isAssumed = true
    this.#opening = opening.catch(() => {}).finally(() => (this.#opening = undefined))
  }

  /** Initialises a new session in the client's place, unseen by it, if the one there was is lost. */
  replay(): Promise<void> {
    this.#replaying ??= this.#replayOnce().finally(() => (this.#replaying = undefined))
    return this.#replaying
  }

  async #replayOnce(): Promise<void> {
    if (!this.handshake.stale) return
    const { initialize, initialized } = requireHandshake(this.handshake)
    this.#listening.stop()
    const signal = AbortSignal.any([this.#options.closing, AbortSignal.timeout(INITIALIZE_WAIT_MS)])
    await this.#opening
    // The opening may have succeeded meanwhile.
    if (this.handshake.stale) await this.#initializeAgain(initialize, signal)
    const taken = await this.post(initialized, signal)
    taken.resume()
    this.#listening.start()
  }

  async #initializeAgain(initialize: ClientMessage, signal: AbortSignal): Promise<void> {
    if (!this.handshake.isAssumed) this.#options.log('the MCP session was lost: starting it again')
    const answer = await this.post(initialize, signal)
    if ((answer.statusCode ?? 0) >= 300) throw errorOfStatus(answer.statusCode ?? 0, await readBody(answer, 65_536), false)
    let answered: Uint8Array | undefined
    await deliver(answer, async (line, answers) => {
      if (answers === initialize.ids[0]) answered = line
      else if (answers === undefined) await this.#options.write(line)
    })
    if (!answered) throw bridgeError('MCP_PROTOCOL_ERROR', 'the server did not answer the repeated initialize: restart the MCP client')
    this.noteReplay(answered, sessionIdOf(answer))
  }

  /** Notes the answer to an `initialize` that the client believes answered; throws when another server gave it. */
  noteReplay(answer: Uint8Array, sessionId: string | undefined): void {
    checkSameServer(this.handshake, answer)
    noteInitializeAnswer(this.handshake, answer, sessionId)
  }

  async #get(lastEventId: string | undefined, signal: AbortSignal): Promise<IncomingMessage> {
    const headers = {
      accept: 'text/event-stream',
      ...sessionHeaders(this.handshake),
      ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
    }
    return await this.#options.endpoint.send({ method: 'GET', headers, repeatable: true, signal })
  }

  /** Ends the session at the server, if it has an id there. */
  async end(): Promise<void> {
    if (this.handshake.sessionId === undefined || this.handshake.stale) return
    try {
      const answer = await this.#options.endpoint.send({
        method: 'DELETE',
        headers: sessionHeaders(this.handshake),
        signal: AbortSignal.timeout(DELETE_MS),
      })
      answer.resume()
    } catch (thrown) {
      this.#options.log(`the session could not be ended on the server: ${explain(thrown).message}`)
    }
  }
}

/** The id a server gave the session with its answer to `initialize`. */
export function sessionIdOf(answer: IncomingMessage): string | undefined {
  const value = answer.headers['mcp-session-id']
  return typeof value === 'string' && /^[\x21-\x7e]{1,1024}$/.test(value) ? value : undefined
}
