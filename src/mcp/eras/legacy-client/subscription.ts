import { AppError, toAppError } from '../../../lib/errors.ts'
import type { Logger } from '../../../lib/log.ts'
import type { SseEvent } from '../../../lib/sse.ts'
import type { Fields } from '../../message.ts'
import { createListenerSlot } from '../../upstream/listener.ts'
import { META } from '../bridge.ts'
import { eventOf, numberOf, objectOf, type Said, saidIn, withMeta } from '../compose.ts'
import type { Posted } from './call.ts'
import type { LegacyClientLimits } from './limits.ts'
import type { Tasks } from './tasks.ts'

export interface SubscriptionDeps {
  server: string
  /** Capabilities of the server. */
  offered: Fields
  post(method: string, params: Fields, signal: AbortSignal): Promise<Posted>
  limits: LegacyClientLimits
  now: () => number
  log: Logger
  /** Absent where there are none. */
  tasks?: Pick<Tasks, 'running' | 'told'> | undefined
}

/** Everything a legacy client wants to be told of, as one `subscriptions/listen` at a modern server (2026-07-28, subscriptions). */
export interface Subscription {
  /** The stream for messages that belong to no request; a new one takes over. Changes of lists are wanted as long as it is open. */
  listen(signal: AbortSignal): AsyncIterable<SseEvent>
  /** @throws AppError when the server does not take it. */
  subscribe(uri: string): Promise<void>
  unsubscribe(uri: string): Promise<void>
  /** Other tasks run than before. */
  tasksChanged(): void
  close(): void
}

const LISTS = { toolsListChanged: 'tools', promptsListChanged: 'prompts', resourcesListChanged: 'resources' } as const
const TOLD = new Set([
  'notifications/tools/list_changed',
  'notifications/prompts/list_changed',
  'notifications/resources/list_changed',
  'notifications/resources/updated',
])
const ACKNOWLEDGED = 'notifications/subscriptions/acknowledged'
const METHOD_NOT_FOUND = -32601
const MAX_QUEUED = 16 * 1024 * 1024

export function createSubscription(deps: SubscriptionDeps): Subscription {
  const { server, offered, limits, log } = deps
  const uris = new Set<string>()
  const slot = createListenerSlot({ maxQueuedBytes: MAX_QUEUED, onDrop: (why) => log.debug('dropped a notification', { server, why }) })
  let listeners = 0
  const stream = keepStream(deps, {
    wanted: () => wanted(offered, listeners > 0, uris, deps.tasks),
    deliver(message) {
      const line = eventOf(message).data
      if (!slot.deliver(line)) slot.store(line)
    },
  })
  return {
    listen(signal) {
      listeners += 1
      const onAbort = (): void => {
        listeners -= 1
        stream.updateBehind()
      }
      signal.addEventListener('abort', onAbort, { once: true })
      stream.updateBehind()
      return slot.open(signal)
    },
    async subscribe(uri) {
      if (!uris.has(uri)) assertRoomFor(uri, uris, limits)
      uris.add(uri)
      try {
        await stream.update()
        if (!stream.honours(uri)) throw notHonoured(server)
      } catch (thrown) {
        uris.delete(uri)
        throw thrown
      }
    },
    async unsubscribe(uri) {
      if (uris.delete(uri)) stream.updateBehind()
    },
    tasksChanged() {
      if (listeners > 0) stream.updateBehind()
    },
    close() {
      stream.close()
      slot.end()
    },
  }
}

/** All of them go up again with every change. */
function assertRoomFor(uri: string, uris: ReadonlySet<string>, { maxSubscribed, maxSubscribedChars }: LegacyClientLimits): void {
  const chars = uris.values().reduce((sum, { length }) => sum + length, uri.length)
  if (uris.size < maxSubscribed && chars <= maxSubscribedChars) return
  throw new AppError(
    'resource_exhausted',
    `an MCP session may subscribe to ${maxSubscribed} resources, whose URIs are ${maxSubscribedChars} characters together: unsubscribe from some`,
  )
}

interface Wish {
  /** What the client wants to be told of now; empty for nothing. */
  wanted: () => Fields
  deliver: (message: Fields) => void
}

interface KeptStream {
  /** Resolves when what is wanted is what the server acknowledged. */
  update(): Promise<void>
  /** The same without anybody who waits for it: tried again when it fails. */
  updateBehind(): void
  honours(uri: string): boolean
  close(): void
}

/** Keeps one stream open for as long as anything is wanted. */
function keepStream(deps: SubscriptionDeps, { wanted: wish, deliver }: Wish): KeptStream {
  const { server, limits, now, log } = deps
  const ending = new AbortController()
  let current: Stream | undefined
  let turn: Promise<unknown> = Promise.resolve()
  let pauseMs = limits.retryMs.first
  let isRetrying = false

  const again = (error: AppError): void => {
    log.debug('a subscription ended', { server, error: error.message })
    if (ending.signal.aborted || isRetrying || error.details?.['rpc'] === METHOD_NOT_FOUND) return
    isRetrying = true
    const pause = pauseMs
    pauseMs = Math.min(pauseMs * 2, limits.retryMs.longest)
    limits
      .wait(pause, ending.signal)
      .then(() => {
        isRetrying = false
        updateBehind()
      })
      // Only the end of the session wakes it before its time.
      .catch(() => (isRetrying = false))
  }
  /** The old one goes only when the new one is there, so that nothing is missed. */
  const replace = (stream: Stream | undefined): void => {
    const old = current
    current = stream
    old?.stop()
  }
  const apply = async (): Promise<void> => {
    const filter = wish()
    const text = JSON.stringify(filter)
    if (current?.filter === text || ending.signal.aborted) return
    if (text === '{}') return replace(undefined)
    const stream = await openStream(filter, text, deps, { deliver, signal: ending.signal })
    replace(stream)
    const since = now()
    void stream.over.then((error) => {
      if (current !== stream) return
      current = undefined
      if (now() - since >= limits.retryMs.longest) pauseMs = limits.retryMs.first
      again(error)
    })
  }
  /** One after the other: each takes in everything that is wanted by then. */
  const update = (): Promise<void> => {
    const mine = turn.then(apply)
    turn = mine.catch(() => undefined)
    return mine
  }
  const updateBehind = (): void => void update().catch((thrown: unknown) => again(toAppError(thrown)))
  return {
    update,
    updateBehind,
    honours: (uri) => current?.honoured.has(uri) ?? false,
    close() {
      ending.abort()
      replace(undefined)
    },
  }
}

function wanted(offered: Fields, isListening: boolean, uris: ReadonlySet<string>, tasks: SubscriptionDeps['tasks']): Fields {
  const lists = Object.entries(LISTS).filter(([, part]) => isListening && objectOf(offered[part])?.['listChanged'] === true)
  const taskIds = isListening && tasks ? tasks.running() : []
  return {
    ...Object.fromEntries(lists.map(([name]) => [name, true])),
    ...(uris.size > 0 && { resourceSubscriptions: [...uris] }),
    ...(taskIds.length > 0 && { taskIds }),
  }
}

interface Stream {
  /** Canonical text of what was asked for. */
  filter: string
  honoured: ReadonlySet<string>
  /** Settles with the reason when it ended by itself. */
  over: Promise<AppError>
  stop(): void
}

/** Opens a stream and waits until the server acknowledges it, which it does before anything else. */
async function openStream(
  filter: Fields,
  text: string,
  { server, post, limits, tasks }: SubscriptionDeps,
  { deliver, signal }: { deliver: (message: Fields) => void; signal: AbortSignal },
): Promise<Stream> {
  const stopping = new AbortController()
  const stop = (): void => stopping.abort()
  const release = (): void => signal.removeEventListener('abort', stop)
  signal.addEventListener('abort', stop, { once: true })
  const timer = setTimeout(stop, limits.acknowledgeMs)
  try {
    const { reply } = await post('subscriptions/listen', { notifications: filter }, stopping.signal)
    const said = saidIn(reply, server)
    const honoured = await acknowledged(said, server)
    const over = pump(said, server, tasks, deliver).finally(() => {
      release()
      stop()
    })
    return { filter: text, honoured, over, stop }
  } catch (thrown) {
    release()
    stop()
    throw thrown
  } finally {
    clearTimeout(timer)
  }
}

async function acknowledged(said: AsyncGenerator<Said, void>, server: string): Promise<ReadonlySet<string>> {
  for (;;) {
    const next = await said.next()
    if (next.done) throw ended(server)
    const { message } = next.value
    if (message['method'] === ACKNOWLEDGED) {
      const uris = objectOf(objectOf(message['params'])?.['notifications'])?.['resourceSubscriptions']
      return new Set(Array.isArray(uris) ? uris.filter((uri) => typeof uri === 'string') : [])
    }
    const error = objectOf(message['error'])
    if (error) throw refused(error, server)
    if (message['result'] !== undefined) throw ended(server)
  }
}

/** Tells the client what comes, until the stream ends; resolves with why it did. */
async function pump(
  said: AsyncGenerator<Said, void>,
  server: string,
  tasks: SubscriptionDeps['tasks'],
  deliver: (message: Fields) => void,
): Promise<AppError> {
  try {
    for await (const { message } of said) {
      const { method } = message
      if (typeof method === 'string' && TOLD.has(method) && message['id'] === undefined) deliver(withoutSubscription(message))
      else if (method === 'notifications/tasks') {
        const params = tasks?.told(objectOf(message['params']) ?? {})
        if (params) deliver({ jsonrpc: '2.0', method: 'notifications/tasks/status', params })
      } else if (method === undefined) break
    }
    return ended(server)
  } catch (thrown) {
    return toAppError(thrown)
  }
}

function withoutSubscription(message: Fields): Fields {
  const params = objectOf(message['params'])
  return params ? { ...message, params: withMeta(params, { [META.subscription]: undefined }) } : message
}

function refused(error: Fields, server: string): AppError {
  const code = numberOf(error['code'])
  const words = typeof error['message'] === 'string' ? `: ${error['message'].slice(0, 300)}` : ''
  return new AppError('unavailable', `MCP server "${server}" refused the subscription${words}`, {
    origin: 'upstream',
    ...(code !== undefined && { details: { rpc: code } }),
  })
}

function notHonoured(server: string): AppError {
  return new AppError('invalid_argument', `MCP server "${server}" does not tell of changes of this resource`, { origin: 'upstream' })
}

function ended(server: string): AppError {
  return new AppError('unavailable', `MCP server "${server}" ended the subscription`, { origin: 'upstream' })
}
