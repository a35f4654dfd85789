import type { AnswerMemory } from './mcp-memory.ts'
import type { ClientMessage } from './mcp-frame.ts'

export interface ReplyOptions {
  write: (line: Uint8Array) => Promise<void>
  memory?: AnswerMemory | undefined
}

const CHANGED = Buffer.from('{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}')

/** What the client hears on one message: the server's answer, or first what it answered another time, but never two answers. */
export class Reply {
  /** Whether the client has an answer. */
  isSaid = false
  readonly #message: ClientMessage
  readonly #known: Buffer | undefined
  readonly #options: ReplyOptions
  #saidKnown = false

  constructor(message: ClientMessage, known: Buffer | undefined, options: ReplyOptions) {
    this.#message = message
    this.#known = known
    this.#options = options
  }

  /** Answers as the server did another time; false when there is an answer already. */
  async sayKnown(): Promise<boolean> {
    if (this.isSaid || !this.#known) return false
    this.isSaid = true
    this.#saidKnown = true
    await this.#options.write(this.#known)
    return true
  }

  /** The server's answer. A client that has an older one is told when its list is no longer true. */
  async say(line: Uint8Array): Promise<void> {
    const { write, memory } = this.#options
    this.isSaid = true
    if (!this.#saidKnown) await write(line)
    const isNew = await memory?.note(this.#message, line)
    const { method, modernVersion } = this.#message
    if (this.#saidKnown && isNew && method === 'tools/list' && modernVersion === undefined) await write(CHANGED)
  }
}
