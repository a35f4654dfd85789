import { parseExact, renderExact } from '../../lib/json-scan.ts'
import { keyOfRaw } from '../request-ids.ts'
import { type Fields, fieldsOf } from '../message.ts'

/** A request of a member that the client has not answered. */
interface Question {
  server: string
  /** JSON text of the id that the member gave it. */
  id: string
  /** The token under which the member wants to hear of progress, for `renderExact`. */
  token: unknown
}

/** Of one server: the questions of others have to have room too. */
const MAX_OPEN = 100
/** Characters of an id or token that is kept. */
const MAX_ID = 1024
/** Of the ids that clients see. */
const OURS = /^s-[\w-]+-\d+$/
const MAX_NAME = 100
/** Our own key, for clients that show who asks. */
const SERVER_KEY = 'sallyport.dev/server'

/** Requests of the members to one client. Two members may use the same id or token, so the client sees ids of ours. */
export class Questions {
  /** Made for the first: most sessions have none. */
  #open: Map<string, Question> | undefined
  #last = 0
  readonly #prefix: string

  /** @param tag of this process, where several may ask the client of one session: else an answer could reach another question. */
  constructor(tag?: string) {
    this.#prefix = tag === undefined ? 's-' : `s-${tag}-`
  }

  /**
   * The request as the client is to see it, with the name of the server: people who are asked something have to know by whom. Undefined when
   * it cannot be passed on.
   */
  ask(server: string, text: string): string | undefined {
    const message = readRequest(text)
    const open = (this.#open ??= new Map<string, Question>())
    if (!message || this.#openOf(server) >= MAX_OPEN) return undefined
    const name = `${this.#prefix}${++this.#last}`
    const params = fieldsOf(message['params'])
    const meta = fieldsOf(params?.['_meta'])
    const token = meta?.['progressToken']
    const id = textOf(message['id'])
    if (id === undefined || (token !== undefined && textOf(token) === undefined)) return undefined
    const named = { ...params, _meta: { ...meta, ...(token !== undefined && { progressToken: name }), [SERVER_KEY]: server } }
    const rendered = renderSafely({ ...message, id: name, params: named })
    if (rendered !== undefined) open.set(name, { server, id, token })
    return rendered
  }

  /** Whether the client was asked with this id, as JSON text, and has not answered. */
  has(id: string | undefined): boolean {
    const name: unknown = id === undefined ? undefined : JSON.parse(id)
    return typeof name === 'string' && this.#open?.has(name) === true
  }

  /** Whether it is an id as this process gives none, but others do. */
  isOfAnother(id: string | undefined): boolean {
    const name: unknown = id === undefined ? undefined : JSON.parse(id)
    return typeof name === 'string' && name.length <= MAX_NAME && OURS.test(name) && !name.startsWith(this.#prefix)
  }

  /** Whose request a response with this id, as JSON text, answers; it does so only once. */
  take(id: string | undefined): Question | undefined {
    const name: unknown = id === undefined ? undefined : JSON.parse(id)
    if (typeof name !== 'string') return undefined
    const question = this.#open?.get(name)
    this.#open?.delete(name)
    return question
  }

  /** Whose progress a notification of the client's with this token tells. */
  findByToken(token: unknown): Question | undefined {
    return typeof token === 'string' ? this.#open?.get(token) : undefined
  }

  /** The member wants no answer any more: the id, as JSON text, by which the client knows the request. */
  withdraw(server: string, id: unknown): string | undefined {
    for (const [name, question] of this.#open ?? []) {
      if (question.server !== server || keyOfRaw(question.id) !== JSON.stringify(id)) continue
      this.#open?.delete(name)
      return JSON.stringify(name)
    }
    return undefined
  }

  #openOf(server: string): number {
    return this.#open?.values().reduce((count, question) => count + Number(question.server === server), 0) ?? 0
  }

  /** The member's session has ended. */
  forget(server: string): void {
    for (const [name, question] of this.#open ?? []) if (question.server === server) this.#open?.delete(name)
  }
}

/** The JSON text of an id or token: a string or number, not too long to be kept. */
function textOf(value: unknown): string | undefined {
  const isPlain = typeof value === 'string' || typeof value === 'number' || JSON.isRawJSON(value)
  const text = isPlain ? renderExact(value) : ''
  return text !== '' && text.length <= MAX_ID ? text : undefined
}

function readRequest(text: string): Fields | undefined {
  try {
    return fieldsOf(parseExact(text))
  } catch {
    return undefined // not JSON: nothing that a client could use
  }
}

function renderSafely(message: Fields): string | undefined {
  try {
    return renderExact(message)
  } catch {
    return undefined // deeper than the stack
  }
}
