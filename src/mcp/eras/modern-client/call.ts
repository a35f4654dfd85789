import { setImmediate } from 'node:timers/promises'
import { AppError } from '../../../lib/errors.ts'
import { renderExact } from '../../../lib/json-scan.ts'
import type { Fields } from '../../message.ts'
import { objectOf } from '../compose.ts'
import { asksForTask } from '../task.ts'
import { idKey } from '../../request-ids.ts'
import { renderTaskResult, type ServerFacts, translateResponse } from './answers.ts'
import { type InputRequest, isAnswer, MAY_ASK, readAsk } from './inputs.ts'
import type { Exchange } from './inbox.ts'
import type { LegacySession, Outcome } from './legacy-session.ts'
import type { Declared } from './capabilities.ts'
import type { ModernRequest } from './modern-request.ts'
import { openRound, type Round } from './round.ts'
import type { Sessions, Taken } from './sessions.ts'
import type { TaskSupport } from './task-support.ts'
import type { Tasks } from './tasks.ts'

/** What a call needs of whoever keeps the calls of one client. */
export interface CallKeeper {
  sessions: Sessions
  support: TaskSupport
  tasks: Tasks
  /** The answer that asks for input; keeps the call until the client comes back when `parks`. @throws AppError when there is no room. */
  askFor(round: Round, inputs: ReadonlyMap<string, InputRequest>, rounds: number, facts: ServerFacts, parks: Call | undefined): Buffer
}

/** A request to a legacy server that outlives the rounds in which a modern client makes it. */
export interface Call {
  /** Goes on with the client's answers; the state that came with them has been judged. */
  resume(request: ModernRequest, signal: AbortSignal): Round
  /** Nobody will come back. */
  abandon(): void
}

/** `task` is what the client is told in place of the response. */
interface Answered {
  response: Fields
  facts: ServerFacts
  task?: Fields | undefined
}

interface Ask {
  /** The server's own. */
  id: unknown
  input: InputRequest
  /** Characters of its text. */
  size: number
}

const MAX_ROUNDS = 10
const MAX_ASKS = 32
/** Of what the server asks and the client has not answered. */
const MAX_ASKED_BYTES = 4 * 1024 * 1024
/** Of notifications that came while the client was away. */
const MAX_NOTED_BYTES = 256 * 1024
/** Repeating one of these changes nothing (a prompt, a resource or a list is read). `tools/call` is not among them. */
const REPEATABLE = new Set([
  'tools/list',
  'prompts/list',
  'prompts/get',
  'resources/list',
  'resources/templates/list',
  'resources/read',
  'completion/complete',
])

/**
 * Sends a request of a modern client to a legacy server. What the server asks meanwhile ends the round, and waits with the request
 * for the next.
 * @param rounds how many there were before: an answer -32042 makes the client come back with a new call.
 */
export function startCall(keeper: CallKeeper, declared: Declared, request: ModernRequest, signal: AbortSignal, rounds: number): Round {
  const call = new RunningCall(keeper, declared, request, rounds)
  const round = call.enter(request, signal)
  void call.run()
  return round
}

class RunningCall implements Call {
  readonly #keeper: CallKeeper
  readonly #declared: Declared
  readonly #request: ModernRequest
  readonly #stopping = new AbortController()
  /** Undefined while the client is away answering. */
  #round: Round | undefined
  #rounds: number
  #taken: Taken | undefined
  /** Not shown to the client yet. */
  #asks: Ask[] = []
  /** Shown in the last round, by key. */
  #shown = new Map<string, Ask>()
  #lastKey = 0
  /** Came while the client was away. */
  #notes: Fields[] = []
  #notedBytes = 0
  #outcome: Answered | { error: unknown } | undefined

  constructor(keeper: CallKeeper, declared: Declared, request: ModernRequest, rounds: number) {
    this.#keeper = keeper
    this.#declared = declared
    this.#request = request
    this.#rounds = rounds
  }

  enter(request: ModernRequest, signal: AbortSignal): Round {
    this.#round = openRound(request, signal, () => this.abandon())
    return this.#round
  }

  async run(): Promise<void> {
    try {
      const answered = await this.#send()
      if (this.#request.method === 'tools/list') this.#keeper.support.learn(answered.response)
      this.#outcome = answered
    } catch (error) {
      this.#outcome = { error }
    }
    this.#conclude()
  }

  resume(request: ModernRequest, signal: AbortSignal): Round {
    const answers = objectOf(request.inputResponses) ?? {}
    const round = this.enter(request, signal)
    for (const [key, ask] of this.#shown) {
      const answer: unknown = Object.hasOwn(answers, key) ? answers[key] : undefined
      if (!isAnswer(ask.input, answer)) continue
      this.#shown.delete(key)
      this.#taken?.session.respond(ask.id, { result: answer })
    }
    for (const note of this.#notes.splice(0)) round.note(note)
    this.#notedBytes = 0
    if (this.#outcome) this.#conclude()
    else if (this.#shown.size > 0 || this.#asks.length > 0) this.#pause()
    return round
  }

  abandon(): void {
    this.#decline('the client went away')
    this.#stopping.abort()
  }

  /** Once more when the session was gone and the server certainly did not run it, or may run it twice. */
  async #send(): Promise<Answered> {
    const { method } = this.#request
    const first = await this.#attempt()
    if (first.outcome.kind === 'response') return { response: first.outcome.message, facts: first.facts, task: first.task }
    if (this.#lastKey > 0 || (first.outcome.ran && !REPEATABLE.has(method))) throw first.outcome.error
    const second = await this.#attempt()
    if (second.outcome.kind === 'response') return { response: second.outcome.message, facts: second.facts, task: second.task }
    throw second.outcome.error
  }

  async #attempt(): Promise<{ outcome: Outcome; facts: ServerFacts; task: Fields | undefined }> {
    this.#stopping.signal.throwIfAborted()
    const taken = await this.#keeper.sessions.take({ declared: this.#declared, clientInfo: this.#request.clientInfo })
    this.#taken = taken
    try {
      const { session } = taken
      this.#stopping.signal.throwIfAborted()
      const outcome = await session.exchange(this.#exchange(session), this.#stopping.signal)
      const mayBegin = outcome.kind === 'response' && asksForTask(this.#request.method, this.#request.params)
      const task = mayBegin ? this.#keeper.tasks.begin(outcome.message, taken, this.#declared) : undefined
      return { outcome, facts: session.facts, task }
    } finally {
      taken.release()
    }
  }

  #exchange(session: LegacySession): Exchange {
    const { method, params, progressToken, logLevel } = this.#request
    return {
      method,
      params,
      wantsProgress: progressToken !== undefined,
      logLevel,
      onNote: (message) => {
        if (this.#round) this.#round.note(message)
        else this.#keepNote(message)
      },
      ...(MAY_ASK.has(method) && this.#declared.isAskable && { onAsk: (id, asked, given) => this.#asked(session, id, asked, given) }),
      onWithdrawn: (id) => this.#withdraw(id),
    }
  }

  #keepNote(message: Fields): void {
    const size = sizeOf(message)
    if (this.#notedBytes + size > MAX_NOTED_BYTES) return
    this.#notedBytes += size
    this.#notes.push(message)
  }

  #asked(session: LegacySession, id: unknown, method: string, params: Fields): void {
    const read = readAsk(method, params, this.#declared.capabilities)
    if ('declined' in read) return session.respond(id, { error: read.declined })
    const waiting = [...this.#asks, ...this.#shown.values()]
    const size = sizeOf(read.input)
    if (waiting.length >= MAX_ASKS || waiting.reduce((sum, ask) => sum + ask.size, size) > MAX_ASKED_BYTES)
      return session.respond(id, { error: { code: -32603, message: 'too many requests to the client wait for an answer' } })
    this.#asks.push({ id, input: read.input, size })
    // Those that follow at once go to the client together.
    if (this.#asks.length === 1 && this.#round) void setImmediate().then(() => this.#pause())
  }

  #withdraw(id: unknown): void {
    this.#asks = this.#asks.filter((ask) => idKey(ask.id) !== idKey(id))
    for (const [key, ask] of this.#shown) if (idKey(ask.id) === idKey(id)) this.#shown.delete(key)
  }

  /** Ends the round with what the server wants to know. */
  #pause(): void {
    const round = this.#round
    const facts = this.#taken?.session.facts
    if (!round || !facts || this.#outcome || this.#stopping.signal.aborted) return
    for (const ask of this.#asks.splice(0)) this.#shown.set(`input-${++this.#lastKey}`, ask)
    if (this.#shown.size === 0) return
    try {
      this.#assertRounds()
      const inputs = new Map([...this.#shown].map(([key, { input }]) => [key, input]))
      const bytes = this.#keeper.askFor(round, inputs, this.#rounds, facts, this)
      this.#round = undefined
      round.finish(bytes)
    } catch (error) {
      this.#round = undefined
      round.fail(error)
      this.abandon()
    }
  }

  #assertRounds(): void {
    if (++this.#rounds <= MAX_ROUNDS) return
    throw new AppError('resource_exhausted', `the MCP server asked for input more than ${MAX_ROUNDS} times: the call was given up`, {
      details: { http: 200 },
    })
  }

  #decline(message: string): void {
    for (const { id } of [...this.#asks.splice(0), ...this.#shown.values()])
      this.#taken?.session.respond(id, { error: { code: -32603, message } })
    this.#shown.clear()
  }

  /** The answer, to whoever is there to get it; a client that is away finds it when it comes back. */
  #conclude(): void {
    const round = this.#round
    const outcome = this.#outcome
    if (!round || !outcome) return
    this.#round = undefined
    try {
      if ('error' in outcome) throw outcome.error
      if (outcome.task) return round.finish(renderTaskResult(round.request.id, outcome.task, outcome.facts))
      const translated = translateResponse(round.request, outcome.response, outcome.facts)
      if ('bytes' in translated) return round.finish(translated.bytes)
      this.#assertRounds()
      const inputs = new Map(translated.urls.map((input, at) => [`url-${at + 1}`, input]))
      round.finish(this.#keeper.askFor(round, inputs, this.#rounds, outcome.facts, undefined))
    } catch (error) {
      round.fail(error)
    }
  }
}

/** Characters of its text. */
function sizeOf(value: unknown): number {
  return renderExact(value).length
}
