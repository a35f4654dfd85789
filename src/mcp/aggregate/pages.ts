import { AppError } from '../../lib/errors.ts'
import { ask, type Channel, METHOD_NOT_FOUND } from './channel.ts'
import type { AggregateLimits } from './limits.ts'
import type { ListRow } from './lists.ts'
import type { Member } from './view.ts'

/** All pages of one list of one server. */
export interface Pages {
  items: readonly unknown[]
  /** The least of all pages in milliseconds; 0 when one does not say. */
  ttlMs: number
  bytes: number
  /** Why there may be more than was read. */
  problem: string | undefined
  /** The server said that it knows no such method. */
  isUnknown: boolean
}

/** A server without such a list may come to have one: a client looks again after as long as we would. */
const NONE_MS = 60_000

/**
 * Reads a list to its end, or to the limits: a server may go on for ever. A server without such a list has an empty one.
 * @throws AppError when a page cannot be had.
 */
export async function readPages(
  channel: Channel,
  member: Member,
  row: ListRow,
  signal: AbortSignal,
  limits: AggregateLimits,
): Promise<Pages> {
  const pages = { items: new Array<unknown>(), ttlMs: Number.POSITIVE_INFINITY, bytes: 0, isUnknown: false, problem: undefined }
  if (await channel.lacks(member, row.capability, signal)) return { ...pages, ttlMs: NONE_MS }
  const seen = new Set<string>()
  let cursor: string | undefined
  for (let page = 0; page < limits.pages; page++) {
    const maxBytes = limits.listBytes - pages.bytes
    const answer = await ask(channel, member, row.method, cursor === undefined ? {} : { cursor }, { signal, maxBytes }).catch(orEmpty)
    if (answer === 'none') return { ...pages, ttlMs: Math.min(pages.ttlMs, NONE_MS), isUnknown: page === 0 }
    if (answer === 'too large')
      return { ...pages, problem: `${row.method} has more than ${limits.listBytes} bytes: what is beyond is not shown` }
    const { result, bytes } = answer
    const items: unknown = result[row.in]
    if (!Array.isArray(items))
      throw new AppError('unavailable', `${row.method} was answered without a list "${row.in}"`, { origin: 'upstream' })
    const room = limits.items - pages.items.length
    for (const item of items.slice(0, room)) pages.items.push(item)
    pages.bytes += bytes
    pages.ttlMs = Math.min(pages.ttlMs, readTtl(result['ttlMs']))
    if (items.length > room) return { ...pages, problem: `${row.method} has more than ${limits.items} items: what is beyond is not shown` }
    const next = result['nextCursor']
    if (typeof next !== 'string') return pages
    if (seen.has(next)) return { ...pages, problem: `${row.method} gives a cursor twice: what may follow is not shown` }
    seen.add(next)
    cursor = next
  }
  return { ...pages, problem: `${row.method} has more than ${limits.pages} pages: what is beyond is not shown` }
}

function orEmpty(thrown: unknown): 'none' | 'too large' {
  if (thrown instanceof AppError && thrown.details?.['rpc'] === METHOD_NOT_FOUND) return 'none'
  if (thrown instanceof AppError && thrown.code === 'resource_exhausted') return 'too large'
  throw thrown
}

function readTtl(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : 0
}
