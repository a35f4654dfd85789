import type { IncomingHttpHeaders } from 'node:http'
import { AppError } from '../../lib/errors.ts'
import type { Change, ResourceFeed } from '../../resources/feed.ts'

/** The headers, beside `Authorization`, in which JWTs of other issuers may come, as the configurations say now. */
export class ForeignHeaders {
  readonly #feed: Pick<ResourceFeed, 'list'>
  readonly #unsubscribe: () => void
  #names: readonly string[] | undefined

  constructor(feed: ResourceFeed) {
    this.#feed = feed
    this.#unsubscribe = feed.subscribe((change) => this.#apply(change))
  }

  /** In lower case; another array after each change. */
  get names(): readonly string[] {
    this.#names ??= [...new Set(this.#feed.list('app_auth_config').map(({ spec }) => spec.jwt.authorization_header.toLowerCase()))].filter(
      (name) => name !== 'authorization',
    )
    return this.#names
  }

  /**
   * What stands for the header `Authorization` where there is none; undefined when none of these headers is there either.
   * @throws AppError unauthenticated for several tokens: one could be judged and another one meant.
   */
  find(headers: IncomingHttpHeaders | Readonly<Record<string, string>>): string | undefined {
    const found = this.names.flatMap((name) => headers[name] ?? [])
    if (found.length > 1) throw new AppError('unauthenticated', 'send one token, in one header')
    const [value] = found
    if (value === undefined || headers['authorization'] !== undefined) return undefined
    return /^Bearer +/i.test(value) ? value : `Bearer ${value}`
  }

  close(): void {
    this.#unsubscribe()
  }

  #apply(change: Change): void {
    if (change.kind === 'app_auth_config') this.#names = undefined
  }
}
