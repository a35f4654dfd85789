/** What the clients of all aggregate endpoints of a proxy may take of time and memory. Times in milliseconds. */
export interface AggregateLimits {
  sessionsPerOwner: number
  sessions: number
  /** Unused for that long, a session ends. */
  idleMs: number
  keepAliveMs: number
  /** Requests without an answer. */
  requestsPerOwner: number
  requests: number
  /** Streams of `subscriptions/listen`. */
  listensPerOwner: number
  /** Servers shown at one URL. */
  members: number
  /** How long a list waits for a server. */
  listMs: number
  /** How long a server may take to answer after the list went without it. */
  lateMs: number
  /** How long a server may take to open a session. */
  openMs: number
  /** How long a call may be silent. */
  silenceMs: number
  /** Pages, items and bytes of one list of one server: reading 2 MB of a hostile one takes a third of a second of everybody. */
  pages: number
  items: number
  listBytes: number
  /** Items and bytes of one page that a client is given. */
  pageItems: number
  pageBytes: number
  cursorMs: number
  /** Lists being read from servers at a time. */
  readingLists: number
  readingListsPerOwner: number
  /** Lists kept for the time when their server does not answer. */
  keptLists: number
  keptBytes: number
  keptMs: number
  /** Within which several changes of a list are told as one. */
  debounceMs: number
  /** How long the acknowledgement of a `subscriptions/listen` waits for the servers. */
  acknowledgeMs: number
}

export const AGGREGATE_LIMITS: AggregateLimits = {
  sessionsPerOwner: 64,
  sessions: 20_000,
  idleMs: 5 * 60_000,
  keepAliveMs: 15_000,
  requestsPerOwner: 1000,
  requests: 20_000,
  listensPerOwner: 64,
  members: 500,
  listMs: 3000,
  lateMs: 30_000,
  openMs: 60_000,
  silenceMs: 15 * 60_000,
  pages: 50,
  items: 5000,
  listBytes: 2 * 1024 * 1024,
  pageItems: 1000,
  pageBytes: 8 * 1024 * 1024,
  cursorMs: 60 * 60_000,
  readingLists: 2000,
  readingListsPerOwner: 500,
  keptLists: 5000,
  keptBytes: 32 * 1024 * 1024,
  keptMs: 10 * 60_000,
  debounceMs: 250,
  acknowledgeMs: 2000,
}
