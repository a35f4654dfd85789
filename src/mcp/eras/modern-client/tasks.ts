import { AppError } from '../../../lib/errors.ts'
import type { Fields } from '../../message.ts'
import type { Reply } from '../../upstream/upstream.ts'
import type { BridgeDeps } from '../bridge.ts'
import { objectOf, renderAnswer } from '../compose.ts'
import { asBegun, readTask } from '../task.ts'
import { needsTasks, renderTaskResult, type ServerFacts } from './answers.ts'
import { type Declared, declaresTasks, offersTasks } from './capabilities.ts'
import type { ModernRequest } from './modern-request.ts'
import { RunningTask } from './running-task.ts'
import type { Need, Sessions, Taken } from './sessions.ts'

/** The tasks that one modern client has with a legacy server, by ids that nobody can guess. */
export interface Tasks {
  /** Before a call that will be a task. @throws AppError resource_exhausted when all places are taken by tasks that run. */
  assertRoom(): void
  /** What the client is told of the task that a call became; undefined when it became none. */
  begin(response: Fields, taken: Taken, declared: Declared): Fields | undefined
  /** `tasks/…` @throws AppError invalid_argument for a client without the extension and a task that is not its own. */
  serve(request: ModernRequest, declared: Declared, signal: AbortSignal): Promise<Reply>
  /** Forgets those that are too old. */
  sweep(): void
  close(): void
}

const MAX_TASKS = 64
/** For how long a task is known that nobody asks for. */
const UNUSED_MS = { running: 60 * 60_000, over: 10 * 60_000 }
const METHODS = new Set(['tasks/get', 'tasks/update', 'tasks/cancel'])

export function createTasks(sessions: Sessions, deps: BridgeDeps): Tasks {
  const { server, now, random, log } = deps
  const all = createKept(now)

  return {
    assertRoom() {
      if (!all.makeRoom()) throw tooMany()
    },
    begin(response, taken, { capabilities }) {
      const said = objectOf(objectOf(response['result'])?.['task'])
      const task = said && readTask(said, 'legacy', now())
      if (!task) return undefined
      const id = random(16).toString('base64url')
      const running = new RunningTask({ id, task: asBegun(task), taken: taken.keep(), capabilities, server, now, log })
      if (!all.makeRoom()) {
        void running
          .cancel(AbortSignal.timeout(CANCEL_MS))
          .catch((error: unknown) => log.debug('a task of an MCP server could not be cancelled', { server, error }))
          .finally(() => running.end())
        throw tooMany()
      }
      all.add(id, running)
      return { ...running.render(), resultType: 'task' }
    },
    async serve(request, declared, signal) {
      const { id, method, params, clientInfo } = request
      const { taskId } = params
      const running = typeof taskId === 'string' ? all.find(taskId) : undefined
      const facts = running ? running.facts : await factsOf(sessions, { declared, clientInfo })
      if (!METHODS.has(method) || !offersTasks(facts.capabilities))
        return refusal(id, -32601, 'this MCP server has no tasks of this revision')
      if (!declaresTasks(request.capabilities)) throw needsTasks('tasks can be asked for')
      if (!running || typeof taskId !== 'string') return refusal(id, -32602, 'this client has no such task')
      try {
        return { kind: 'message', bytes: renderTaskResult(id, { resultType: 'complete', ...(await act(running, request, signal)) }, facts) }
      } catch (thrown) {
        if (thrown instanceof AppError && thrown.code === 'not_found') all.forget(taskId)
        throw thrown
      }
    },
    sweep: all.sweep,
    close: all.close,
  }
}

async function act(running: RunningTask, { method, inputResponses }: ModernRequest, signal: AbortSignal): Promise<Fields> {
  if (method === 'tasks/get') return running.look(signal)
  if (method === 'tasks/update') running.answer(objectOf(inputResponses) ?? {})
  else await running.cancel(signal)
  return {}
}

async function factsOf(sessions: Sessions, need: Need): Promise<ServerFacts> {
  const { session, release } = await sessions.pin(need)
  release()
  return session.facts
}

function refusal(id: string, code: number, message: string): Reply {
  return { kind: 'message', bytes: renderAnswer(id, { error: { code, message } }) }
}

/** The tasks of one client by the ids that it knows. */
function createKept(now: () => number) {
  const all = new Map<string, { running: RunningTask; usedAt: number }>()
  const forget = (id: string): void => {
    all.get(id)?.running.end()
    all.delete(id)
  }
  return {
    forget,
    add: (id: string, running: RunningTask): void => void all.set(id, { running, usedAt: now() }),
    find(id: string): RunningTask | undefined {
      const kept = all.get(id)
      if (kept) kept.usedAt = now()
      return kept?.running
    },
    /** False when every place is taken by a task that runs. */
    makeRoom(): boolean {
      if (all.size < MAX_TASKS) return true
      const over = all.entries().find(([, { running }]) => running.isOver)?.[0]
      if (over !== undefined) forget(over)
      return over !== undefined
    },
    sweep(): void {
      for (const [id, { running, usedAt }] of all) {
        const unusedMs = running.isOver ? UNUSED_MS.over : UNUSED_MS.running
        if (now() >= Math.min(usedAt + unusedMs, running.expiresAt ?? Number.POSITIVE_INFINITY)) forget(id)
      }
    },
    close(): void {
      for (const id of all.keys()) forget(id)
    },
  }
}

const CANCEL_MS = 60_000

function tooMany(): AppError {
  return new AppError('resource_exhausted', `${MAX_TASKS} tasks run already: wait for some to end, or cancel them`, {
    details: { http: 200 },
  })
}
