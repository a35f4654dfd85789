import type { Logger } from '../../../lib/log.ts'
import { AppError } from '../../../lib/errors.ts'
import { renderExact } from '../../../lib/json-scan.ts'
import { idKey } from '../../request-ids.ts'
import type { Fields } from '../../message.ts'
import { objectOf } from '../compose.ts'
import { isOver, readTask, renderTask, type Task } from '../task.ts'
import { type ServerFacts, toTaskOutcome, translateError } from './answers.ts'
import { type InputRequest, isAnswer, readAsk } from './inputs.ts'
import type { Outcome } from './legacy-session.ts'
import type { Taken } from './sessions.ts'

export interface RunningTaskOptions {
  /** The id that the client knows. */
  id: string
  /** As the server knows it, under its own id. */
  task: Task
  /** Given back when the task is forgotten. */
  taken: Taken
  /** Of the client when it made the call. */
  capabilities: Fields
  server: string
  now: () => number
  log: Logger
}

interface Ask {
  /** The server's own. */
  id: unknown
  input: InputRequest
}

const REQUEST_MS = 60_000
/** For a question to come, once the server says that it needs input. */
const GRACE_MS = 1000
const MAX_ASKS = 32
const MAX_ASKED_BYTES = 4 * 1024 * 1024

/** A task of a legacy server (2025-11-25), as the tasks extension of the modern revision shows it. */
export class RunningTask {
  readonly #options: RunningTaskOptions
  readonly #serverId: string
  readonly #asks = new Map<string, Ask>()
  readonly #stopAsking: () => void
  readonly #ending = new AbortController()
  readonly #begunAt: number
  #task: Task
  #lastKey = 0
  #isCollecting = false
  #onAsked: (() => void) | undefined

  constructor(options: RunningTaskOptions) {
    this.#options = options
    this.#serverId = options.task.taskId
    this.#begunAt = options.now()
    this.#task = { ...options.task, taskId: options.id }
    this.#stopAsking = options.taken.session.onTaskAsk(this.#serverId, this.#asker)
  }

  get facts(): ServerFacts {
    return this.#options.taken.session.facts
  }

  get isOver(): boolean {
    return isOver(this.#task)
  }

  /** When the server forgets it, by our clock; undefined for never. Milliseconds since the epoch. */
  get expiresAt(): number | undefined {
    const { ttlMs } = this.#task
    return ttlMs === null ? undefined : this.#begunAt + ttlMs
  }

  /** The members of a task of the extension. */
  render(): Fields {
    return renderTask(this.#task, 'modern')
  }

  /**
   * The state with all that belongs to it.
   * @throws AppError of the upstream, or with the server's error in `details.rpc`.
   */
  async look(signal: AbortSignal): Promise<Fields> {
    const message = await this.#request('tasks/get', signal)
    if (message === 'lost') return this.#lose()
    const task = readTask({ ...objectOf(message['result']), taskId: this.#options.id }, 'legacy', this.#options.now())
    if (!task || !objectOf(message['result'])) throw refusalOf(message)
    this.#task = task
    if (isOver(task)) this.#decline('the task is over')
    if (task.status === 'cancelled') return this.render()
    if (isOver(task)) return this.#conclude(signal)
    if (task.status === 'input_required') await this.#awaitAsk(signal)
    const isAsking = this.#asks.size > 0
    this.#task = { ...task, status: isAsking ? 'input_required' : 'working' }
    if (!isAsking) return this.render()
    return { ...this.render(), inputRequests: Object.fromEntries([...this.#asks].map(([key, { input }]) => [key, input])) }
  }

  /** Gives the server the answers to what it asked; those that do not fit are asked for again. */
  answer(responses: Fields): void {
    for (const [key, { id, input }] of this.#asks) {
      const response: unknown = Object.hasOwn(responses, key) ? responses[key] : undefined
      if (!isAnswer(input, response)) continue
      this.#asks.delete(key)
      this.#options.taken.session.respond(id, { result: response })
    }
  }

  /** @throws AppError when the server has no way to cancel a task, or of the upstream. */
  async cancel(signal: AbortSignal): Promise<void> {
    if (!objectOf(objectOf(this.facts.capabilities['tasks'])?.['cancel']))
      throw new AppError('unimplemented', 'this MCP server has no way to cancel a task', { details: { rpc: -32603, http: 200 } })
    // One that is over cannot be cancelled, which is no error in the extension.
    await this.#request('tasks/cancel', signal)
    this.#decline('the task was cancelled')
  }

  /** Forgets it: nobody will ask for it any more. */
  end(): void {
    this.#decline('nobody is there to be asked')
    this.#ending.abort()
    this.#stopAsking()
    this.#options.taken.release()
  }

  get #asker() {
    return {
      onAsk: (id: unknown, method: string, params: Fields): void => this.#asked(id, method, params),
      onWithdrawn: (id: unknown): void => {
        for (const [key, ask] of this.#asks) if (idKey(ask.id) === idKey(id)) this.#asks.delete(key)
      },
    }
  }

  #asked(id: unknown, method: string, params: Fields): void {
    const { session } = this.#options.taken
    const read = readAsk(method, params, this.#options.capabilities)
    if ('declined' in read) {
      this.#onAsked?.()
      return session.respond(id, { error: read.declined })
    }
    const waiting = [...this.#asks.values()].map(({ input }) => input)
    if (waiting.length >= MAX_ASKS || renderExact([...waiting, read.input]).length > MAX_ASKED_BYTES)
      return session.respond(id, { error: { code: -32603, message: 'too many requests to the client wait for an answer' } })
    this.#asks.set(`input-${++this.#lastKey}`, { id, input: read.input })
    this.#onAsked?.()
  }

  /** Servers ask on the stream of `tasks/result` (2025-11-25, tasks, input required), so somebody has to wait for it. */
  async #awaitAsk(signal: AbortSignal): Promise<void> {
    this.#collect()
    if (this.#asks.size > 0) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, GRACE_MS)
    this.#onAsked = resolve
    signal.addEventListener('abort', () => resolve(), { once: true })
    await promise
    clearTimeout(timer)
    this.#onAsked = undefined
    signal.throwIfAborted()
  }

  #collect(): void {
    if (this.#isCollecting) return
    this.#isCollecting = true
    const { server, log, taken } = this.#options
    void taken.session
      .exchange({ ...this.#exchange('tasks/result'), ...this.#asker }, this.#ending.signal)
      // What it says is asked for again by the next look.
      .catch((error: unknown) => log.debug('nothing came of waiting for a task of an MCP server', { server, error }))
      .finally(() => {
        this.#isCollecting = false
        this.#onAsked?.()
      })
  }

  async #conclude(signal: AbortSignal): Promise<Fields> {
    const message = await this.#request('tasks/result', signal)
    if (message === 'lost') return this.#lose()
    const outcome = toTaskOutcome(message)
    this.#task = { ...this.#task, status: outcome.status }
    return { ...this.render(), ...outcome }
  }

  /** The server's session ended, and its task with it. */
  #lose(): Fields {
    const { server, now } = this.#options
    const message = `the session with MCP server "${server}" is gone, and its task with it`
    this.#task = { ...this.#task, status: 'failed', statusMessage: message, lastUpdatedAt: new Date(now()).toISOString() }
    return { ...this.render(), error: { code: -32603, message } }
  }

  async #request(method: string, signal: AbortSignal): Promise<Fields | 'lost'> {
    const late = AbortSignal.timeout(REQUEST_MS)
    let outcome: Outcome
    try {
      outcome = await this.#options.taken.session.exchange(this.#exchange(method), AbortSignal.any([signal, this.#ending.signal, late]))
    } catch (cause) {
      if (!late.aborted || signal.aborted) throw cause
      const words = `MCP server "${this.#options.server}" did not answer ${method} within ${REQUEST_MS / 1000} s`
      throw new AppError('deadline_exceeded', words, { origin: 'upstream', cause })
    }
    return outcome.kind === 'lost' ? 'lost' : outcome.message
  }

  #exchange(method: string) {
    return { method, params: { taskId: this.#serverId }, wantsProgress: false, logLevel: undefined }
  }

  #decline(message: string): void {
    for (const { id } of this.#asks.values()) this.#options.taken.session.respond(id, { error: { code: -32603, message } })
    this.#asks.clear()
  }
}

function refusalOf(message: Fields): AppError {
  const error = objectOf(message['error'])
  if (!error) return new AppError('unavailable', 'the MCP server tells of its task in a way that cannot be read', { origin: 'upstream' })
  const { code, message: words } = translateError({ method: 'tasks/get', params: {} }, error, false)
  return new AppError(code === -32602 ? 'not_found' : 'unavailable', words, { origin: 'upstream', details: { rpc: code, http: 200 } })
}
