import { z } from 'zod'
import { type WatchLine, watchLine } from '../api/watch.ts'
import { AppError } from '../lib/errors.ts'
import type { Change } from '../resources/feed.ts'
import { isKind } from '../resources/registry.ts'
import type { Kind } from '../resources/registry.ts'
import { createShelves } from '../resources/shelves.ts'
import { readWatched } from './watched-resource.ts'

export const MAX_RESOURCES = 200_000
export const UNREADABLE = 'a resource cannot be read: is this program older than the Auth Service?'

type Begin = Extract<WatchLine, { type: 'begin' }>

export type Deleted = Extract<Change, { type: 'delete' }>

/** What a watch says up to its `ready`. */
export class Intake {
  readonly shelves = createShelves()
  /** What was changed or revoked in the last minutes, by `kind name`. */
  readonly recent = new Map<string, Change>()
  /** What was deleted in the last minutes and is there again. */
  readonly replaced: Deleted[] = []
  readonly #kinds: readonly Kind[]
  #begin: Begin | undefined
  #lines = 0
  #isReady = false

  constructor(kinds: readonly Kind[]) {
    this.#kinds = kinds
  }

  get isReady(): boolean {
    return this.#isReady
  }

  get begin(): Begin {
    if (!this.#begin) throw new AppError('unavailable', 'a watch begins with a line that says so')
    return this.#begin
  }

  /** @throws AppError unavailable for what is no line of a watch, or not the next one. */
  read(text: Buffer): WatchLine {
    const parsed = lineSchema.safeParse(text.toString())
    if (!parsed.success) throw new AppError('unavailable', 'a line of the watch cannot be read', { cause: parsed.error })
    this.#lines += 1
    if (parsed.data.n !== this.#lines) throw new AppError('unavailable', 'a line of the watch is missing')
    if (this.#lines > MAX_RESOURCES && !this.#isReady) throw new AppError('resource_exhausted', 'there are too many resources to watch')
    if (parsed.data.type === 'ready') this.#isReady = true
    return parsed.data
  }

  keep(line: WatchLine, onFault: (message: string, fields: Record<string, unknown>) => void): void {
    if (line.type === 'begin') this.#begin = line
    else if (line.type === 'revoked') this.#note({ type: 'revoked', kind: line.kind, name: line.name, at: line.at })
    else if (line.type === 'delete' && isKind(line.kind)) this.#note({ type: 'delete', kind: line.kind, name: line.name, at: line.at })
    else if (line.type === 'put' && isKind(line.kind) && this.#kinds.includes(line.kind)) {
      const { kind, at, resource: document } = line
      const { resource, fault } = readWatched(kind, document)
      if (fault !== undefined) onFault(UNREADABLE, { kind, name: document.metadata.name, fault })
      if (resource) this.shelves.put<Kind>(kind, resource)
      const before = this.recent.get(`${kind} ${document.metadata.name}`)
      if (before?.type === 'delete') this.replaced.push(before)
      if (at > 0) this.#note({ type: 'put', kind, name: document.metadata.name, at })
    }
  }

  #note(change: Change): void {
    this.recent.set(`${change.kind} ${change.name}`, change)
  }
}

const lineSchema = z
  .string()
  .transform((text, context) => {
    try {
      const value: unknown = JSON.parse(text)
      return value
    } catch {
      context.addIssue({ code: 'custom', message: 'is not JSON' })
      return z.NEVER
    }
  })
  .pipe(watchLine)
