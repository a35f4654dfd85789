import { emitEvents, searchEvents } from '../api/audit.ts'
import type { InputOf } from '../api/route.ts'
import type { ApiClient } from './call.ts'

export type EventFilter = Omit<InputOf<typeof searchEvents>, 'limit' | 'after'>

const PAGE = 500

/** One page of chained events as their exact lines; `next` continues behind it. */
export const fetchEvents = (api: ApiClient, input: InputOf<typeof searchEvents>): Promise<{ lines: string[]; next: number | null }> =>
  api(searchEvents, input)

/** All events that match, page by page: at most `limit`, and only those behind the number `after` of the chain, where one is given. */
export async function* fetchAllEvents(
  api: ApiClient,
  filter: EventFilter,
  { limit = Infinity, after: start }: { limit?: number; after?: number } = {},
): AsyncGenerator<string> {
  let after = start
  for (let left = limit; left > 0;) {
    const page = await fetchEvents(api, { ...filter, limit: Math.min(PAGE, left), after })
    yield* page.lines
    left -= page.lines.length
    // A page may be empty and still have a next one: behind it there was nothing among the events that were looked at.
    if (page.next === null || page.next === after) return
    after = page.next
  }
}

/** Has events of a service stored; those that are there already (by `uid`) change nothing. 1000 at most. */
export async function saveEvents(api: ApiClient, events: InputOf<typeof emitEvents>['events']): Promise<void> {
  await api(emitEvents, { events })
}
