import { AppError } from '../../../lib/errors.ts'
import { renderExact } from '../../../lib/json-scan.ts'
import type { Fields } from '../../message.ts'
import type { Outgoing, Reply } from '../../upstream/upstream.ts'
import { paramsOf, renderAnswer } from '../compose.ts'
import { asBegun, asksForTask, isOver, readTask, renderTask, type Task } from '../task.ts'
import { type Answer, failing } from './results.ts'
import { followTask } from './task-result.ts'
import { asLegacy, createServerTasks, type ServerTasks, type ServerTasksDeps } from './task-server.ts'
import { createTaskStore, type KeptTask, type TaskStore } from './task-store.ts'

export interface TasksDeps extends ServerTasksDeps {
  makeId: () => string
  /** What runs has changed. */
  onChange: () => void
}

/** The tasks of revision 2025-11-25 for one session, on top of the tasks extension of a modern server. */
export interface Tasks {
  /** Before a call that asks for a task is sent. @throws AppError resource_exhausted when the session has too many. */
  assertRoom(method: string, params: Fields): void
  /** The answer to a call that asked for a task: it gets one, even when the server answered at once; `plain` is what it gets without. */
  conclude(result: Fields, plain: () => Answer): Answer
  /** A request about a task; undefined when the method is no such thing. */
  serve(message: Outgoing & { id: string; method: string }, signal: AbortSignal): Promise<Reply> | undefined
  /** Ids to be told of. */
  running(): string[]
  /** The parameters of `notifications/tasks/status` for those of `notifications/tasks`; undefined for a task that is not known. */
  told(params: Fields): Fields | undefined
  close(): void
}

const INVALID_PARAMS = -32602
const MAX_TASKS = 200
const KEPT_MS = 24 * 60 * 60_000
const MAX_KEPT_BYTES = 32 * 1024 * 1024
/** For how long the result of a call is kept here that the server answered at once. */
const FINISHED_MS = 10 * 60_000
const PAGE = 50

export function createTasks(deps: TasksDeps): Tasks {
  const { now, makeId, onChange } = deps
  const sizeOf = (answer: Answer): number => renderExact(answer).length
  const store = createTaskStore({ now, maxTasks: MAX_TASKS, keptMs: KEPT_MS, maxKeptBytes: MAX_KEPT_BYTES, sizeOf, onChange })
  const server = createServerTasks(deps, store)
  const methods: Readonly<Record<string, (kept: KeptTask, signal: AbortSignal) => Promise<Answer>>> = {
    'tasks/get': (kept, signal) => get(server, kept, signal),
    'tasks/cancel': (kept, signal) => cancel(server, kept, signal),
  }
  const serve = async (id: string, method: string, params: Fields, signal: AbortSignal): Promise<Reply> => {
    const message = (answer: Answer): Reply => ({ kind: 'message', bytes: renderAnswer(id, answer) })
    if (method === 'tasks/list') return message(list(store, params['cursor']))
    const { taskId } = params
    const kept = typeof taskId === 'string' ? store.find(taskId) : undefined
    if (!kept) return message(invalid('this session has no such task'))
    if (method === 'tasks/result') return followTask({ id, kept, server, store, deps }, signal)
    return message((await methods[method]?.(kept, signal)) ?? invalid('no such method'))
  }

  return {
    assertRoom(method, params) {
      if (asksForTask(method, params)) store.assertRoom()
    },
    conclude(result, plain) {
      if (result['resultType'] === 'task') return begin(result, deps, store, server)
      const answer = plain()
      if ('error' in answer) return answer
      return created(store.add(finishedTask(makeId(), answer, now()), answer).task)
    },
    serve: ({ id, method, bytes, ...rest }, signal) =>
      METHODS.has(method) ? serve(id, method, paramsOf({ ...rest, id, method, bytes }), signal) : undefined,
    running: () => store.running(),
    told(params) {
      const { taskId } = params
      const kept = typeof taskId === 'string' ? store.find(taskId) : undefined
      const said = readTask(params, 'modern', now())
      if (!kept || !said || kept.outcome) return undefined
      store.update(kept, asLegacy(said, params))
      return renderTask(kept.task, 'legacy')
    },
    close: () => store.close(),
  }
}

const METHODS = new Set(['tasks/get', 'tasks/result', 'tasks/list', 'tasks/cancel'])

function begin(result: Fields, { now }: TasksDeps, store: TaskStore, server: ServerTasks): Answer {
  const task = readTask(result, 'modern', now())
  if (!task) return failing('tools/call', 'the MCP server made a task that cannot be read')
  try {
    return created(store.add(asBegun(task)).task)
  } catch (thrown) {
    if (!(thrown instanceof AppError)) throw thrown
    server.cancelBehind(task.taskId)
    return { error: { code: -32603, message: thrown.message } }
  }
}

function created(task: Task): Answer {
  return { result: { task: renderTask(task, 'legacy') } }
}

function finishedTask(taskId: string, answer: Answer, now: number): Task {
  const at = new Date(now).toISOString()
  const status = 'result' in answer && answer.result['isError'] === true ? 'failed' : 'completed'
  return { taskId, status, statusMessage: undefined, createdAt: at, lastUpdatedAt: at, ttlMs: FINISHED_MS, pollMs: undefined }
}

async function get(server: ServerTasks, kept: KeptTask, signal: AbortSignal): Promise<Answer> {
  const looked = await server.look(kept, signal)
  return 'error' in looked ? looked : { result: renderTask(kept.task, 'legacy') }
}

async function cancel(server: ServerTasks, kept: KeptTask, signal: AbortSignal): Promise<Answer> {
  if (isOver(kept.task)) return invalid(`the task is ${kept.task.status} already`)
  const refused = await server.cancel(kept, signal)
  return refused ?? { result: renderTask(kept.task, 'legacy') }
}

function list(store: TaskStore, cursor: unknown): Answer {
  const from = cursor === undefined ? 0 : typeof cursor === 'string' && /^\d{1,4}$/.test(cursor) ? Number(cursor) : Number.NaN
  if (Number.isNaN(from)) return invalid('the cursor is not one of this session')
  const tasks = store.list()
  const next = from + PAGE
  return {
    result: {
      tasks: tasks.slice(from, next).map((task) => renderTask(task, 'legacy')),
      ...(tasks.length > next && { nextCursor: String(next) }),
    },
  }
}

function invalid(message: string): Answer {
  return { error: { code: INVALID_PARAMS, message } }
}
