import { AppError } from '../../lib/errors.ts'
import type { StopSignal } from '../../lib/stopping.ts'
import { type AsWritten, InFlight, type Owner, type SentRequest } from './in-flight.ts'
import { keyOf } from './incoming.ts'
import type { StdioLimits } from './stdio-limits.ts'
import type { Outgoing } from './upstream.ts'

/** The requests one server works on in a session, and the ids of those it may still answer although nobody waits. Ids are keys of `keyOf`. */
export interface RequestTable {
  /** @throws AppError invalid_argument for an id in use, resource_exhausted for too many requests. */
  check(message: Outgoing & { asWritten?: AsWritten }): asserts message is SentRequest
  add(message: SentRequest, signal: StopSignal): InFlight
  find(id: string): InFlight | undefined
  findByToken(progressToken: string): InFlight | undefined
  /** The one request to which its owner gave the id of this key; undefined when there are several. */
  findAsWritten(key: string, owner: Owner): InFlight | undefined
  /** The request started last, as far as it takes messages that name no request: not `initialize`, whose answer is one message, nor a subscription. */
  findLast(): InFlight | undefined
  /** Marks the id of a request as not to be used until its late response came. */
  abandon(id: string): void
  /** True when a late response with this id was expected. */
  takeLate(id: string): boolean
  failAll(error: AppError): void
  /** The requests of one owner now. */
  of(owner: Owner): InFlight[]
  readonly size: number
}

export interface RequestTableOptions {
  server: string
  limits: Pick<StdioLimits, 'requestTimeoutMs' | 'initializeTimeoutMs' | 'maxInFlight' | 'maxQueuedBytes'>
  /** Of one owner; unless given, only all together have a limit. */
  maxInFlightOfOne?: number | undefined
  /** A request was given up while the server works on it. */
  onAbandoned: (request: InFlight) => void
}

const MAX_ABANDONED = 10_000
/** Of their keys: clients choose them. */
const MAX_ABANDONED_CHARS = 1024 * 1024

export function createRequestTable({
  server,
  limits,
  maxInFlightOfOne = Number.POSITIVE_INFINITY,
  onAbandoned,
}: RequestTableOptions): RequestTable {
  const requests = new Map<string, InFlight>()
  const abandoned = createAbandoned()

  const onOver = (request: InFlight, atServer: boolean): void => {
    requests.delete(request.id)
    if (atServer) {
      abandoned.add(request.id)
      onAbandoned(request)
    }
  }
  const of = (owner: Owner | undefined): IteratorObject<InFlight> => requests.values().filter(({ asWritten }) => asWritten?.owner === owner)
  const queuedBytes = (owner: Owner | undefined): number => of(owner).reduce((sum, request) => sum + request.queuedBytes(), 0)
  const holds = (key: string): boolean => requests.has(key) || abandoned.has(key)

  return {
    abandon: abandoned.add,
    check({ id, method, asWritten }) {
      if (id === undefined || method === undefined) throw new AppError('internal', 'a request needs an id and a method')
      // A number of our own is never given twice.
      if (!asWritten && holds(keyOf(id))) throw new AppError('invalid_argument', `request id ${id} is already in use in this session`)
      const owner = asWritten?.owner
      const isMany = owner !== undefined && requests.size >= maxInFlightOfOne
      if (isMany && of(owner).reduce((count) => count + 1, 0) >= maxInFlightOfOne)
        throw new AppError('resource_exhausted', `MCP server "${server}" works on ${maxInFlightOfOne} of your requests already`)
      if (requests.size >= limits.maxInFlight)
        throw new AppError('resource_exhausted', `MCP server "${server}" works on ${limits.maxInFlight} requests of this session already`)
    },
    add(message, signal) {
      const timeoutMs = message.method === 'initialize' ? limits.initializeTimeoutMs : limits.requestTimeoutMs
      const hasRoom = (bytes: number): boolean => queuedBytes(message.asWritten?.owner) + bytes <= limits.maxQueuedBytes
      const request = new InFlight(message, signal, { timeoutMs, hasRoom, server, onOver })
      requests.set(request.id, request)
      return request
    },
    find: (id) => requests.get(id),
    findByToken: (token) => requests.values().find(({ progressToken }) => progressToken === token),
    findLast: () => [...requests.values()].findLast(({ method, isSubscription }) => method !== 'initialize' && !isSubscription),
    findAsWritten(key, owner) {
      const [first, ...others] = of(owner).filter(({ asWritten }) => asWritten !== undefined && keyOf(asWritten.id) === key)
      return others.length > 0 ? undefined : first
    },
    takeLate: abandoned.take,
    failAll(error) {
      for (const request of requests.values()) request.fail(error)
    },
    of: (owner) => [...of(owner)],
    get size() {
      return requests.size
    },
  }
}

/** Ids of requests whose answers may come late; of too many the oldest are forgotten. */
function createAbandoned() {
  const ids = new Set<string>()
  let chars = 0
  const take = (id: string): boolean => {
    const isLate = ids.delete(id)
    if (isLate) chars -= id.length
    return isLate
  }
  return {
    take,
    has: (id: string): boolean => ids.has(id),
    add(id: string): void {
      take(id)
      ids.add(id)
      chars += id.length
      for (const oldest of ids) {
        if (ids.size <= MAX_ABANDONED && chars <= MAX_ABANDONED_CHARS) break
        take(oldest)
      }
    },
  }
}
