import { AppError } from '../../../lib/errors.ts'
import type { StopSignal } from '../../../lib/stopping.ts'
import { idKey, keyOfRaw } from '../../request-ids.ts'
import type { Fields } from '../../message.ts'
import type { Outgoing, Reply, UpstreamSession } from '../../upstream/upstream.ts'
import type { BridgeDeps } from '../bridge.ts'
import { objectOf, paramsOf, renderAnswer, saidIn } from '../compose.ts'
import { learnMirrors } from '../mirrors.ts'
import { type CallDeps, type Posted, serveCall } from './call.ts'
import type { LegacyClient } from './client.ts'
import { type Envelope, toModern } from './envelope.ts'
import { LEGACY_CLIENT_LIMITS, type LegacyClientLimits } from './limits.ts'
import { createQuestions } from './questions.ts'
import { createSubscription, type Subscription, type SubscriptionDeps } from './subscription.ts'
import { offersTasks } from './handshake.ts'
import { createTasks, type Tasks, type TasksDeps } from './tasks.ts'

export interface LegacyClientOptions {
  /** A modern session that serves nobody else. */
  inner: UpstreamSession
  client: LegacyClient
  /** The result of `server/discover`. */
  discovered: Fields
  deps: BridgeDeps
  /** The server answered that it does not speak the modern revision. */
  onContradicted: () => void
  limits?: Partial<LegacyClientLimits>
}

type Request = Outgoing & { id: string; method: string }
type Local = (params: Fields) => Promise<Answered> | Answered
type Answered = { result: Fields } | { error: { code: number; message: string } }

const LEVELS = new Set(['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'])
/** Requests that no modern server knows in this form, or that the client was not offered. */
const NOT_OFFERED = new Set([
  'tasks/get',
  'tasks/result',
  'tasks/list',
  'tasks/cancel',
  'tasks/update',
  'server/discover',
  'subscriptions/listen',
])
const MAX_PAGES = 20

/** A session that speaks a legacy revision, from its second message on, with a server that speaks the modern one only. */
export function openForLegacyClient(options: LegacyClientOptions): UpstreamSession {
  const { inner, client, discovered, deps, onContradicted } = options
  const { server, log } = deps
  const limits = { ...LEGACY_CLIENT_LIMITS, ...options.limits }
  const capabilities = objectOf(discovered['capabilities']) ?? {}
  const hasTasks = offersTasks(discovered, client)
  const envelope: Envelope = { client, logLevel: undefined, mirrors: new Map(), offersTasks: hasTasks }
  const running = new Map<string, AbortController>()
  const questions = createQuestions()
  const post = createPost(inner, envelope)
  const makeId = (): string => deps.random(12).toString('base64url')
  const common = { server, client, questions, limits, makeId, post, now: deps.now, log }
  const { subscription, tasks } = createFollowing(common, capabilities, hasTasks)
  const onTools = (tools: unknown): void => learnMirrors(envelope.mirrors, tools)
  const calls: CallDeps = {
    ...common,
    tasks,
    refreshMirrors: (signal) => refreshMirrors(server, onTools, (params) => post('tools/list', params, {}, signal)),
    onTools,
    onContradicted,
  }
  const locals = answeredHere(capabilities, subscription, (level) => (envelope.logLevel = level))
  const request = async (message: Request, signal: AbortSignal): Promise<Reply> => {
    const local = locals.get(message.method)
    if (local) return { kind: 'message', bytes: renderAnswer(message.id, await local(paramsOf(message))) }
    const ofTask = tasks?.serve(message, signal)
    if (ofTask) return ofTask
    if (NOT_OFFERED.has(message.method)) return { kind: 'message', bytes: renderAnswer(message.id, unknownMethod(message.method)) }
    return serveCall(message, signal, calls)
  }
  return {
    ended: inner.ended,
    externalId: inner.externalId,
    async send(message, signal) {
      if (message.kind === 'response') questions.take(message)
      if (message.method === 'notifications/cancelled') running.get(idKey(paramsOf(message)['requestId']))?.abort()
      // No notification of a legacy client means anything to a modern server (2026-07-28, schema).
      if (message.kind !== 'request') return { kind: 'accepted' }
      return cancellable(running, asRequest(message), signal, request)
    },
    async listen(_headers, signal) {
      if (signal.aborted) throw new AppError('cancelled', 'the stream was cancelled before it was opened')
      return { kind: 'events', events: subscription.listen(signal) }
    },
    async close() {
      tasks?.close()
      subscription.close()
      for (const one of running.values()) one.abort()
      await inner.close()
    },
  }
}

/** What the client is told of between its requests, and its tasks, which are among that. */
function createFollowing(
  common: Omit<TasksDeps, 'onChange'>,
  offered: Fields,
  hasTasks: boolean,
): { subscription: Subscription; tasks: Tasks | undefined } {
  const tasks = hasTasks ? createTasks({ ...common, onChange: () => subscription.tasksChanged() }) : undefined
  const post: SubscriptionDeps['post'] = (method, params, signal) => common.post(method, params, {}, signal)
  const subscription = createSubscription({ ...common, offered, post, tasks })
  return { subscription, tasks }
}

/** Sends requests under ids of the gateway's own: the client's are used up by its first round. */
function createPost(inner: UpstreamSession, envelope: Envelope): CallDeps['post'] {
  let lastId = 0
  return async (method, params, retried, signal) => {
    const id = String(++lastId)
    return { id, reply: await inner.send(toModern(id, method, params, retried, envelope), signal) }
  }
}

/** Requests of the legacy revisions that the modern one has not. */
function answeredHere(capabilities: Fields, subscription: Subscription, setLevel: (level: string) => void): ReadonlyMap<string, Local> {
  const canSubscribe = objectOf(capabilities['resources'])?.['subscribe'] === true
  return new Map<string, Local>([
    ['ping', () => ({ result: {} })],
    ['initialize', () => ({ error: { code: -32600, message: 'this session is initialized already: open another' } })],
    [
      'logging/setLevel',
      ({ level }) => {
        if (!objectOf(capabilities['logging'])) return unknownMethod('logging/setLevel')
        if (typeof level !== 'string' || !LEVELS.has(level)) return { error: { code: -32602, message: 'the log level is not known' } }
        setLevel(level)
        return { result: {} }
      },
    ],
    ['resources/subscribe', ({ uri }) => inBand(canSubscribe, uri, subscription.subscribe)],
    ['resources/unsubscribe', ({ uri }) => inBand(canSubscribe, uri, subscription.unsubscribe)],
  ])
}

/** Lets a request be broken off by its id until its reply is read to the end. */
async function cancellable(
  running: Map<string, AbortController>,
  message: Request,
  signal: StopSignal,
  serve: (message: Request, signal: AbortSignal) => Promise<Reply>,
): Promise<Reply> {
  const key = keyOfRaw(message.id)
  const own = new AbortController()
  const onAbort = (): void => own.abort()
  if (signal.aborted) onAbort()
  signal.addEventListener('abort', onAbort, { once: true })
  running.set(key, own)
  const over = (): void => {
    signal.removeEventListener('abort', onAbort)
    if (running.get(key) === own) running.delete(key)
  }
  try {
    const reply = await serve(message, own.signal)
    if (reply.kind === 'events') return { kind: 'events', events: untilOver(reply.events, over) }
    over()
    return reply
  } catch (thrown) {
    over()
    throw thrown
  }
}

async function* untilOver<T>(items: AsyncIterable<T>, over: () => void): AsyncGenerator<T, void> {
  try {
    yield* items
  } finally {
    over()
  }
}

/** Every page, as far as it goes: a server that never ends its list is believed the first pages. */
async function refreshMirrors(server: string, onTools: (tools: unknown) => void, list: (params: Fields) => Promise<Posted>): Promise<void> {
  let cursor: unknown
  for (let page = 0; page < MAX_PAGES; page++) {
    const { id, reply } = await list(cursor === undefined ? {} : { cursor })
    const result = await resultOf(reply, id, server)
    onTools(result?.['tools'])
    cursor = result?.['nextCursor']
    if (typeof cursor !== 'string') return
  }
}

async function resultOf(reply: Reply, id: string, server: string): Promise<Fields | undefined> {
  for await (const { message } of saidIn(reply, server)) {
    if (message['method'] === undefined && idKey(message['id']) === keyOfRaw(id)) return objectOf(message['result'])
  }
  return undefined
}

/** A refusal is the answer, with HTTP status 200: clients of these revisions take any other for a broken connection. */
async function inBand(isOffered: boolean, uri: unknown, act: (uri: string) => Promise<void>): Promise<Answered> {
  if (!isOffered) return { error: { code: -32601, message: 'the MCP server offers no subscriptions' } }
  if (typeof uri !== 'string') return { error: { code: -32602, message: 'params.uri must be a string' } }
  try {
    await act(uri)
    return { result: {} }
  } catch (thrown) {
    if (!(thrown instanceof AppError)) throw thrown
    return { error: { code: thrown.code === 'invalid_argument' ? -32602 : -32603, message: thrown.message } }
  }
}

function unknownMethod(method: string): Answered {
  return { error: { code: -32601, message: `${method} is not offered by this MCP server` } }
}

function asRequest(message: Outgoing): Request {
  const { id, method } = message
  if (id === undefined || method === undefined) throw new AppError('internal', 'a request needs an id and a method')
  return { ...message, id, method }
}
