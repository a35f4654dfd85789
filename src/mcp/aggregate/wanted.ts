import { type Fields, fieldsOf } from '../message.ts'
import { LIST_KINDS, type ListKind } from '../list-kinds.ts'
import { refused } from './routing.ts'
import { findId, findUri, type Placed } from './uris.ts'

/** What a client wants to hear of. */
export interface Wanted {
  kinds: ReadonlySet<ListKind>
  /** URIs and ids of tasks by server, as each calls them. */
  uris: ReadonlyMap<string, readonly string[]>
  tasks: ReadonlyMap<string, readonly string[]>
}

const MAX_NAMED = 1000

/** The member of `notifications` that asks for changes of a kind of list. */
const FLAGS: Readonly<Record<ListKind, string>> = {
  tools: 'toolsListChanged',
  prompts: 'promptsListChanged',
  resources: 'resourcesListChanged',
}

/** The filter of `subscriptions/listen` (2026-07-28, Subscriptions). @throws AppError invalid_argument when there is none. */
export function readWanted(params: Fields): Wanted {
  const filter = fieldsOf(params['notifications'])
  if (!filter) throw refused('subscriptions/listen needs "notifications"')
  return {
    kinds: new Set(LIST_KINDS.filter((kind) => filter[FLAGS[kind]] === true)),
    uris: byServer(filter['resourceSubscriptions'], findUri),
    tasks: byServer(filter['taskIds'], findId),
  }
}

/** What is named of each server; what names none here is not promised. */
function byServer(named: unknown, find: (exposed: string) => Placed | undefined): Map<string, string[]> {
  const found = new Map<string, string[]>()
  if (!Array.isArray(named)) return found
  if (named.length > MAX_NAMED) throw refused(`a subscription may name ${MAX_NAMED} things`)
  for (const exposed of named) {
    const placed = typeof exposed === 'string' ? find(exposed) : undefined
    if (placed) found.set(placed.server, [...(found.get(placed.server) ?? []), placed.original])
  }
  return found
}

/** A filter in the form of the protocol. */
export function filterOf(kinds: ReadonlySet<ListKind>, uris: readonly string[], tasks: readonly string[]): Fields {
  return {
    ...Object.fromEntries(LIST_KINDS.filter((kind) => kinds.has(kind)).map((kind) => [FLAGS[kind], true])),
    ...(uris.length > 0 && { resourceSubscriptions: uris }),
    ...(tasks.length > 0 && { taskIds: tasks }),
  }
}
