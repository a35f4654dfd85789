import { AppError, toAppError } from '../../lib/errors.ts'
import { isNameable } from '../../lib/exposed-name.ts'
import { type Fields, fieldsOf } from '../message.ts'
import { exposeItem } from './answers.ts'
import { type Channel, isRefusal } from './channel.ts'
import type { Health } from './health.ts'
import { KeptLists } from './kept-lists.ts'
import type { AggregateLimits } from './limits.ts'
import type { ListKind } from '../list-kinds.ts'
import type { ListRow } from './lists.ts'
import type { Offered } from './offered.ts'
import { readPages } from './pages.ts'
import type { Timers } from '../../lib/timers.ts'
import { within } from './waiting.ts'
import { checkItem, checkTool } from './tools.ts'
import { exposeId, exposeUri } from './uris.ts'
import type { Member, View } from './view.ts'

/** An item of a list with its name here. */
export interface Entry {
  server: string
  /** As the server calls it. */
  original: string
  exposed: string
  /** As the client is to see it. */
  item: Fields
}

/** One list of one server. */
export interface ServerList {
  entries: readonly Entry[]
  /** Milliseconds for which it may be kept, as the server says; 0 when it does not. */
  ttlMs: number
  /** Items that no client should see, and why. */
  quarantined: ReadonlyMap<string, string>
  bytes: number
  /** The server does not know the method from clients of this revision. */
  unknownIn: string | undefined
  fetchedAt: number
}

/** One list over all servers of a view. */
export interface Listing {
  /** Servers by name, the items of each in its own order. */
  entries: readonly Entry[]
  ttlMs: number
  /** What is not in it, for people to read. */
  unavailable: readonly { server: string; reason: string }[]
}

export interface CatalogueOptions {
  limits: AggregateLimits
  timers: Timers
  now: () => number
  health: Health
  offered: Offered
  /** A list came after the answer had gone without it. */
  onLate: (owner: string, kind: ListKind) => void
}

const MAX_TOLD = 20
/** A server that does not know a list is not asked for it again so soon: each time would be a failed request in the audit log. */
const UNKNOWN_MS = 5 * 60_000

/**
 * The lists of all servers. Each that has one is asked every time; one that is slow or fails is shown by what it said last, unless it refused.
 */
export class Catalogue {
  readonly #options: CatalogueOptions
  readonly #kept: KeptLists<ServerList>
  readonly #running = new Map<string, Promise<ServerList>>()
  #reading = 0
  /** By owner. */
  readonly #readingOf = new Map<string, number>()
  /** Of what was asked for before the last change of members: it is not kept. */
  #generation = 0

  constructor(options: CatalogueOptions) {
    this.#options = options
    this.#kept = new KeptLists(options.limits, options.now)
  }

  /** Within the time a list may wait. Lists no older than `maxAgeMs` are taken as they are. @throws AppError when the members cannot be had. */
  async list(row: ListRow, channel: Channel, view: View, maxAgeMs = 0): Promise<Listing> {
    const members = (await view.members()).slice(0, this.#options.limits.members)
    const byName = members.toSorted((a, b) => (a.name < b.name ? -1 : Number(a.name > b.name)))
    const lists = await Promise.all(byName.map((member) => this.#listOf(member, row, channel, view, maxAgeMs)))
    const shown = lists.flatMap(({ list }) => list?.entries ?? [])
    const isTool = row.method === 'tools/list'
    const faults = lists.flatMap(({ server, list, error }) => [
      ...(error ? [{ server, reason: error.message }] : []),
      ...Array.from(list?.quarantined ?? [], ([name, why]) => ({ server, reason: `"${name.slice(0, 100)}" is left out: ${why}` })),
    ])
    return {
      entries: isTool ? shown.filter(({ server, original }) => view.includesTool?.(server, original) ?? true) : shown,
      ttlMs: lists.reduce((least, { list, error }) => Math.min(least, list && !error ? list.ttlMs : 0), lists[0]?.list?.ttlMs ?? 0),
      unavailable: faults.slice(0, MAX_TOLD),
    }
  }

  /** The last known entry of this exposed name, without asking anybody. */
  findEntry(row: ListRow, channel: Channel, server: string, exposed: string): Entry | undefined {
    return this.#kept.find(channel.owner, channel.era, server, row.method)?.entries.find((entry) => entry.exposed === exposed)
  }

  /** Why an item of this name is shown to nobody. */
  findQuarantined(row: ListRow, channel: Channel, server: string, original: string): string | undefined {
    const list = this.#kept.find(channel.owner, channel.era, server, row.method)
    const reason = list?.quarantined.get(original)
    // Of two with one name, one is shown.
    return reason === undefined || list?.entries.some((entry) => entry.original === original) === true ? undefined : reason
  }

  /** Drops what is kept for one owner, or for all: it may rest on what has changed. */
  forget(owner?: string): void {
    this.#generation += 1
    this.#running.clear()
    this.#kept.forget(owner)
    this.#options.offered.forget(owner)
  }

  /** A server said that a list of its has changed. */
  changed(channel: Channel, server: string, kind: ListKind): void {
    this.#kept.age(channel.owner, channel.era, server, kind)
    this.#options.offered.forget(channel.owner, server)
  }

  sweep(): void {
    this.#kept.sweep()
    this.#options.offered.sweep()
  }

  async #listOf(
    member: Member,
    row: ListRow,
    channel: Channel,
    view: View,
    maxAgeMs: number,
  ): Promise<{ server: string; list: ServerList | undefined; error?: AppError }> {
    const { limits, timers, now, onLate } = this.#options
    const server = member.name
    const kept = this.#kept.find(channel.owner, channel.era, server, row.method)
    if (kept && now() - kept.fetchedAt < (kept.unknownIn === channel.revision ? UNKNOWN_MS : maxAgeMs)) return { server, list: kept }
    const reading = this.#read(member, row, channel, view)
    try {
      return { server, list: await within(timers, limits.listMs, undefined, () => reading) }
    } catch (thrown) {
      const error = toAppError(thrown)
      const { changes } = row
      if (isRefusal(error)) {
        this.#kept.drop(channel.owner, channel.era, server, row.method)
        return { server, list: undefined, error }
      }
      if (error.code === 'deadline_exceeded' && !kept && changes) {
        reading.then(
          () => onLate(channel.owner, changes),
          () => undefined, // recorded by whoever reads it
        )
      }
      return { server, list: kept, error }
    }
  }

  /** Several that ask at once share one answer. */
  #read(member: Member, row: ListRow, channel: Channel, view: View): Promise<ServerList> {
    const key = JSON.stringify([channel.scope, member.name, row.method])
    const running = this.#running.get(key)
    if (running) return running
    const { readingLists, readingListsPerOwner } = this.#options.limits
    if (this.#reading >= readingLists || (this.#readingOf.get(channel.owner) ?? 0) >= readingListsPerOwner)
      return Promise.reject(new AppError('resource_exhausted', 'too many lists are being read: list again later'))
    this.#count(channel.owner, 1)
    const reading = this.#fetch(member, row, channel, view).finally(() => {
      this.#count(channel.owner, -1)
      if (this.#running.get(key) === reading) this.#running.delete(key)
    })
    this.#running.set(key, reading)
    return reading
  }

  #count(owner: string, step: number): void {
    this.#reading += step
    const left = (this.#readingOf.get(owner) ?? 0) + step
    if (left > 0) this.#readingOf.set(owner, left)
    else this.#readingOf.delete(owner)
  }

  async #fetch(member: Member, row: ListRow, channel: Channel, view: View): Promise<ServerList> {
    const { limits, timers, health } = this.#options
    const generation = this.#generation
    try {
      const list = await within(timers, limits.lateMs, undefined, (signal) => this.#fetchAll(member, row, channel, view, signal))
      if (generation === this.#generation) this.#kept.keep(channel.owner, channel.era, member.name, row.method, list)
      return list
    } catch (thrown) {
      const error = toAppError(thrown)
      // A refusal is about this caller, not about the server; and one who went away did not wait for its answer.
      if (!isRefusal(error) && error.code !== 'cancelled')
        health.note(channel.owner, member.name, row.method, `${row.method} failed: ${error.message}`)
      throw error
    }
  }

  async #fetchAll(member: Member, row: ListRow, channel: Channel, view: View, signal: AbortSignal): Promise<ServerList> {
    const { limits, now, health } = this.#options
    const server = member.name
    const pages = await readPages(channel, member, row, signal, limits)
    const quarantined = new Map<string, string>()
    const checked = checkItems(pages.items, row, quarantined)
    const exposed = await exposeAll(server, row, checked, view)
    const entries = checked.flatMap(({ original, item }, at): Entry[] => {
      const name = exposed[at]
      if (name === undefined) quarantined.set(original, isNameable(original) ? 'there is no room for another name' : UNNAMEABLE)
      return name === undefined ? [] : [{ server, original, exposed: name, item: exposeItem(row.in, { ...item, [row.by]: name }, server) }]
    })
    health.note(channel.owner, server, row.method, pages.problem)
    const [first] = quarantined
    const more = quarantined.size > 1 ? ` (and ${quarantined.size - 1} more)` : ''
    const fault = first && `"${first[0].slice(0, 100)}" of ${row.method} is left out: ${first[1]}${more}`
    health.note(channel.owner, server, `${row.method} items`, fault, quarantined.size)
    return {
      entries,
      ttlMs: pages.ttlMs,
      quarantined,
      bytes: pages.bytes,
      unknownIn: pages.isUnknown ? channel.revision : undefined,
      fetchedAt: now(),
    }
  }
}

const UNNAMEABLE = 'its name is empty, longer than 1024 bytes, or no text'

interface CheckedItem {
  original: string
  item: Fields
}

/** Items that clients can take, the first of each name; `quarantined` gets the rest. */
function checkItems(items: readonly unknown[], row: ListRow, quarantined: Map<string, string>): CheckedItem[] {
  const kept = new Map<string, CheckedItem>()
  for (const value of items) {
    const fields = fieldsOf(value)
    const original = fields?.[row.by]
    if (!fields || typeof original !== 'string') {
      quarantined.set('', `an item without a text "${row.by}"`)
      continue
    }
    if (kept.has(original)) {
      quarantined.set(original, 'it is listed twice; the first one is shown')
      continue
    }
    const checked = row.method === 'tools/list' ? checkTool(fields) : checkItem(fields)
    if ('fault' in checked) quarantined.set(original, checked.fault)
    else kept.set(original, { original, item: named(checked.item, row, original) })
  }
  return [...kept.values()]
}

function named(item: Fields, row: ListRow, original: string): Fields {
  return row.needsName === true && typeof item['name'] !== 'string' ? { ...item, name: original } : item
}

async function exposeAll(
  server: string,
  row: ListRow,
  items: readonly CheckedItem[],
  view: View,
): Promise<readonly (string | undefined)[]> {
  const originals = items.map(({ original }) => original)
  if (row.by === 'taskId') return originals.map((id) => exposeId(server, id))
  if (row.by !== 'name') return originals.map((uri) => exposeUri(server, uri))
  return originals.length === 0 ? [] : view.namesFor(server, row.method === 'tools/list' ? 'tool' : 'prompt', originals)
}
