import { AppError } from '../../lib/errors.ts'
import type { SseEvent } from '../../lib/sse.ts'
import { type Fields, fieldsOf } from '../message.ts'
import { findMethod } from '../methods.ts'
import type { Outgoing, Reply } from './upstream.ts'

/** What a client has told a server, as far as a new session needs it. */
export interface Memory {
  /** What `initialize` was answered; undefined before it was. */
  readonly agreed: Agreed | undefined
  /** The client's `initialize`; undefined before it was answered. */
  readonly initialize: Outgoing | undefined
  /** Remembers what the server has taken. The reply is passed on as it is, possibly in a wrapping that reads it. */
  remember(message: Outgoing, reply: Reply): Reply
  /** What follows `initialize` in a new session: `initialized`, the logging level, the subscriptions. */
  afterInitialize(): Outgoing[]
}

/** The terms of a session, in a form that compares as text. */
export interface Agreed {
  capabilities: string
  revision: string
  /** Methods of the notifications that the capabilities declare for changed lists. */
  changes: readonly string[]
}

const MAX_SUBSCRIPTIONS = 1000
/** Of all subscriptions, and of `initialize`: a client may send far more than is worth keeping, and a session is kept for long. */
const MAX_SUBSCRIPTION_BYTES = 1024 * 1024
const MAX_INITIALIZE_BYTES = 256 * 1024
/** Of the other two. */
const MAX_KEPT_BYTES = 16 * 1024
const INITIALIZED = Buffer.from('{"jsonrpc":"2.0","method":"notifications/initialized"}')

export function createMemory(): Memory {
  const subscriptions = new Map<string, Outgoing>()
  let subscribedBytes = 0
  let initialize: Outgoing | undefined
  let initialized: Outgoing | undefined
  let level: Outgoing | undefined
  let agreed: Agreed | undefined

  const learn = (message: Outgoing, text: Buffer | string): void => {
    const found = message.bytes.length <= MAX_INITIALIZE_BYTES ? readAgreed(text) : undefined
    if (!found) return
    agreed = found
    initialize = message
  }
  const unsubscribe = (uri: string): void => {
    subscribedBytes -= subscriptions.get(uri)?.bytes.length ?? 0
    subscriptions.delete(uri)
  }
  const subscribe = (message: Outgoing): void => {
    const uri = uriOf(message)
    unsubscribe(uri)
    const { length } = message.bytes
    if (subscriptions.size >= MAX_SUBSCRIPTIONS || subscribedBytes + length > MAX_SUBSCRIPTION_BYTES) return
    subscribedBytes += length
    subscriptions.set(uri, message)
  }
  async function* learning(message: Outgoing, events: AsyncIterable<SseEvent>): AsyncGenerator<SseEvent> {
    for await (const event of events) {
      if (!agreed && event.hasData) learn(message, event.data)
      yield event
    }
  }

  return {
    get agreed() {
      return agreed
    },
    get initialize() {
      return initialize
    },
    remember(message, reply) {
      if (!REMEMBERED.has(message.method ?? '') || reply.kind === 'refused') return reply
      // The bytes may be part of a larger buffer.
      const kept = { ...message, bytes: Buffer.from(message.bytes) }
      const isLarge = kept.bytes.length > MAX_KEPT_BYTES
      if (kept.method === 'notifications/initialized') initialized = isLarge ? { ...kept, bytes: INITIALIZED } : kept
      else if (kept.method === 'logging/setLevel') level = isLarge ? undefined : kept
      else if (kept.method === 'resources/subscribe') subscribe(kept)
      else if (kept.method === 'resources/unsubscribe') unsubscribe(uriOf(kept))
      else if (kept.method === 'initialize' && reply.kind === 'message') learn(kept, reply.bytes)
      else if (kept.method === 'initialize' && reply.kind === 'events') return { ...reply, events: learning(kept, reply.events) }
      return reply
    },
    afterInitialize: () => [...(initialized ? [initialized] : []), ...(level ? [level] : []), ...subscriptions.values()],
  }
}

const REMEMBERED: ReadonlySet<string> = new Set([
  'initialize',
  'notifications/initialized',
  'logging/setLevel',
  'resources/subscribe',
  'resources/unsubscribe',
])

/** Requests that change nothing at a server, so that one whose fate is not known may be sent again. */
export function isRepeatable({ kind, method = '' }: Outgoing): boolean {
  return kind === 'request' && (findMethod(method)?.lists !== undefined || REPEATABLE.has(method))
}

const REPEATABLE: ReadonlySet<string> = new Set(['resources/read', 'prompts/get', 'completion/complete', 'ping'])

/** The terms in the response to `initialize`; undefined when it is none. */
export function readAgreed(text: Buffer | string): Agreed | undefined {
  const result = fieldsOf(fieldsOf(parse(text))?.['result'])
  const revision = result?.['protocolVersion']
  if (!result || typeof revision !== 'string') return undefined
  const capabilities = fieldsOf(result['capabilities']) ?? {}
  const changes = LISTS.filter((list) => fieldsOf(capabilities[list])?.['listChanged'] === true)
  return { capabilities: sortedText(capabilities), revision, changes: changes.map((list) => `notifications/${list}/list_changed`) }
}

const LISTS = ['tools', 'prompts', 'resources']

/**
 * The terms that a server answers `initialize` with in a new session.
 * @throws AppError unavailable (origin upstream) when it refuses.
 */
export async function readHandshake(reply: Reply): Promise<Agreed> {
  if (reply.kind === 'message') return readAgreed(reply.bytes) ?? refused()
  if (reply.kind !== 'events') return refused()
  for await (const { hasData, data } of reply.events) {
    const agreed = hasData ? readAgreed(data) : undefined
    if (agreed) return agreed
  }
  return refused()
}

function refused(): never {
  throw new AppError('unavailable', 'it does not open a new session', { origin: 'upstream' })
}

function uriOf({ bytes }: Outgoing): string {
  const params = fieldsOf(fieldsOf(parse(bytes))?.['params'])
  return JSON.stringify(params?.['uri'] ?? null)
}

/** JSON with the members of every object in one order. */
function sortedText(value: Fields): string {
  return JSON.stringify(value, (_, inner: unknown) => {
    const fields = fieldsOf(inner)
    return fields ? Object.fromEntries(Object.entries(fields).toSorted(([a], [b]) => (a < b ? -1 : 1))) : inner
  })
}

function parse(text: Buffer | string): unknown {
  try {
    return JSON.parse(text.toString())
  } catch {
    return undefined // no message: it says nothing
  }
}
