import type { HttpExchange } from '../http-exchange.ts'
import type { PlainRequest } from './plain-request.ts'
import type { WireAnswer } from './wire-answer.ts'

/**
 * A request that came over a connection of our own server. A class, since a literal with a `get signal()` makes a hidden class at each
 * evaluation, which lives in the old part of the heap and keeps the request there until the next full collection.
 */
export class WireExchange implements HttpExchange {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  readonly remoteAddress: string
  readonly answer: WireAnswer

  constructor(head: PlainRequest, headers: HttpExchange['headers'], body: Buffer, remoteAddress: string, answer: WireAnswer) {
    this.method = head.method
    this.path = head.target
    this.headers = headers
    this.body = body
    this.remoteAddress = remoteAddress
    this.answer = answer
  }

  /** Whether nobody waits for the answer any more. */
  get isOver(): boolean {
    return this.answer.isOver
  }

  get signal(): AbortSignal {
    return this.answer.signal
  }
}
