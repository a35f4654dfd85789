import { AppError } from '../../lib/errors.ts'
import { idKey, keyOfRaw } from '../request-ids.ts'

/** A request of the client that a member has not answered. */
export interface Running {
  server: string
  method: string
  /** JSON text of the token of its progress. */
  progressToken: string | undefined
  abort: (why: AppError) => void
}

const MAX_RUNNING = 1000
/** Of one server, whose stream ended before the answer. */
const MAX_LEFT_OPEN = 100
/** Answered, of which the client may not have the answer: it was written into a connection that may have been dead. */
const MAX_ANSWERED = 200
/** Characters of an id that is kept. */
const MAX_ID = 1024

/** The requests of one session, by the ids that the client gave them. */
export class RunningRequests {
  readonly #running = new Map<string, Running>()
  /** Keys of those whose answer may yet come on another stream; the longest waiting first. */
  readonly #leftOpen = new Set<string>()
  /** The oldest first. */
  readonly #answered = new Map<string, Pick<Running, 'server' | 'method'>>()

  /** @throws AppError resource_exhausted for too many at a time, invalid_argument for an id that another request of the session has. */
  begin(id: string | undefined, running: Running): void {
    if (this.#running.size - this.#leftOpen.size >= MAX_RUNNING)
      throw new AppError('resource_exhausted', `${MAX_RUNNING} requests of this MCP session have no answer yet: wait, or cancel some`)
    if (id !== undefined && id.length > MAX_ID)
      throw new AppError('invalid_argument', `a request id may have ${MAX_ID} characters`, { details: { rpc: -32600 } })
    const key = keyOfRaw(id)
    if (this.#running.has(key))
      throw new AppError('invalid_argument', 'the request id is in use in this MCP session: use another', { details: { rpc: -32600 } })
    this.#running.set(key, running)
    this.#answered.delete(key)
  }

  finish(id: string | undefined): void {
    this.#over(keyOfRaw(id))
  }

  /** Its stream ended before its answer. A server that never answers must not keep other requests from being sent. */
  leaveOpen(id: string | undefined): void {
    const key = keyOfRaw(id)
    const server = this.#running.get(key)?.server
    if (server === undefined) return // answered on another stream meanwhile
    this.#leftOpen.add(key)
    const [oldest, ...others] = this.#leftOpenOf(server)
    if (oldest !== undefined && others.length >= MAX_LEFT_OPEN) this.#forget(oldest)
  }

  find(id: unknown): Running | undefined {
    return this.#running.get(idKey(id))
  }

  /** The method of the request that a response of this member answers, which is then over. */
  answered(server: string, id: unknown): string | undefined {
    const running = this.find(id)
    if (running?.server !== server) return undefined
    this.#over(idKey(id))
    return running.method
  }

  /** The method of a request that this member has answered before, for a client that comes back for what it did not get. */
  replayed(server: string, id: unknown): string | undefined {
    const answered = this.#answered.get(idKey(id))
    return answered?.server === server ? answered.method : undefined
  }

  /** Whether the token is that of a request of another member, and of none of this one. */
  isForeignToken(server: string, token: unknown): boolean {
    const text = JSON.stringify(token)
    const servers = new Set([...this.#running.values()].filter(({ progressToken }) => progressToken === text).map((one) => one.server))
    return servers.size > 0 && !servers.has(server)
  }

  /** The member's session has ended: what was left open will not be answered. */
  lost(server: string): void {
    for (const key of this.#leftOpenOf(server)) this.#forget(key)
    for (const [key, answered] of this.#answered) if (answered.server === server) this.#answered.delete(key)
  }

  abortAll(why: AppError): void {
    for (const running of this.#running.values()) running.abort(why)
  }

  #leftOpenOf(server: string): string[] {
    return [...this.#leftOpen].filter((key) => this.#running.get(key)?.server === server)
  }

  #over(key: string): void {
    const running = this.#running.get(key)
    this.#forget(key)
    if (!running) return
    this.#answered.set(key, { server: running.server, method: running.method })
    const [oldest] = this.#answered.keys()
    if (this.#answered.size > MAX_ANSWERED && oldest !== undefined) this.#answered.delete(oldest)
  }

  #forget(key: string): void {
    this.#running.delete(key)
    this.#leftOpen.delete(key)
  }
}
