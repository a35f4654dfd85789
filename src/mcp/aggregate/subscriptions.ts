import { AppError } from '../../lib/errors.ts'
import { exposeUri, findUri, type Placed } from './uris.ts'

const MAX_URIS = 1000
/** Of them all as JSON: they are carried to where the session goes on. */
const MAX_BYTES = 256 * 1024

/** A resource, by its exposed URI, and how often the client subscribed to it. */
export interface Subscribed {
  uri: string
  count: number
}

/** The same with one more or less of this URI. */
export function counted(subscribed: readonly Subscribed[], uri: string, more: 1 | -1): Subscribed[] {
  const count = (subscribed.find((one) => one.uri === uri)?.count ?? 0) + more
  const others = subscribed.filter((one) => one.uri !== uri)
  return count > 0 ? [...others, { uri, count }] : others
}

/** Resources whose changes one session wants to hear of, counted: subscribers of one resource are one to its server. */
export class Subscriptions {
  /** Made for the first: most sessions have none. */
  #counts: Map<string, number> | undefined

  /** Whether its server knows already. */
  has(exposed: string): boolean {
    return this.#counts?.has(exposed) ?? false
  }

  /** For one more. @throws AppError resource_exhausted. */
  assertRoom(exposed: string): void {
    const uris = [...(this.#counts?.keys() ?? []), exposed]
    if (uris.length > MAX_URIS || Buffer.byteLength(JSON.stringify(uris)) > MAX_BYTES)
      throw new AppError('resource_exhausted', `an MCP session may subscribe to ${MAX_URIS} resources, whose URIs have ${MAX_BYTES} bytes`)
  }

  add(server: string, uri: string): void {
    const key = exposeUri(server, uri)
    this.#counts ??= new Map()
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1)
  }

  /** Whether that was the last subscriber, and its server is to be told. */
  remove(server: string, uri: string): boolean {
    const key = exposeUri(server, uri)
    const left = (this.#counts?.get(key) ?? 1) - 1
    if (left > 0) this.#counts?.set(key, left)
    else this.#counts?.delete(key)
    return left <= 0
  }

  /** The URIs of one server, as it calls them. */
  of(server: string): string[] {
    return this.#placed([...(this.#counts?.keys() ?? [])]).flatMap((one) => (one.server === server ? [one.original] : []))
  }

  /** Servers with a subscription. */
  servers(): string[] {
    return [...new Set(this.#placed([...(this.#counts?.keys() ?? [])]).map(({ server }) => server))]
  }

  list(): Subscribed[] {
    return [...(this.#counts ?? [])].map(([uri, count]) => ({ uri, count }))
  }

  /** Has these from now on, and says which of them are new and which are gone. */
  become(subscribed: readonly Subscribed[]): { added: Placed[]; removed: Placed[] } {
    const before = this.#counts ?? new Map<string, number>()
    const after = new Map(subscribed.slice(0, MAX_URIS).map(({ uri, count }) => [uri, count]))
    this.#counts = after.size > 0 ? after : undefined
    return {
      added: this.#placed([...after.keys()].filter((uri) => !before.has(uri))),
      removed: this.#placed([...before.keys()].filter((uri) => !after.has(uri))),
    }
  }

  #placed(exposed: readonly string[]): Placed[] {
    return exposed.flatMap((uri) => findUri(uri) ?? [])
  }
}
