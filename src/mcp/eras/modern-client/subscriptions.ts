import { AppError } from '../../../lib/errors.ts'
import type { Logger } from '../../../lib/log.ts'
import type { SseEvent } from '../../../lib/sse.ts'
import type { Fields } from '../../message.ts'
import { sizeOfEvent } from '../../upstream/in-flight.ts'
import { createQueue } from '../../upstream/queue.ts'
import type { Reply } from '../../upstream/upstream.ts'
import { META } from '../bridge.ts'
import { eventOf, objectOf, renderAnswer, withMeta } from '../compose.ts'
import type { Declared } from './capabilities.ts'
import type { LegacySession } from './legacy-session.ts'
import type { ModernRequest } from './modern-request.ts'
import type { Sessions, Taken } from './sessions.ts'

/** `subscriptions/listen` over the subscriptions and the other stream of a legacy session (2026-07-28, subscriptions). */
export interface Subscriptions {
  /** Events until `signal` fires or the legacy session ends. @throws AppError invalid_argument, resource_exhausted, or of the upstream. */
  listen(request: ModernRequest, declared: Declared, signal: AbortSignal): Promise<Reply>
}

interface Filter {
  toolsListChanged?: true
  promptsListChanged?: true
  resourcesListChanged?: true
  resourceSubscriptions?: string[]
}

const MAX_LISTENS = 32
const MAX_URIS = 200
/** Of the URIs of one request together, which are kept as long as it is open. */
const MAX_URI_CHARS = 256 * 1024
const MAX_WAITING_BYTES = 1024 * 1024
const SHORT_MS = 60_000
const LISTS = { toolsListChanged: 'tools', promptsListChanged: 'prompts', resourcesListChanged: 'resources' } as const

export function createSubscriptions(sessions: Sessions, server: string, log: Logger): Subscriptions {
  const interest = createInterest(server, log)
  let open = 0

  return {
    async listen(request, declared, signal) {
      const asked = readFilter(request.params)
      if (open >= MAX_LISTENS) throw new AppError('resource_exhausted', `${MAX_LISTENS} subscriptions are open already: close some first`)
      open++
      try {
        const taken = await sessions.pin({ declared, clientInfo: request.clientInfo })
        return follow(request, asked, taken, interest, signal, () => open--)
      } catch (error) {
        open--
        throw error
      }
    },
  }
}

function follow(
  request: ModernRequest,
  asked: Filter,
  { session, release }: Taken,
  interest: Interest,
  signal: AbortSignal,
  onOver: () => void,
): Reply {
  const mark = { [META.subscription]: JSON.rawJSON(request.id) }
  const honoured = honour(asked, session.facts.capabilities)
  const uris = honoured.resourceSubscriptions ?? []
  let isOver = false

  const over = (): void => {
    if (isOver) return
    isOver = true
    signal.removeEventListener('abort', onAbort)
    session.gone.removeEventListener('abort', onGone)
    stop()
    for (const uri of uris) interest.remove(session, uri)
    release()
    onOver()
  }
  const onAbort = (): void => {
    over()
    events.fail(new AppError('cancelled', 'the subscription was cancelled'), true)
  }
  const onGone = (): void => {
    over()
    events.push(eventOf(renderAnswer(request.id, { result: { resultType: 'complete', _meta: mark } })))
    events.end()
  }
  const events = createQueue<SseEvent>({ sizeOf: sizeOfEvent, onAbandon: over })
  const tell = (method: unknown, params: Fields): void => events.push(eventOf({ jsonrpc: '2.0', method, params: withMeta(params, mark) }))
  const stop = session.onChange((message) => {
    if (!isOf(message, honoured)) return
    // Each says that something changed: one that waits says as much as a thousand.
    if (events.bytes() < MAX_WAITING_BYTES) tell(message['method'], objectOf(message['params']) ?? {})
  })

  tell('notifications/subscriptions/acknowledged', { notifications: honoured })
  for (const uri of uris) interest.add(session, uri)
  if (signal.aborted) onAbort()
  else signal.addEventListener('abort', onAbort, { once: true })
  if (session.gone.aborted) onGone()
  else if (!isOver) session.gone.addEventListener('abort', onGone, { once: true })
  return { kind: 'events', events }
}

function readFilter(params: Fields): Filter {
  const wanted = objectOf(params['notifications'])
  if (!wanted) throw invalid('params.notifications must be an object')
  const uris = wanted['resourceSubscriptions'] ?? []
  if (!Array.isArray(uris) || uris.length > MAX_URIS || !uris.every((uri) => typeof uri === 'string'))
    throw invalid(`params.notifications.resourceSubscriptions must be a list of at most ${MAX_URIS} URIs`)
  const unique = [...new Set(uris.map(String))]
  if (unique.reduce((sum, { length }) => sum + length, 0) > MAX_URI_CHARS)
    throw invalid(`the URIs of params.notifications.resourceSubscriptions may have at most ${MAX_URI_CHARS} characters together`)
  return {
    ...(wanted['toolsListChanged'] === true && { toolsListChanged: true }),
    ...(wanted['promptsListChanged'] === true && { promptsListChanged: true }),
    ...(wanted['resourcesListChanged'] === true && { resourcesListChanged: true }),
    ...(unique.length > 0 && { resourceSubscriptions: unique }),
  }
}

/** What of it this server does. */
function honour({ resourceSubscriptions, ...lists }: Filter, capabilities: Fields): Filter {
  const canTell = (what: string): boolean => objectOf(capabilities[what])?.['listChanged'] === true
  const canSubscribe = objectOf(capabilities['resources'])?.['subscribe'] === true
  return {
    ...(lists.toolsListChanged && canTell(LISTS.toolsListChanged) && { toolsListChanged: true }),
    ...(lists.promptsListChanged && canTell(LISTS.promptsListChanged) && { promptsListChanged: true }),
    ...(lists.resourcesListChanged && canTell(LISTS.resourcesListChanged) && { resourcesListChanged: true }),
    ...(resourceSubscriptions && canSubscribe && { resourceSubscriptions }),
  }
}

/** An update may be of a part of what was subscribed to (2025-11-25, resources, subscriptions). */
function isOf({ method, params }: Fields, honoured: Filter): boolean {
  switch (method) {
    case 'notifications/tools/list_changed':
      return honoured.toolsListChanged === true
    case 'notifications/prompts/list_changed':
      return honoured.promptsListChanged === true
    case 'notifications/resources/list_changed':
      return honoured.resourcesListChanged === true
    default: {
      const uri = objectOf(params)?.['uri']
      return typeof uri === 'string' && (honoured.resourceSubscriptions ?? []).some((own) => uri === own || uri.startsWith(`${own}/`))
    }
  }
}

/** Who is interested in what, so that a server is told only of the first and the last. */
interface Interest {
  add(session: LegacySession, uri: string): void
  remove(session: LegacySession, uri: string): void
}

function createInterest(server: string, log: Logger): Interest {
  const followers = new WeakMap<LegacySession, ReturnType<typeof createFollower>>()
  const followerOf = (session: LegacySession): ReturnType<typeof createFollower> => {
    const known = followers.get(session) ?? createFollower(session, server, log)
    followers.set(session, known)
    return known
  }
  return {
    add: (session, uri) => followerOf(session).count(uri, 1),
    remove: (session, uri) => followerOf(session).count(uri, -1),
  }
}

/** Tells one session what is wanted, one thing after the other. What came and went before its turn is never told: a slow server is owed no more. */
function createFollower(session: LegacySession, server: string, log: Logger) {
  const counts = new Map<string, number>()
  /** What the server believes to be wanted. */
  const told = new Set<string>()
  /** What it has to be told of, oldest first. */
  const due = new Set<string>()
  let isTelling = false

  const tell = async (uri: string): Promise<void> => {
    const isWanted = counts.has(uri)
    const method = isWanted ? 'resources/subscribe' : 'resources/unsubscribe'
    if (isWanted) told.add(uri)
    else told.delete(uri)
    try {
      const exchange = { method, params: { uri }, wantsProgress: false, logLevel: undefined }
      const outcome = await session.exchange(exchange, AbortSignal.timeout(SHORT_MS))
      const error = outcome.kind === 'lost' ? outcome.error : outcome.message['error']
      if (error !== undefined) log.debug('an MCP server did not take a subscription', { server, method, uri, error })
    } catch (error) {
      log.debug('an MCP server could not be told of a subscription', { server, method, uri, error })
    }
  }
  const tellAll = async (): Promise<void> => {
    isTelling = true
    for (let [uri] = due; uri !== undefined; [uri] = due) {
      due.delete(uri)
      await tell(uri)
    }
    isTelling = false
  }

  return {
    count(uri: string, step: 1 | -1): void {
      const next = (counts.get(uri) ?? 0) + step
      if (next > 0) counts.set(uri, next)
      else counts.delete(uri)
      if (counts.has(uri) === told.has(uri)) due.delete(uri)
      else due.add(uri)
      if (!isTelling) void tellAll()
    },
  }
}

function invalid(message: string): AppError {
  return new AppError('invalid_argument', message, { details: { rpc: -32602, http: 200 } })
}
