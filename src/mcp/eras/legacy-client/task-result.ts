import { AppError } from '../../../lib/errors.ts'
import type { SseEvent } from '../../../lib/sse.ts'
import type { Fields } from '../../message.ts'
import type { Reply } from '../../upstream/upstream.ts'
import { eventOf, objectOf, renderAnswer, withMeta } from '../compose.ts'
import { isOver, RELATED_TASK } from '../task.ts'
import { type Answer, failing, toLegacyError, toLegacyResult } from './results.ts'
import { askClient, type Input, readInputs } from './rounds.ts'
import type { ServerTasks, ServerTasksDeps } from './task-server.ts'
import type { KeptTask, TaskStore } from './task-store.ts'

/** One `tasks/result` of the client. */
export interface Following {
  /** Of the client's request; raw JSON text. */
  id: string
  kept: KeptTask
  server: ServerTasks
  store: TaskStore
  deps: ServerTasksDeps
}

const POLL = { least: 250, usual: 1000, longest: 30_000 }
/** For how long one request waits for a result; the client may come back with another. */
const LONGEST_MS = 60 * 60_000
const MAX_POLLS = 10_000
/** Requests for the result of one task; the oldest gives way. */
const MAX_WAITING = 4
const INTERNAL = -32603
const INVALID_PARAMS = -32602

/**
 * Answers when the task is over (2025-11-25, tasks/result): at once with a message, else with a stream on which the client is asked what
 * the task wants to know meanwhile.
 */
export async function followTask(following: Following, signal: AbortSignal): Promise<Reply> {
  const { id, kept, server } = following
  const looked = await server.look(kept, signal)
  const answer = 'error' in looked ? looked : outcomeOf(following, looked.said)
  if (answer) return { kind: 'message', bytes: renderAnswer(id, answer) }
  return { kind: 'events', events: wait(following, 'said' in looked ? looked.said : undefined, signal) }
}

async function* wait(following: Following, first: Fields | undefined, signal: AbortSignal): AsyncGenerator<SseEvent, void> {
  const { id, kept } = following
  const leaving = new AbortController()
  const onAbort = (): void => leaving.abort()
  if (signal.aborted) onAbort()
  signal.addEventListener('abort', onAbort, { once: true })
  for (const oldest of [...kept.waiting].slice(0, Math.max(0, kept.waiting.size + 1 - MAX_WAITING))) oldest.abort()
  kept.waiting.add(leaving)
  try {
    const polling = poll(following, first, leaving.signal)
    for (;;) {
      const next = await polling.next()
      if (!next.done) {
        yield eventOf(next.value)
        continue
      }
      yield eventOf(renderAnswer(id, next.value))
      return
    }
  } catch (thrown) {
    // The client's own cancellation is told as such; else the task was cancelled, forgotten, or another request waits for it.
    if (signal.aborted || !leaving.signal.aborted || !(thrown instanceof AppError)) throw thrown
    yield eventOf(
      renderAnswer(
        id,
        outcomeOf(following, undefined) ?? { error: { code: INTERNAL, message: 'nobody waits for this result any more: ask again' } },
      ),
    )
  } finally {
    signal.removeEventListener('abort', onAbort)
    kept.waiting.delete(leaving)
    leaving.abort()
  }
}

/** Yields messages for the client, and returns the answer. */
async function* poll(following: Following, first: Fields | undefined, signal: AbortSignal): AsyncGenerator<Fields, Answer> {
  const { kept, server, deps } = following
  const until = deps.now() + LONGEST_MS
  let said = first
  for (let polls = 0; polls < MAX_POLLS && deps.now() < until; polls++) {
    const outcome = outcomeOf(following, said)
    if (outcome) return outcome
    if (said?.['status'] === 'input_required') yield* ask(following, said, signal)
    if (kept.outcome) continue
    await deps.limits.wait(Math.min(Math.max(kept.task.pollMs ?? POLL.usual, POLL.least), POLL.longest), signal)
    const looked = await server.look(kept, signal)
    if ('error' in looked) return looked
    said = looked.said
  }
  return { error: { code: INTERNAL, message: 'the task still runs: ask for its result again' } }
}

/** What the task came to, if it is over. */
function outcomeOf({ kept, deps }: Following, said: Fields | undefined): Answer | undefined {
  const { taskId, status } = kept.task
  if (kept.outcome) return related(kept.outcome, taskId)
  if (kept.isCancelled || status === 'cancelled')
    return { error: { code: INVALID_PARAMS, message: 'the task was cancelled: it has no result' } }
  if (!isOver(kept.task)) return undefined
  const result = objectOf(said?.['result'])
  if (result) return related(toLegacyResult('tools/call', result, deps.client.revision), taskId)
  const error = objectOf(said?.['error'])
  if (error) return related(toLegacyError('tools/call', error), taskId)
  return { error: { code: INTERNAL, message: `MCP server "${deps.server}" ended the task without a result` } }
}

/** Puts to the client what the task wants to know, once, and gives the answers to the server. */
async function* ask(following: Following, said: Fields, signal: AbortSignal): AsyncGenerator<Fields, void> {
  const { kept, server, deps } = following
  const requests = Object.entries(objectOf(said['inputRequests']) ?? {}).filter(([key]) => !kept.asked.has(key))
  if (requests.length === 0) return
  if (kept.asked.size + requests.length > MAX_ASKED)
    return fail(following, `MCP server "${deps.server}" asks for more than ${MAX_ASKED} things in one task`)
  const read = readInputs(Object.fromEntries(requests), deps)
  if ('failure' in read) return fail(following, read.failure)
  for (const [key] of requests) kept.asked.add(key)
  let isAnswered = false
  try {
    const asked = yield* askClient(
      read.inputs.map((input) => ofTask(input, kept.task.taskId)),
      deps,
      signal,
    )
    if ('failure' in asked) return fail(following, asked.failure)
    const refused = await server.answer(kept.task.taskId, asked.answers, signal)
    if (refused) deps.log.debug('an MCP server did not take the answers to its task', { server: deps.server, error: refused.error.message })
    isAnswered = true
  } finally {
    // Another request for the result may ask again.
    if (!isAnswered) for (const [key] of requests) kept.asked.delete(key)
  }
}

const MAX_ASKED = 200

function ofTask(input: Input, taskId: string): Input {
  return { ...input, params: withMeta(input.params ?? {}, { [RELATED_TASK]: { taskId } }) }
}

/** The modern server has no way to learn that an answer was refused, so the task ends; the client learns why. */
function fail({ kept, server, store, deps }: Following, words: string): void {
  store.update(kept, { ...kept.task, status: 'failed', statusMessage: words, lastUpdatedAt: new Date(deps.now()).toISOString() })
  kept.outcome = failing('tools/call', words)
  server.cancelBehind(kept.task.taskId)
}

function related(answer: Answer, taskId: string): Answer {
  return 'error' in answer ? answer : { result: withMeta(answer.result, { [RELATED_TASK]: { taskId } }) }
}
