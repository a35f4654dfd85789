import { AppError } from '../lib/errors.ts'
import { parseExact, renderExact } from '../lib/json-scan.ts'
import { LIST_KINDS, type ListKind } from './list-kinds.ts'
import { type Fields, fieldsOf } from './message.ts'

/** The lists that a server has, as its capabilities say. */
export function listsOf(capabilities: unknown): ListKind[] {
  const offered = fieldsOf(capabilities)
  return LIST_KINDS.filter((kind) => fieldsOf(offered?.[kind]) !== undefined)
}

/**
 * The answer to `initialize` or `server/discover`, in which every list that the server has may change: what a client may use does with its
 * roles, whatever the server does. Clients listen for what was announced only. The same bytes where there is nothing to change.
 */
export function announceChanges(bytes: Buffer): Buffer {
  const response = readExact(bytes)
  const result = fieldsOf(response?.['result'])
  const capabilities = fieldsOf(result?.['capabilities'])
  const silent = listsOf(capabilities).filter((kind) => fieldsOf(capabilities?.[kind])?.['listChanged'] !== true)
  if (silent.length === 0) return bytes
  const announced = Object.fromEntries(silent.map((kind) => [kind, { ...fieldsOf(capabilities?.[kind]), listChanged: true }]))
  return Buffer.from(renderExact({ ...response, result: { ...result, capabilities: { ...capabilities, ...announced } } }))
}

/** Undefined for what could not be written again as it was. */
function readExact(bytes: Buffer): Fields | undefined {
  try {
    return fieldsOf(parseExact(bytes.toString('utf8')))
  } catch (thrown) {
    if (thrown instanceof AppError) return undefined
    throw thrown
  }
}

export interface ListFollowerOptions {
  lists: readonly ListKind[]
  /** Members of `params` as JSON text; none unless given. */
  params?: string
  /** Resolves when a slow client has taken it. */
  write(data: string): Promise<void>
}

/** A stream on which a client hears that lists are others now. A slow client is owed one word of each, however often they changed. */
export class ListFollower {
  readonly #options: ListFollowerOptions
  #isTelling = false
  #isDue = false

  constructor(options: ListFollowerOptions) {
    this.#options = options
  }

  /** Tells the client of all its lists; does not wait for it. */
  tell(): void {
    this.#isDue = true
    if (!this.#isTelling) void this.#tellAll()
  }

  async #tellAll(): Promise<void> {
    const { lists, params, write } = this.#options
    this.#isTelling = true
    try {
      while (this.#isDue) {
        this.#isDue = false
        for (const kind of lists) {
          await write(`{"jsonrpc":"2.0","method":"notifications/${kind}/list_changed"${params === undefined ? '' : `,"params":${params}`}}`)
        }
      }
    } catch {
      // The stream is gone, of which whoever serves it is told.
    } finally {
      this.#isTelling = false
    }
  }
}
