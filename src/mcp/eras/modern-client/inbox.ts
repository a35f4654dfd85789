import { idKey } from '../../request-ids.ts'
import type { Fields } from '../../message.ts'
import { objectOf, type RpcError } from '../compose.ts'
import { RELATED_TASK } from '../task.ts'
import { notOffered } from './inputs.ts'

/** One request to a legacy server, and who hears what comes before its answer. */
export interface Exchange {
  method: string
  params: Fields
  wantsProgress: boolean
  logLevel: string | undefined
  /** A notification that belongs to it; progress under the token of the session. */
  onNote?: (message: Fields) => void
  /** A request of the server; to be answered by `respond`. Absent: the server is told that nobody is there to be asked. */
  onAsk?: (id: unknown, method: string, params: Fields) => void
  /** The server takes a request back. */
  onWithdrawn?: (id: unknown) => void
}

/** Who is asked on behalf of a task. */
export type Asker = Required<Pick<Exchange, 'onAsk' | 'onWithdrawn'>>

export type Respond = (id: unknown, answer: { result: unknown } | { error: RpcError }) => void

/** Where the requests and notifications of one legacy session go. */
export interface Inbox {
  /** Requests without an answer, by their id, which is their progress token too. */
  readonly running: Map<string, Exchange>
  /** @param own whose stream it came on; absent for the session's other stream. */
  receive(message: Fields, own?: Exchange): void
  /** Changes of lists and resources, whatever stream they come on; returns how to stop it. */
  onChange(listener: (message: Fields) => void): () => void
  /** Requests that say they belong to this task of the server, whatever stream they come on; returns how to stop it. */
  onTaskAsk(taskId: string, asker: Asker): () => void
}

const CHANGES = /^notifications\/(?:(?:tools|prompts|resources)\/list_changed|resources\/updated)$/
/** Notifications that have no meaning in the modern revision. */
const DROPPED = new Set(['notifications/elicitation/complete', 'notifications/tasks/status', 'notifications/initialized'])

export function createInbox(respond: Respond): Inbox {
  const running = new Map<string, Exchange>()
  const listeners = new Set<(message: Fields) => void>()
  const askers = new Map<string, Asker>()

  /** Whom a message is for that names no request: there is no telling when several run. */
  const onlyOne = (): Exchange | undefined => {
    const heard = [...running.values()].filter(({ onNote }) => onNote !== undefined)
    return heard.length === 1 ? heard[0] : undefined
  }
  const ask = (id: unknown, method: string, message: Fields, own: Exchange | undefined): void => {
    if (method === 'ping') return respond(id, { result: {} })
    const params = objectOf(message['params']) ?? {}
    const onAsk = (askerOf(askers, params) ?? own ?? onlyOne())?.onAsk
    if (onAsk) onAsk(id, method, params)
    else respond(id, { error: notOffered(method).declined })
  }

  return {
    running,
    receive(message, own) {
      const { method, id } = message
      if (typeof method !== 'string') return undefined
      if (id !== undefined) return isId(id) ? ask(id, method, message, own) : undefined
      if (CHANGES.test(method)) return listeners.forEach((listener) => listener(message))
      const params = objectOf(message['params'])
      if (method === 'notifications/cancelled') {
        for (const asker of askers.values()) asker.onWithdrawn(params?.['requestId'])
        return (own ?? onlyOne())?.onWithdrawn?.(params?.['requestId'])
      }
      if (method === 'notifications/progress') return running.get(idKey(params?.['progressToken']))?.onNote?.(message)
      return DROPPED.has(method) ? undefined : (own ?? onlyOne())?.onNote?.(message)
    },
    onChange(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    onTaskAsk(taskId, asker) {
      askers.set(taskId, asker)
      return () => void (askers.get(taskId) === asker && askers.delete(taskId))
    },
  }
}

function askerOf(askers: ReadonlyMap<string, Asker>, params: Fields): Asker | undefined {
  const taskId = objectOf(objectOf(params['_meta'])?.[RELATED_TASK])?.['taskId']
  return typeof taskId === 'string' ? askers.get(taskId) : undefined
}

function isId(id: unknown): boolean {
  return typeof id === 'string' || typeof id === 'number' || JSON.isRawJSON(id)
}
