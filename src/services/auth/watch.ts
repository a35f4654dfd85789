import type { WatchLine } from '../../api/watch.ts'
import type { Resource } from '../../resources/envelope.ts'
import type { Change, ResourceFeed, Revocable } from '../../resources/feed.ts'
import type { Identity } from '../../resources/identity.ts'
import { isKind } from '../../resources/registry.ts'
import type { Kind } from '../../resources/registry.ts'

export interface Revoked {
  kind: Revocable
  name: string
  at: number
}

export interface WatchOptions {
  live: ResourceFeed
  identity: Identity
  kinds: readonly Kind[]
  epoch: string
  now: () => number
  /** From when on `revoked` has all that was revoked. */
  knownSince: number
  revoked: readonly Revoked[]
  /** `kind name` of what changed lately → when. */
  changed: ReadonlyMap<string, number>
  /** The same of what was deleted. */
  deleted: ReadonlyMap<string, number>
  onEnd(): void
}

/** Changes that may wait for a slow reader; one name waits once, however often it changes, and once more where it went in between. */
const MAX_WAITING = 4096
const CHUNK_CHARACTERS = 64 * 1024
/** Beats without a place for anything: whoever takes nothing for that long is gone. */
const MAX_STALLED_BEATS = 4

type Told = { change: Change; at: number }
type Unnumbered<L> = L extends WatchLine ? Omit<L, 'n'> : never

/** One who watches: the state at the moment it came, then the changes, as fast as it reads and no faster. */
export class Watch {
  readonly stream: ReadableStream<Uint8Array>
  readonly identity: Identity
  readonly #options: WatchOptions
  readonly #snapshot: Iterator<Unnumbered<WatchLine>>
  readonly #waiting = new Map<string, Told>()
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined
  #isLive = false
  #ended: string | undefined
  #stalled = 0
  #count = 0

  constructor(options: WatchOptions) {
    this.#options = options
    this.identity = options.identity
    this.#snapshot = snapshotOf(options)
    this.stream = new ReadableStream<Uint8Array>({
      start: (controller) => void (this.#controller = controller),
      pull: () => this.#flush(),
      cancel: () => this.#leave(),
    })
  }

  /** Queues a change; ends the watch when too many wait. */
  tell(change: Change, at: number): void {
    const { kinds } = this.#options
    if (this.#ended !== undefined || (change.type !== 'revoked' && !kinds.includes(change.kind))) return
    const key = `${change.kind} ${change.name}`
    // That it went is told even if it is there again: what rests on the one before ends by it.
    const place = change.type === 'delete' ? `gone ${key}` : key
    this.#waiting.delete(key)
    this.#waiting.delete(place)
    this.#waiting.set(place, { change, at })
    if (this.#waiting.size > MAX_WAITING) this.end('it fell too far behind: begin anew')
    else this.#flush()
  }

  /** Says that nothing changed, when there is room to say it. */
  beat(): void {
    if (this.#hasRoom()) {
      this.#stalled = 0
      if (this.#isLive && this.#waiting.size === 0) this.#enqueue(this.#render({ type: 'beat', at: this.#options.now() }))
    } else if (++this.#stalled >= MAX_STALLED_BEATS) this.end('it took nothing for too long')
  }

  /** The reason is the last it hears: what waits is not told any more. */
  end(reason: string): void {
    if (this.#ended !== undefined) return
    this.#ended = reason
    this.#enqueue(this.#render({ type: 'end', at: this.#options.now(), reason }))
    this.#controller?.close()
    this.#leave()
  }

  #leave(): void {
    this.#ended ??= 'it left'
    this.#waiting.clear()
    this.#options.onEnd()
  }

  #hasRoom(): boolean {
    return this.#ended === undefined && (this.#controller?.desiredSize ?? 0) > 0
  }

  #flush(): void {
    while (this.#hasRoom()) {
      let text = ''
      for (let line = this.#next(); line; line = text.length < CHUNK_CHARACTERS ? this.#next() : undefined) text += this.#render(line)
      if (text === '') return
      this.#enqueue(text)
    }
  }

  #next(): Unnumbered<WatchLine> | undefined {
    if (!this.#isLive) {
      const next = this.#snapshot.next()
      if (next.done !== true) return next.value
      this.#isLive = true
    }
    for (const [key, { change, at }] of this.#waiting) {
      this.#waiting.delete(key)
      const line = this.#lineOf(change, at)
      if (line) return line
    }
    return undefined
  }

  /** Undefined for one that is gone meanwhile: that it went is told next. */
  #lineOf(change: Change, at: number): Unnumbered<WatchLine> | undefined {
    if (change.type === 'revoked') return { type: 'revoked', at, kind: change.kind, name: change.name }
    const { kind, name } = change
    if (change.type === 'delete') return { type: 'delete', at, kind, name }
    const resource = this.#options.live.find(kind, name)
    return resource && { type: 'put', at, kind, resource }
  }

  #render(line: Unnumbered<WatchLine>): string {
    this.#count += 1
    return `${JSON.stringify({ ...line, n: this.#count })}\n`
  }

  #enqueue(text: string): void {
    this.#controller?.enqueue(Buffer.from(text))
  }
}

/** What there is at the first look, which is taken at once: what changes later is told behind it. */
function snapshotOf({ live, kinds, epoch, now, knownSince, revoked, changed, deleted }: WatchOptions): Iterator<Unnumbered<WatchLine>> {
  const at = now()
  const changedAt = (kind: Kind, resource: Resource): number => changed.get(`${kind} ${resource.metadata.name}`) ?? 0
  const resources = kinds.flatMap((kind) => live.list<Kind>(kind).map((resource) => ({ kind, resource, at: changedAt(kind, resource) })))
  const gone = [...deleted].flatMap(([key, when]) => {
    const [kind, name] = splitKey(key)
    return isKind(kind) && kinds.includes(kind) ? [{ kind, name, at: when }] : []
  })
  function* lines(): Generator<Unnumbered<WatchLine>> {
    yield { type: 'begin', at, epoch, known_since: knownSince }
    // Before what stands under the same name now.
    for (const one of gone) yield { type: 'delete', ...one }
    for (const one of resources) yield { type: 'put', ...one }
    for (const { kind, name, at: when } of revoked) yield { type: 'revoked', at: when, kind, name }
    yield { type: 'ready', at }
  }
  return lines()
}

function splitKey(key: string): [string, string] {
  const space = key.indexOf(' ')
  return [key.slice(0, space), key.slice(space + 1)]
}
