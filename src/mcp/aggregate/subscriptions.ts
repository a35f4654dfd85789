import { AppError } from '../../lib/errors.ts'
import { exposeUri, findUri } from './uris.ts'

const MAX_URIS = 1000

/** Resources whose changes one session wants to hear of, counted: subscribers of one resource are one to its server. */
export class Subscriptions {
  /** Made for the first: most sessions have none. */
  #counts: Map<string, number> | undefined

  /** Whether its server knows already. */
  has(exposed: string): boolean {
    return this.#counts?.has(exposed) ?? false
  }

  /** @throws AppError resource_exhausted. */
  assertRoom(): void {
    if ((this.#counts?.size ?? 0) >= MAX_URIS)
      throw new AppError('resource_exhausted', `an MCP session may subscribe to ${MAX_URIS} resources`)
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
    return [...(this.#counts?.keys() ?? [])].flatMap((exposed) => {
      const placed = findUri(exposed)
      return placed?.server === server ? [placed.original] : []
    })
  }
}
