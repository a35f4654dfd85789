import type { ApiClient } from '../../client/call.ts'
import { findSession, keepSession, takeSession } from '../../client/mcp-sessions.ts'
import type { Timers } from '../../lib/timers.ts'
import type { SessionShelf } from '../../mcp/aggregate/session-shelf.ts'
import { answeredSoon } from './deadline.ts'

/** The shelf that the Auth Service keeps. @param onKept as in `SessionShelf`. */
export function createSessionShelf(api: ApiClient, onKept: SessionShelf['onKept'], timers: Timers): SessionShelf {
  return {
    find: (name) => answeredSoon(timers, findSession(api, name)),
    keep: (kept) => answeredSoon(timers, keepSession(api, kept)),
    take: (name) => answeredSoon(timers, takeSession(api, name)),
    onKept,
  }
}
