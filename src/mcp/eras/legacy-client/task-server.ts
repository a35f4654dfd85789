import { AppError } from '../../../lib/errors.ts'
import type { Logger } from '../../../lib/log.ts'
import { idKey, keyOfRaw } from '../../request-ids.ts'
import type { Fields } from '../../message.ts'
import type { Reply } from '../../upstream/upstream.ts'
import { objectOf, type RpcError, saidIn } from '../compose.ts'
import { readTask, type Task } from '../task.ts'
import type { Retried } from './envelope.ts'
import { toLegacyError } from './results.ts'
import type { RoundDeps } from './rounds.ts'
import type { KeptTask, TaskStore } from './task-store.ts'

/** A request on its way. `id` is raw JSON text. */
interface Posted {
  id: string
  reply: Reply
}

export interface ServerTasksDeps extends RoundDeps {
  /** Sends a request under an id of its own. */
  post(method: string, params: Fields, retried: Retried, signal: AbortSignal): Promise<Posted>
  /** Milliseconds since the epoch. */
  now: () => number
  log: Logger
}

/** What a look at a task found beside its state. */
export type Looked =
  /** `said` is undefined when the gateway knows without asking. */
  { said: Fields | undefined } | { error: RpcError }

/** The tasks at the modern server (extension io.modelcontextprotocol/tasks). All requests have a deadline. */
export interface ServerTasks {
  /** Brings `kept.task` up to date. */
  look(kept: KeptTask, signal: AbortSignal): Promise<Looked>
  /** Undefined when it is done. */
  cancel(kept: KeptTask, signal: AbortSignal): Promise<{ error: RpcError } | undefined>
  /** Without anybody who waits for it. */
  cancelBehind(taskId: string): void
  /** Gives the answers to what a task asked for. */
  answer(taskId: string, inputResponses: Fields, signal: AbortSignal): Promise<{ error: RpcError } | undefined>
}

const REQUEST_MS = 60_000
const INVALID_PARAMS = -32602
const INTERNAL = -32603

type Responded = { result: Fields } | { error: RpcError }

export function createServerTasks(deps: ServerTasksDeps, store: TaskStore): ServerTasks {
  const { server, now, log } = deps
  const request = createRequest(deps)
  const errorOf = (responded: Responded): { error: RpcError } | undefined => ('error' in responded ? responded : undefined)

  return {
    async look(kept, signal) {
      const { taskId } = kept.task
      if (kept.outcome || kept.isCancelled) return { said: undefined }
      const answer = await request('tasks/get', taskId, signal)
      if ('error' in answer) {
        if (answer.error.code === INVALID_PARAMS) store.remove(taskId)
        return answer
      }
      const task = readTask({ ...answer.result, taskId }, 'modern', now())
      if (!task) return { error: { code: INTERNAL, message: `MCP server "${server}" tells of its task in a way that cannot be read` } }
      store.update(kept, asLegacy(task, answer.result))
      return { said: answer.result }
    },
    async cancel(kept, signal) {
      const refused = errorOf(await request('tasks/cancel', kept.task.taskId, signal))
      if (refused) return refused
      store.update(kept, { ...kept.task, status: 'cancelled', lastUpdatedAt: new Date(now()).toISOString() })
      kept.isCancelled = true
      for (const one of kept.waiting) one.abort()
      return undefined
    },
    cancelBehind(taskId) {
      void request('tasks/cancel', taskId, AbortSignal.timeout(REQUEST_MS)).catch((error: unknown) =>
        log.debug('a task of an MCP server could not be cancelled', { server, error }),
      )
    },
    answer: async (taskId, inputResponses, signal) => errorOf(await request('tasks/update', taskId, signal, { inputResponses })),
  }
}

type Request = (method: string, taskId: string, signal: AbortSignal, retried?: Retried) => Promise<Responded>

function createRequest({ server, post }: ServerTasksDeps): Request {
  const read = async (method: string, { id, reply }: Posted): Promise<Responded> => {
    for await (const { message } of saidIn(reply, server)) {
      const error = objectOf(message['error'])
      const isOurs = idKey(message['id']) === keyOfRaw(id) || (error !== undefined && (message['id'] ?? null) === null)
      if (message['method'] !== undefined || !isOurs) continue
      const answer = error ? toLegacyError(method, error) : undefined
      if (answer && 'error' in answer) return answer
      return { result: objectOf(message['result']) ?? {} }
    }
    throw new AppError('unavailable', `MCP server "${server}" ended its stream without an answer`, { origin: 'upstream' })
  }
  return async (method, taskId, signal, retried = {}) => {
    const late = AbortSignal.timeout(REQUEST_MS)
    try {
      return await read(method, await post(method, { taskId }, retried, AbortSignal.any([signal, late])))
    } catch (cause) {
      if (!late.aborted || signal.aborted) throw cause
      const words = `MCP server "${server}" did not answer ${method} within ${REQUEST_MS / 1000} s`
      throw new AppError('deadline_exceeded', words, { origin: 'upstream', cause })
    }
  }
}

/** A tool that failed is a failed task in 2025-11-25, and a completed one in the extension, which keeps `failed` for errors of the protocol. */
export function asLegacy(task: Task, said: Fields): Task {
  const isFailed = task.status === 'completed' && objectOf(said['result'])?.['isError'] === true
  return isFailed ? { ...task, status: 'failed' } : task
}
