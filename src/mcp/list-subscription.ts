import { AppError } from '../lib/errors.ts'
import { parseExact, renderExact } from '../lib/json-scan.ts'
import { frameSse } from '../lib/sse.ts'
import type { StopSignal } from '../lib/stopping.ts'
import type { Conversation } from './conversation.ts'
import { ListFollower } from './list-changes.ts'
import { LIST_KINDS, type ListKind } from './list-kinds.ts'
import { type ClientMessage, type Fields, fieldsOf } from './message.ts'
import type { Outlet } from './outlet.ts'
import { parseJson } from './response.ts'
import type { Reply } from './upstream/upstream.ts'

export const ACKNOWLEDGED = 'notifications/subscriptions/acknowledged'
const ID_KEY = 'io.modelcontextprotocol/subscriptionId'
const METHOD_NOT_FOUND = -32601

/**
 * The gateway's part in a `subscriptions/listen` (2026-07-28, subscriptions): whatever the server tells of its lists, what a caller sees of
 * them changes with its roles too.
 */
export class ListSubscription {
  readonly #message: ClientMessage
  readonly #conversation: Conversation
  readonly #outlet: Outlet
  readonly #lists: readonly ListKind[]
  #stop: (() => void) | undefined

  constructor(message: ClientMessage, conversation: Conversation, outlet: Outlet) {
    this.#message = message
    this.#conversation = conversation
    this.#outlet = outlet
    const wanted = fieldsOf(message.params['notifications'])
    this.#lists = LIST_KINDS.filter((kind) => wanted?.[memberOf(kind)] === true)
  }

  /**
   * The server's acknowledgement, with the lists that the gateway tells of, all else to the letter. It has to be written before anything
   * else is awaited. @throws AppError invalid_argument for a text that cannot be written again.
   */
  acknowledge(text: string): Buffer {
    const notification = fieldsOf(parseExact(text)) ?? {}
    const params = fieldsOf(notification['params'])
    const honoured = { ...fieldsOf(params?.['notifications']), ...this.#honoured() }
    this.#follow()
    return frameSse({ data: renderExact({ ...notification, params: { ...params, notifications: honoured } }) })
  }

  /** Whether the server has no subscriptions, and the client wants to hear of what the gateway can tell. */
  isAlone(reply: Reply): boolean {
    if (this.#lists.length === 0 || (reply.kind !== 'message' && reply.kind !== 'refused')) return false
    return fieldsOf(fieldsOf(parseJson(reply.bytes))?.['error'])?.['code'] === METHOD_NOT_FOUND
  }

  /** Serves the client without the server. Settles never, but rejects when `signal` fires. */
  async serveAlone(signal: StopSignal): Promise<never> {
    const ended = Promise.withResolvers<never>()
    const onEnd = (): void => ended.reject(new AppError('cancelled', 'the subscription was cancelled'))
    if (signal.aborted) onEnd()
    else signal.addEventListener('abort', onEnd, { once: true })
    const params = `{"notifications":${JSON.stringify(this.#honoured())},${this.#meta().slice(1)}`
    this.#outlet.open('events')
    void this.#outlet.write(frameSse({ data: `{"jsonrpc":"2.0","method":"${ACKNOWLEDGED}","params":${params}}` }))
    this.#follow()
    return await ended.promise
  }

  /** The result that ends it in the way of the protocol. */
  get result(): Buffer {
    const { id } = this.#message
    return Buffer.from(`{"jsonrpc":"2.0","id":${id ?? 'null'},"result":{"resultType":"complete",${this.#meta().slice(1)}}`)
  }

  close(): void {
    this.#stop?.()
  }

  #follow(): void {
    if (this.#lists.length === 0 || this.#stop) return
    const write = (data: string): Promise<void> => this.#outlet.write(frameSse({ data }))
    this.#stop = this.#conversation.follow(new ListFollower({ lists: this.#lists, params: this.#meta(), write }))
  }

  #honoured(): Fields {
    return Object.fromEntries(this.#lists.map((kind) => [memberOf(kind), true]))
  }

  #meta(): string {
    return `{"_meta":{"${ID_KEY}":${this.#message.id ?? 'null'}}}`
  }
}

function memberOf(kind: ListKind): string {
  return `${kind}ListChanged`
}
