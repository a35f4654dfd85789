import { AppError } from '../../../lib/errors.ts'
import type { SseEvent } from '../../../lib/sse.ts'
import { idKey, keyOfRaw } from '../../request-ids.ts'
import type { Fields } from '../../message.ts'
import type { Outgoing, Reply } from '../../upstream/upstream.ts'
import { eventOf, numberOf, objectOf, paramsOf, renderAnswer, saidIn } from '../compose.ts'
import { asksForTask } from '../task.ts'
import type { Retried } from './envelope.ts'
import { type Answer, failing, toLegacyError, toLegacyResult } from './results.ts'
import { askClient, readInputs, type RoundDeps } from './rounds.ts'
import type { Tasks } from './tasks.ts'

export interface CallDeps extends RoundDeps {
  /** Sends a request of the client under an id of its own. */
  post(method: string, params: Fields, retried: Retried, signal: AbortSignal): Promise<Posted>
  /** Asks for the list of tools, because the headers that repeat arguments were not what the server wants. */
  refreshMirrors(signal: AbortSignal): Promise<void>
  /** The list of tools, on its way to the client. */
  onTools(tools: unknown): void
  /** The server does not speak the modern revision after all. */
  onContradicted(): void
  /** Absent where the client or the server has none. */
  tasks: Tasks | undefined
}

/** A request on its way. `id` is raw JSON text. */
export interface Posted {
  id: string
  reply: Reply
}

/** One message for the client; the last one is the answer. */
type Told = { note: Fields } | { answer: Buffer }

/** Only these may be answered by asking for input (2026-07-28, multi round-trip requests). */
const CAN_ASK = new Set(['tools/call', 'prompts/get', 'resources/read'])
const HEADER_MISMATCH = -32020
const UNSUPPORTED_VERSION = -32022

/**
 * Takes one request of a legacy client through all its rounds at a modern server. The reply is a single message when nothing but the
 * answer is to be told, else a stream.
 */
export async function serveCall(message: Outgoing & { id: string; method: string }, signal: AbortSignal, deps: CallDeps): Promise<Reply> {
  const stopping = new AbortController()
  const onAbort = (): void => stopping.abort()
  if (signal.aborted) onAbort()
  signal.addEventListener('abort', onAbort, { once: true })
  const release = (): void => {
    signal.removeEventListener('abort', onAbort)
    stopping.abort()
  }
  try {
    const params = paramsOf(message)
    deps.tasks?.assertRoom(message.method, params)
    const posted = await deps.post(message.method, params, {}, stopping.signal)
    const told = tell(message, params, posted, stopping.signal, deps)
    // A stream of the server is one to the client at once: its head says that the call is under way.
    if (posted.reply.kind === 'events') return { kind: 'events', events: toEvents(told, undefined, release) }
    const first = await told.next()
    if (first.done) throw unanswered(deps.server)
    if ('note' in first.value) return { kind: 'events', events: toEvents(told, first.value, release) }
    await told.return()
    release()
    return { kind: 'message', bytes: first.value.answer }
  } catch (thrown) {
    release()
    throw thrown
  }
}

async function* toEvents(told: AsyncGenerator<Told, void>, first: Told | undefined, release: () => void): AsyncGenerator<SseEvent> {
  try {
    if (first) yield toEvent(first)
    for await (const one of told) yield toEvent(one)
  } finally {
    release()
  }
}

function toEvent(told: Told): SseEvent {
  return eventOf('answer' in told ? told.answer : told.note)
}

async function* tell(
  message: Outgoing & { id: string; method: string },
  params: Fields,
  first: Posted,
  signal: AbortSignal,
  deps: CallDeps,
): AsyncGenerator<Told, void> {
  const { method } = message
  let posted = first
  let retried: Retried = {}
  let isRefreshed = false
  for (let round = 0; ; round++) {
    const response = yield* passUntilAnswered(posted, deps.server)
    const code = numberOf(objectOf(response['error'])?.['code'])
    if (code === UNSUPPORTED_VERSION) deps.onContradicted()
    if (code === HEADER_MISMATCH && method === 'tools/call' && !isRefreshed) {
      isRefreshed = true
      await deps.refreshMirrors(signal)
    } else {
      const result = objectOf(response['result'])
      if (result?.['resultType'] !== 'input_required') {
        yield { answer: render(message, params, response, deps) }
        return
      }
      const next = round < deps.limits.maxRounds ? yield* nextRound(method, result, signal, deps) : tooManyRounds(deps)
      if ('failure' in next) {
        const failed = failing(method, next.failure)
        yield {
          answer: renderAnswer(
            message.id,
            conclude(method, params, result, () => failed, deps),
          ),
        }
        return
      }
      retried = next
    }
    posted = await deps.post(method, params, retried, signal)
  }
}

/** Passes on what belongs to the request; requests are nothing a modern server may send (2026-07-28, Streamable HTTP). */
async function* passUntilAnswered({ id, reply }: Posted, server: string): AsyncGenerator<Told, Fields> {
  for await (const { message } of saidIn(reply, server)) {
    if (message['method'] !== undefined) {
      if (message['id'] === undefined && isForCall(message['method'])) yield { note: message }
      continue
    }
    const isOurs = idKey(message['id']) === keyOfRaw(id) || (message['error'] !== undefined && (message['id'] ?? null) === null)
    if (isOurs && (objectOf(message['result']) ?? objectOf(message['error']))) return message
  }
  throw unanswered(server)
}

/** What belongs to a subscription, or ends a request, is not told on the stream of a call. */
function isForCall(method: unknown): boolean {
  return typeof method === 'string' && method !== 'notifications/cancelled' && method !== 'notifications/subscriptions/acknowledged'
}

async function* nextRound(
  method: string,
  result: Fields,
  signal: AbortSignal,
  deps: CallDeps,
): AsyncGenerator<Told, Retried | { failure: string }> {
  const { server, limits } = deps
  const state = result['requestState']
  const read = readInputs(result['inputRequests'], deps)
  if ('failure' in read) return read
  const isReadable =
    CAN_ASK.has(method) && (state === undefined || typeof state === 'string') && (read.inputs.length > 0 || state !== undefined)
  if (!isReadable) return { failure: `MCP server "${server}" asks for input in a way that cannot be read` }
  const echoed = state === undefined ? {} : { requestState: state }
  if (read.inputs.length === 0) {
    await limits.wait(limits.paceMs, signal)
    return echoed
  }
  const asking = askClient(read.inputs, deps, signal)
  try {
    for (;;) {
      const next = await asking.next()
      if (!next.done) yield { note: next.value }
      else return 'failure' in next.value ? next.value : { inputResponses: next.value.answers, ...echoed }
    }
  } finally {
    await asking.return({ failure: 'nobody waits for it' })
  }
}

function tooManyRounds({ server, limits }: CallDeps): { failure: string } {
  return { failure: `MCP server "${server}" asked for input ${limits.maxRounds} times without coming to an end` }
}

function render(message: Outgoing & { id: string; method: string }, params: Fields, response: Fields, deps: CallDeps): Buffer {
  const { id, method } = message
  const error = objectOf(response['error'])
  if (error)
    return renderAnswer(
      id,
      conclude(method, params, {}, () => toLegacyError(method, error), deps),
    )
  const result = objectOf(response['result']) ?? {}
  if (method === 'tools/list') deps.onTools(result['tools'])
  const plain = (): Answer => toLegacyResult(method, result, deps.client.revision, deps.tasks !== undefined)
  return renderAnswer(id, conclude(method, params, result, plain, deps))
}

/** A call that asked for a task is answered with one. */
function conclude(method: string, params: Fields, result: Fields, plain: () => Answer, { tasks }: CallDeps): Answer {
  return tasks && asksForTask(method, params) ? tasks.conclude(result, plain) : plain()
}

function unanswered(server: string): AppError {
  return new AppError('unavailable', `MCP server "${server}" ended its stream without an answer`, { origin: 'upstream' })
}
