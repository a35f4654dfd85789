import type { Logger } from '../../lib/log.ts'
import { REVOCABLES } from '../../resources/feed.ts'
import type { Revocable } from '../../resources/feed.ts'
import { isKind, KINDS } from '../../resources/registry.ts'
import type { Kind, ResourceOf } from '../../resources/registry.ts'
import { announceChanges, getChangeSeq, listChanges, listRecentChanges, lockChanges, noteChange } from '../../storage/changes.ts'
import type { ChangeRow } from '../../storage/changes.ts'
import type { Database, Executor } from '../../storage/database.ts'
import { findResources, listResources } from '../../storage/resources.ts'
import type { LiveResources } from './live-resources.ts'

export interface ChangesOptions {
  db: Database
  live: LiveResources
  /** Reads the keys that are rotated; what it returns puts them into use. */
  readKeys: (db: Executor) => Promise<() => void>
  /** Everything was read anew, since what happened meanwhile is forgotten: what was revoked is not known. */
  onForgotten: () => void
  /** Proxies keep something else under this name now. */
  onSession: (name: string) => void
  now: () => number
  log: Logger
}

/** So long a change is kept for who has not heard of it, ms. Longer than an assertion lives, and than `RECENT_MS` of watches. */
export const CHANGES_KEPT_MS = 15 * 60_000
const BATCH = 500
const MAX_RECENT = 10_000

/** Some changes as the store has them, with the resources that they are about as these are now. */
interface Batch {
  rows: readonly ChangeRow[]
  resources: ReadonlyMap<string, ResourceOf<Kind>>
  useKeys: (() => void) | undefined
}

/**
 * Keeps what this process has in memory in step with the store, whichever process of the cluster changed it: every change stands in one table,
 * written with what it is about and numbered without gaps. One commits at a time, so a number is never seen before a lower one.
 */
export class Changes {
  readonly #options: ChangesOptions
  #seq: number
  #reading: Promise<void> | undefined
  #next: Promise<void> | undefined

  private constructor(options: ChangesOptions, seq: number) {
    this.#options = options
    this.#seq = seq
  }

  /** Reads everything once. `recent` is what changed in the last minutes, and `knownSince` from when on that is all (ms since 1970). */
  static async open(options: ChangesOptions): Promise<{ changes: Changes; recent: ChangeRow[]; knownSince: number }> {
    const { db, live, now, readKeys } = options
    // Before the rest: what comes in between is told once more.
    const seq = await getChangeSeq(db)
    const recent = await listRecentChanges(db, now() - CHANGES_KEPT_MS, MAX_RECENT)
    for (const resource of await listAll(db, now())) live.put<Kind>(resource.kind, resource)
    // They may have been rotated since they were read first, and of that nothing will be told any more.
    const useKeys = await readKeys(db)
    useKeys()
    return { changes: new Changes(options, seq), recent, knownSince: recent[0]?.at ?? now() }
  }

  /** When this settles, memory has whatever was committed before the call, anywhere. Rejects while the store cannot be read. */
  catchUp(): Promise<void> {
    if (!this.#reading) return (this.#reading = this.#readAll().finally(() => (this.#reading = undefined)))
    // The one under way may have looked already.
    const again = (): Promise<void> => {
      this.#next = undefined
      return this.catchUp()
    }
    return (this.#next ??= this.#reading.then(again, again))
  }

  /** The first step of a transaction that changes anything: nobody else changes anything until it ends, and memory is as the store is. */
  async begin(tx: Executor): Promise<void> {
    await this.#readUntil(tx, lockChanges)
  }

  /** The last step of that transaction: what is to be called once it is committed, so that memory has its changes. */
  async end(tx: Executor): Promise<() => void> {
    const batches: Batch[] = []
    for (let after = this.#seq; ;) {
      const batch = await this.#read(tx, after)
      batches.push(batch)
      after = batch.rows.at(-1)?.seq ?? after
      if (batch.rows.length < BATCH) break
    }
    if (batches.some(({ rows }) => rows.length > 0)) await announceChanges(tx)
    return () => batches.forEach((one) => this.#apply(one))
  }

  async #readAll(): Promise<void> {
    await this.#readUntil(this.#options.db, getChangeSeq)
  }

  async #readUntil(db: Executor, askLast: (db: Executor) => Promise<number>): Promise<void> {
    // Asked for after it was looked at: what we write ourselves meanwhile may be ahead of the answer, a store that forgot is behind.
    const seen = this.#seq
    const last = await askLast(db)
    if (last < seen) return await this.#readAnew(db, seen)
    while (this.#seq < last) {
      const after = this.#seq
      const batch = await this.#read(db, after)
      // Another reader may have been faster, and then these are old; else some are forgotten.
      const first = batch.rows[0]?.seq
      const isWhole = first === undefined ? this.#seq !== after : first <= this.#seq + 1
      if (!isWhole) return await this.#readAnew(db, this.#seq)
      this.#apply(batch)
    }
  }

  async #read(db: Executor, after: number): Promise<Batch> {
    const { now, readKeys } = this.#options
    const rows = await listChanges(db, after, BATCH)
    const names = new Map<Kind, string[]>()
    for (const { type, kind, name } of rows) if (type === 'put' && isKind(kind)) names.set(kind, [...(names.get(kind) ?? []), name])
    const resources = new Map<string, ResourceOf<Kind>>()
    for (const [kind, those] of names)
      for (const resource of await findResources(db, kind, [...new Set(those)], now()))
        resources.set(`${kind} ${resource.metadata.name}`, resource)
    const hasKeys = rows.some(({ kind }) => kind === KEYS)
    return { rows, resources, useKeys: hasKeys ? await readKeys(db) : undefined }
  }

  /** What was applied already is passed over, so that a slow reader brings back nothing. */
  #apply({ rows, resources, useKeys }: Batch): void {
    const fresh = rows.filter(({ seq }) => seq > this.#seq)
    for (const row of fresh) {
      this.#seq = row.seq
      this.#applyOne(row, resources.get(`${row.kind} ${row.name}`))
    }
    if (fresh.some(({ kind }) => kind === KEYS)) useKeys?.()
  }

  #applyOne({ type, kind, name }: ChangeRow, resource: ResourceOf<Kind> | undefined): void {
    const { live, onSession } = this.#options
    if (kind === SESSIONS) onSession(name)
    const revocable = REVOCABLES.find((one) => one === kind)
    if (type === 'revoked' && revocable) live.revoke(revocable, name)
    if (type === 'delete' && isKind(kind)) live.remove(kind, name)
    // One that is gone by now is told of next.
    const isNew = resource && live.find(resource.kind, name)?.metadata.revision !== resource.metadata.revision
    if (type === 'put' && isNew) live.put<Kind>(resource.kind, resource)
  }

  /**
   * Too much was missed: as if everything had been deleted and made anew, so that whoever watches ends what rests on what was before.
   * @param seen the last change that memory had when it was found out.
   */
  async #readAnew(db: Executor, seen: number): Promise<void> {
    const { live, now, log, readKeys, onForgotten } = this.#options
    const seq = await getChangeSeq(db)
    const resources = await listAll(db, now())
    const useKeys = await readKeys(db)
    // Another reader brought memory further meanwhile, and what was read here may be older than that.
    if (this.#seq !== seen) return await this.#readUntil(db, getChangeSeq)
    log.warn('changes of other processes were missed: everything is read anew', { seen, last: seq })
    this.#seq = seq
    useKeys()
    onForgotten()
    for (const kind of kinds()) for (const { metadata } of live.list(kind)) live.remove(kind, metadata.name)
    for (const resource of resources) live.put<Kind>(resource.kind, resource)
  }
}

/** Ends credentials, within the transaction that takes them out of the store: everybody who serves by one of them is told. */
export async function revoke({ now }: Pick<ChangesOptions, 'now'>, tx: Executor, kind: Revocable, names: readonly string[]): Promise<void> {
  for (const name of names) await noteChange(tx, { type: 'revoked', kind, name }, now())
}

/** As if a resource that goes on under its name had been deleted, so that whoever watches ends the sessions of who had it before. */
export async function noteReplaced({ now }: Pick<ChangesOptions, 'now'>, tx: Executor, kind: Kind, name: string): Promise<void> {
  await noteChange(tx, { type: 'delete', kind, name }, now())
  await noteChange(tx, { type: 'put', kind, name }, now())
}

/** Tells everybody to read the keys that are rotated. */
export async function noteNewKeys({ now }: Pick<ChangesOptions, 'now'>, tx: Executor): Promise<void> {
  await noteChange(tx, { type: 'put', kind: KEYS, name: 'jwt' }, now())
}

/** Tells every proxy that something else is kept under this name. */
export async function noteSession({ now }: Pick<ChangesOptions, 'now'>, tx: Executor, name: string): Promise<void> {
  await noteChange(tx, { type: 'put', kind: SESSIONS, name }, now())
}

/** No kinds of resources. */
const KEYS = 'keys'
const SESSIONS = 'mcp_session'

function kinds(): Kind[] {
  return Object.keys(KINDS).filter(isKind)
}

async function listAll(db: Executor, now: number): Promise<ResourceOf<Kind>[]> {
  const all: ResourceOf<Kind>[] = []
  for (const kind of kinds()) all.push(...(await listResources<Kind>(db, kind, now)))
  return all
}
