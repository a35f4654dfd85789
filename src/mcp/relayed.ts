import type { Allowed } from '../access/decision.ts'
import type { Origin } from '../lib/errors.ts'
import { Stopping, type StopSignal } from '../lib/stopping.ts'
import type { Caller } from './caller.ts'
import type { Conversation, RunningRequest } from './conversation.ts'
import { keyOfRaw } from './request-ids.ts'
import { learnMirrors } from './eras/mirrors.ts'
import { checkMessage, filterList } from './guard.ts'
import { announceChanges } from './list-changes.ts'
import { type ClientMessage, type Fields, fieldsOf } from './message.ts'
import { readHead } from './message-head.ts'
import { findMethod } from './methods.ts'
import { type Begun, readEnding } from './recorder.ts'
import { isAnswerTo, type KnownAnswer, notTheAnswer, readPlainResponse, readResponse } from './response.ts'
import type { CallerProof } from './upstream/upstream.ts'

/** Of answers above this size only the head is read: their content is not summarised in the audit log. */
export const READ_LIMIT = 64 * 1024
/** Of those that say what the server has. */
const OFFERS_LIMIT = 1024 * 1024

/** One request from its record to its answer. */
export class Relayed implements RunningRequest {
  readonly message: ClientMessage
  readonly key: string
  place = -1
  readonly #conversation: Conversation
  readonly #caller: Caller
  readonly #begun: Begun | undefined
  readonly #onAnswer: ((response: Fields) => Promise<void> | undefined) | undefined
  readonly #stopping = new Stopping()
  #bytes = 0
  #isConcluded = false
  /** Settles when the end is written. */
  #finished: Promise<void> | undefined
  /** Between the decision to send it and the end of the stream that answers it. */
  isUnderWay = true

  /** Makes the start record and waits for nothing: see `recorded`. Throws when the journal has no room, and then nothing may be sent. */
  constructor(
    conversation: Conversation,
    caller: Caller,
    message: ClientMessage,
    decision: Allowed,
    onAnswer?: (response: Fields) => Promise<void> | undefined,
  ) {
    this.message = message
    this.key = keyOfRaw(message.id)
    this.#conversation = conversation
    this.#caller = caller
    this.#onAnswer = onAnswer
    this.#begun = conversation.recorder.begin(message, decision)
    conversation.begin(this)
  }

  /** Settles when the start record is written; undefined when there is none. Until then nothing may be sent; if it rejects, see `unsent`. */
  get written(): Promise<void> | undefined {
    return this.#begun?.written
  }

  /** The start record cannot be written: it was not sent, and this is over. */
  unsent(): void {
    this.isUnderWay = false
    this.#conversation.finish(this)
    this.#conversation.recorder.unsent(this.#begun)
  }

  /** Who asks, as verified for this request. */
  get caller(): CallerProof {
    return this.#caller
  }

  /** Whether its caller may still ask for it, as things are now. */
  get isAllowed(): boolean {
    return checkMessage(this.message, this.#caller.access()).allow
  }

  /** Whether it came to its end in the way of the protocol, without an answer of the server. */
  get isConcluded(): boolean {
    return this.#isConcluded
  }

  conclude(): Promise<void> {
    this.#isConcluded ||= this.#finished === undefined
    return this.passed()
  }

  /** Fires when nobody wants the answer any more. */
  get signal(): StopSignal {
    return this.#stopping
  }

  abort(): void {
    this.#stopping.abort()
  }

  /**
   * The response, ready for the client: lists filtered, the end recorded. It may leave once `written` has settled.
   * @throws AppError unavailable (origin upstream) when it cannot be judged, or could be taken for the answer to something else.
   */
  judge(bytes: Buffer, known?: KnownAnswer): { bytes: Buffer; response: Fields | undefined; written: Promise<unknown> } {
    const { lists, offers } = findMethod(this.message.method) ?? {}
    const plain = lists ? undefined : known ? known.response : readPlainResponse(bytes)
    if (!known && !(plain ? isAnswerTo(plain, this.key) : readHead(bytes).isAnswerTo(this.key))) throw notTheAnswer()
    const judged = lists
      ? filterList(bytes, lists, this.#caller.access())
      : { bytes, response: plain ?? readUpTo(offers ? OFFERS_LIMIT : READ_LIMIT, bytes) }
    if (offers && judged.response) judged.bytes = announceChanges(bytes)
    const { response } = judged
    this.#bytes += judged.bytes.byteLength
    const noticed = response && this.#onAnswer?.(response)
    if (lists?.what === 'tool' && this.#conversation.era === 'modern')
      learnMirrors(this.#conversation.mirrors, fieldsOf(response?.['result'])?.[lists.in])
    const finished = this.#finish(readEnding(response, this.#bytes))
    return { bytes: judged.bytes, response, written: noticed ? Promise.all([noticed, finished]) : finished }
  }

  count(bytes: number): void {
    this.#bytes += bytes
  }

  /** The end of what was passed on unread. */
  passed(): Promise<void> {
    return this.#finish({ bytes: this.#bytes })
  }

  async interrupt(error: string, origin?: Origin): Promise<void> {
    // When something else ended it, whoever did that is told of a record that could not be written.
    if (this.#finished) await this.#finished.catch(() => undefined)
    else await this.#finish({ bytes: this.#bytes, error, origin })
  }

  #finish(ending: Parameters<Conversation['recorder']['finish']>[2]): Promise<void> {
    if (!this.#finished) {
      this.#conversation.finish(this)
      this.#finished = this.#conversation.recorder.finish(this.message, this.#begun, ending)
    }
    return this.#finished
  }
}

function readUpTo(limit: number, bytes: Buffer): Fields | undefined {
  return bytes.byteLength <= limit ? readResponse(bytes) : undefined
}
