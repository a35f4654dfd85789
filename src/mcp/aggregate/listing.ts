import { AppError } from '../../lib/errors.ts'
import { renderExact } from '../../lib/json-scan.ts'
import { type Fields, fieldsOf } from '../message.ts'
import type { Sealer } from '../sealed.ts'
import type { Catalogue, Entry, Listing } from './catalogue.ts'
import type { Channel } from './channel.ts'
import { fitTool, isTooMany } from './clients.ts'
import type { AggregateLimits } from './limits.ts'
import { findList, type ListRow } from './lists.ts'
import { refused } from './routing.ts'
import { renderFound, SEARCH_CATALOGUE } from './search.ts'
import type { View } from './view.ts'

export interface ListingOptions {
  catalogue: Catalogue
  limits: AggregateLimits
  sealer: Sealer
  now: () => number
  /** Members of results of the modern revision: who we are. */
  serverInfo: Fields
}

/** Where the next page begins: in this server's list, at this item. */
interface Position {
  server: string
  at: number
}

/** Lists younger than that are taken as they are for what follows the first look: a next page, a search. */
const RECENT_MS = 60_000
/** Our own key, for people and clients that show more than they must. */
const UNAVAILABLE = 'sallyport.dev/unavailable'

/**
 * One page of a list over all servers, as the JSON text of a result.
 * @throws AppError invalid_argument (-32602) for a cursor that is not ours, not the caller's, of another list, or too old.
 */
export async function renderList(row: ListRow, cursor: unknown, channel: Channel, view: View, options: ListingOptions): Promise<string> {
  if (row.method === 'tools/list' && view.discovery === 'search')
    return renderResult(row, SEARCH_CATALOGUE.map(renderExact), channel, options)
  const from = cursor === undefined ? undefined : openCursor(cursor, row, view, options)
  const listing = await options.catalogue.list(row, channel, view, from ? RECENT_MS : 0)
  if (!from && isSearched(row, channel, view, listing)) {
    return renderResult(row, SEARCH_CATALOGUE.map(renderExact), channel, options, listing)
  }
  const { texts, next } = pageOf(row, listing.entries, from, channel, options.limits)
  const sealed = next && options.sealer.seal(next, bindingOf(row, view), options.now() + options.limits.cursorMs)
  return renderResult(row, texts, channel, options, listing, sealed)
}

/** The result of a call of `search_tools`, as JSON text. */
export async function renderSearch(args: unknown, channel: Channel, view: View, options: ListingOptions): Promise<string> {
  const row = findList('tools/list')
  if (!row) throw new AppError('internal', 'there is no list of tools')
  const { entries, unavailable } = await options.catalogue.list(row, channel, view, RECENT_MS)
  return renderFound(entries, args, unavailable.length === 0)
}

function isSearched(row: ListRow, channel: Channel, view: View, { entries }: Listing): boolean {
  return row.method === 'tools/list' && view.discovery === 'auto' && isTooMany(channel.clientName, entries.length)
}

function pageOf(
  row: ListRow,
  entries: readonly Entry[],
  from: Position | undefined,
  channel: Channel,
  limits: AggregateLimits,
): { texts: string[]; next: Position | undefined } {
  const texts: string[] = []
  let size = 0
  let server = ''
  let at = 0
  for (const entry of entries) {
    at = entry.server === server ? at + 1 : 0
    server = entry.server
    if (from && (server < from.server || (server === from.server && at < from.at))) continue
    const text = renderExact(row.method === 'tools/list' ? fitTool(channel.clientName, entry.item) : entry.item)
    size += Buffer.byteLength(text)
    if (texts.length >= limits.pageItems || (texts.length > 0 && size > limits.pageBytes)) return { texts, next: { server, at } }
    texts.push(text)
  }
  return { texts, next: undefined }
}

function renderResult(
  row: ListRow,
  texts: readonly string[],
  channel: Channel,
  { serverInfo }: ListingOptions,
  listing?: Listing,
  cursor?: string,
): string {
  const unavailable = listing && listing.unavailable.length > 0 ? { [UNAVAILABLE]: listing.unavailable.map(shorten) } : {}
  const isModern = channel.era === 'modern'
  const meta = { ...unavailable, ...(isModern && { 'io.modelcontextprotocol/serverInfo': serverInfo }) }
  const rest = {
    ...(cursor !== undefined && { nextCursor: cursor }),
    ...(isModern && { resultType: 'complete', ttlMs: listing?.ttlMs ?? 0, cacheScope: 'private' }),
    ...(Object.keys(meta).length > 0 && { _meta: meta }),
  }
  const members = Object.entries(rest).map(([name, value]) => `,${JSON.stringify(name)}:${JSON.stringify(value)}`)
  return `{"${row.in}":[${texts.join(',')}]${members.join('')}}`
}

function shorten({ server, reason }: { server: string; reason: string }): { server: string; reason: string } {
  return { server, reason: reason.slice(0, 300) }
}

function openCursor(cursor: unknown, row: ListRow, view: View, { sealer, now }: ListingOptions): Position {
  const opened = typeof cursor === 'string' ? openSealed(cursor, bindingOf(row, view), sealer, now()) : undefined
  const fields = fieldsOf(opened)
  const { server, at } = fields ?? {}
  if (typeof server !== 'string' || typeof at !== 'number') throw refused('the cursor is not valid any more: list from the beginning')
  return { server, at }
}

function openSealed(text: string, binding: string, sealer: Sealer, now: number): unknown {
  try {
    return sealer.open(text, binding, now)
  } catch (thrown) {
    if (thrown instanceof AppError) return undefined
    throw thrown
  }
}

function bindingOf(row: ListRow, view: View): string {
  return JSON.stringify(['cursor', view.owner, row.method])
}
