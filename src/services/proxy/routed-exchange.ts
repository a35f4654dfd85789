import type { Answer, HttpExchange } from '../../lib/http-exchange.ts'
import type { Exchange } from '../../tunnel/exchange.ts'

/** An exchange on its way to the agent in front of a server, with who calls. A class for the reason that `WireExchange` is one. */
export class RoutedExchange implements Exchange {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  readonly remoteAddress: string
  readonly answer: Answer
  readonly server: string
  readonly assertion: string
  readonly #from: HttpExchange

  constructor(from: HttpExchange, server: string, assertion: string) {
    this.method = from.method
    this.path = from.path
    this.headers = from.headers
    this.body = from.body
    this.remoteAddress = from.remoteAddress
    this.answer = from.answer
    this.server = server
    this.assertion = assertion
    this.#from = from
  }

  get signal(): AbortSignal {
    return this.#from.signal
  }
}
