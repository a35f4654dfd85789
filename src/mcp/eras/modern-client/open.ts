import { AppError } from '../../../lib/errors.ts'
import { toAbortSignal } from '../../../lib/stopping.ts'
import { createSealer } from '../../sealed.ts'
import type { OpenOptions, Outgoing, Reply, Upstream, UpstreamSession } from '../../upstream/upstream.ts'
import type { BridgeDeps } from '../bridge.ts'
import { objectOf, without } from '../compose.ts'
import { renderDiscovery } from './answers.ts'
import { type CallKeeper, startCall } from './call.ts'
import { declareLegacy } from './capabilities.ts'
import { MAY_ASK } from './inputs.ts'
import { type ModernRequest, readModernRequest } from './modern-request.ts'
import { createParked, type Parked } from './parked.ts'
import { createSessions, type Sessions } from './sessions.ts'
import { createSubscriptions, type Subscriptions } from './subscriptions.ts'
import { createTaskSupport, type TaskSupport } from './task-support.ts'
import { createTasks, type Tasks } from './tasks.ts'

const SWEEP_MS = 1000

/**
 * A conversation of the modern revision with an MCP server that speaks legacy ones only. Each request goes to a legacy session, opened
 * when the first needs it; what the server asks while a call runs is answered by the client's next try (2026-07-28, multi round-trip
 * requests).
 * Rejects as `UpstreamSession` does, and with invalid_argument (-32602) for a `requestState` that is not the client's for this request.
 */
export async function openForModernClient(inner: Upstream, options: OpenOptions, deps: BridgeDeps): Promise<UpstreamSession> {
  const { server, now, random, log } = deps
  const { kind, name } = options.caller
  const sessions = createSessions(inner, options, deps)
  const sealer = createSealer(random(32), random)
  const parked = createParked({ sealer, owner: JSON.stringify([kind, name, server]), now, random })
  const tasks = createTasks(sessions, deps)
  const parts: Parts = {
    sessions,
    parked,
    subscriptions: createSubscriptions(sessions, server, log),
    support: createTaskSupport(sessions),
    tasks,
  }
  const sweep = (): void => {
    parked.sweep()
    tasks.sweep()
    sessions.sweep()
  }
  const timer = setInterval(sweep, SWEEP_MS).unref()
  const closing = new AbortController()

  return {
    // Legacy sessions come and go; this one ends when it is closed.
    ended: new Promise(() => undefined),
    externalId: undefined,
    get isWaiting() {
      return parked.isWaiting
    },
    async send(message, signal) {
      if (closing.signal.aborted) throw new AppError('cancelled', `the session with MCP server "${server}" was closed`)
      if (message.kind === 'response')
        throw new AppError('invalid_argument', 'clients send no responses in this protocol revision', { details: { rpc: -32600 } })
      // Clients cancel by going away; no other notification has a meaning to a server that knows no session of this client.
      if (message.kind === 'notification') return { kind: 'accepted' }
      sweep()
      return serve(parts, message, toAbortSignal(signal))
    },
    listen: async () => NO_STREAM,
    async close() {
      closing.abort()
      clearInterval(timer)
      parked.close()
      tasks.close()
      await sessions.close()
    },
  }
}

interface Parts {
  sessions: Sessions
  parked: Parked
  subscriptions: Subscriptions
  support: TaskSupport
  tasks: Tasks
}

/** What streamable HTTP answers to GET when it offers no such stream. */
const NO_STREAM: Extract<Reply, { kind: 'refused' }> = { kind: 'refused', status: 405, bytes: Buffer.alloc(0), contentType: '' }
const TASK_METHODS = /^tasks\//

async function serve(parts: Parts, message: Outgoing, signal: AbortSignal): Promise<Reply> {
  const request = readModernRequest(message)
  const { id, method, clientInfo } = request
  const declared = declareLegacy(request.capabilities)
  if (TASK_METHODS.test(method)) return parts.tasks.serve(request, declared, signal)
  if (method === 'subscriptions/listen') return parts.subscriptions.listen(request, declared, signal)
  if (method === 'server/discover') {
    const { session, release } = await parts.sessions.pin({ declared, clientInfo })
    release()
    return { kind: 'message', bytes: renderDiscovery(id, session.facts) }
  }
  const returned = readState(parts.parked, request)
  if ('call' in returned) return returned.call.resume(request, signal).reply
  const { sessions, support, tasks, parked } = parts
  const isTask = await support.runsAsTask(request, declared, signal)
  if (isTask) tasks.assertRoom()
  const keeper: CallKeeper = { sessions, support, tasks, askFor: parked.askFor }
  return startCall(keeper, declared, method === 'tools/call' ? withTask(request, isTask) : request, signal, returned.rounds).reply
}

/** In the extension the server alone decides what becomes a task; in 2025-11-25 the request says so. */
function withTask(request: ModernRequest, isTask: boolean): ModernRequest {
  const params = without(request.params, 'task')
  return { ...request, params: isTask ? { ...params, task: {} } : params }
}

/** @throws AppError invalid_argument for a state that is not valid, and for answers that could answer nothing. */
function readState(parked: Parked, { method, requestState, inputResponses, digest }: ModernRequest): ReturnType<Parked['take']> {
  if (!MAY_ASK.has(method)) return { rounds: 0 }
  if (requestState !== undefined) return parked.take(requestState, digest)
  // A server that asked nothing passes over answers, but not over what is none (2026-07-28, multi round-trip requests, error handling).
  const responses = inputResponses === undefined ? {} : objectOf(inputResponses)
  if (!responses || !Object.values(responses).every((response) => objectOf(response)))
    throw new AppError('invalid_argument', 'inputResponses must be an object of objects', { details: { rpc: -32602, http: 200 } })
  return { rounds: 0 }
}
