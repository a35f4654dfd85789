import { AppError, toAppError } from '../../lib/errors.ts'
import { oneLine } from '../../lib/json-scan.ts'
import { createLineReader } from '../../lib/lines.ts'
import type { Logger } from '../../lib/log.ts'
import type { StopSignal } from '../../lib/stopping.ts'
import { forgetCancelled, renderCancelled } from './cancelled.ts'
import type { Child, Exit } from './child.ts'
import { createListenerSlot } from './listener.ts'
import type { ListenerSlot } from './listener.ts'
import { createIdleTimer } from './idle-timer.ts'
import type { Owner } from './in-flight.ts'
import { createRequestTable } from './request-table.ts'
import type { RequestTable } from './request-table.ts'
import { Agreed } from './message-batch.ts'
import { routeLine } from './route-line.ts'
import { renumber, renumberCancelled } from './stdio-ids.ts'
import type { Renumbered } from './stdio-ids.ts'
import type { StdioLimits } from './stdio-limits.ts'
import type { Outgoing, Reply, UpstreamSession } from './upstream.ts'

export interface ChannelOptions {
  child: Child
  server: string
  era: 'legacy' | 'modern'
  limits: StdioLimits
  log: Logger
  /** Whether conversations of several callers use the process. */
  isShared?: boolean
  /** Milliseconds of a clock that only goes forward. */
  now?: () => number
  /** Ends the process after so many milliseconds without use. */
  idleMs?: number | undefined
  /** It waits for a session, however long: see `adopt`. */
  isSpare?: boolean
}

/** One process that speaks MCP on its pipes, and the requests it works on. */
export interface Channel {
  /** @param owner whose request it is, where several conversations use the process. */
  send(message: Outgoing, signal: StopSignal, owner?: Owner): Promise<Reply>
  /** Fails what is under way of one owner, and tells the server. */
  abandon(owner: Owner, why: AppError): void
  /** For what belongs to no request of a legacy server. */
  listen: UpstreamSession['listen']
  /** Why it takes nothing more: its process has ended, or is being ended. */
  readonly dead: AppError | undefined
  /** Settles with the reason when the process ended by itself. */
  readonly ended: Promise<string>
  /** It was ended for want of use. */
  readonly isIdleStopped: boolean
  /** A session has it from now on: it is ended when that does not use it. */
  adopt(): void
  close(): Promise<void>
}

export function createChannel(options: ChannelOptions): Channel {
  return new StdioChannel(options)
}

class StdioChannel implements Channel {
  readonly #options: ChannelOptions
  readonly #requests: RequestTable
  readonly #listener: ListenerSlot
  readonly #idle: ReturnType<typeof createIdleTimer>
  readonly #toOwnIds: ReturnType<typeof createNumbering>
  readonly #ended = Promise.withResolvers<string>()
  #dead: AppError | undefined
  #isClosed = false
  #isIdleStopped = false
  #isSpare: boolean

  constructor(options: ChannelOptions) {
    const { child, server, era, limits, log, isShared, isSpare = false, idleMs, now = () => performance.now() } = options
    const garbage = createGarbageCount(limits, now)
    let lineBytes = 0
    const drop = (why: string): void => {
      const total = garbage.add(lineBytes)
      if (this.#dead) return
      log.debug('dropped a message of an MCP server', { server, why, dropped: total })
      if (garbage.isTooMuch()) this.#endWith(garbageError(server), FLOOD_GRACE_MS)
    }
    this.#options = options
    this.#isSpare = isSpare
    this.#listener = createListenerSlot({ maxQueuedBytes: limits.maxQueuedBytes, onDrop: drop })
    this.#requests = createRequestTable({
      server,
      limits,
      maxInFlightOfOne: isShared ? limits.maxInFlightOfOne : undefined,
      onAbandoned: (request) => {
        if (request.method !== 'initialize') this.#tellCancelled(request.rawId)
      },
    })
    this.#toOwnIds = createNumbering(this.#requests)
    this.#idle = createIdleTimer({ ms: idleMs, isBusy: () => this.#requests.size > 0 || this.#isSpare, onIdle: () => this.#stopIdle() })
    const route = {
      server,
      era,
      requests: this.#requests,
      listener: this.#listener,
      isShared: isShared === true,
      agreed: new Agreed(),
      drop,
    }
    const onLine = (line: Buffer): void => {
      if (this.#dead) return
      this.#idle.touch()
      lineBytes = line.length
      routeLine(line, route)
    }
    readLines(child, limits, onLine, (cause) => {
      // The reader has lost its place in the stream; nothing that follows can be trusted.
      this.#endWith(lineError(server, limits, cause))
    })
    void child.exited.then((exit) => {
      this.#idle.close()
      this.#die(exitError(server, exit))
      if (!this.#isClosed) this.#ended.resolve(this.#dead?.message ?? exit.reason)
    })
  }

  get ended(): Promise<string> {
    return this.#ended.promise
  }

  get dead(): AppError | undefined {
    return this.#dead
  }

  get isIdleStopped(): boolean {
    return this.#isIdleStopped
  }

  send(message: Outgoing, signal: StopSignal, owner: Owner = NOBODY): Promise<Reply> {
    if (this.#dead) return Promise.reject(this.#dead)
    if (signal.aborted) return Promise.reject(new AppError('cancelled', 'the request was cancelled before it was sent'))
    const { child, era } = this.#options
    this.#idle.touch()
    try {
      const own = era === 'modern' ? this.#toOwnIds(message, owner) : message
      return own ? sendTo(child, this.#requests, era, own, signal) : ACCEPTED
    } catch (thrown) {
      return Promise.reject(toAppError(thrown))
    }
  }

  abandon(owner: Owner, why: AppError): void {
    for (const request of this.#requests.of(owner)) {
      this.#requests.abandon(request.id)
      request.fail(why)
      this.#tellCancelled(request.rawId)
    }
  }

  async listen(_headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Extract<Reply, { kind: 'events' }>> {
    if (this.#dead) throw this.#dead
    if (signal.aborted) throw new AppError('cancelled', 'the stream was cancelled before it was opened')
    return { kind: 'events', events: this.#listener.open(signal) }
  }

  adopt(): void {
    this.#isSpare = false
    this.#idle.touch()
  }

  async close(): Promise<void> {
    const { child, server, limits } = this.#options
    this.#isClosed = true
    this.#die(new AppError('cancelled', `the session with MCP server "${server}" was closed`))
    await child.stop(limits.stopGraceMs)
  }

  #die(error: AppError): void {
    if (this.#dead) return
    this.#dead = error
    this.#requests.failAll(error)
    this.#listener.end(this.#isClosed ? undefined : error)
  }

  #stopIdle(): void {
    this.#isIdleStopped = true
    this.#endWith(new AppError('unavailable', `MCP server "${this.#options.server}" was stopped for want of use`, { origin: 'upstream' }))
  }

  #endWith(error: AppError, graceMs = this.#options.limits.stopGraceMs): void {
    this.#die(error)
    void this.#options.child.stop(graceMs)
  }

  #tellCancelled(rawId: string): void {
    if (!this.#dead) writeCancelled(this.#options.child, rawId, this.#options.log)
  }
}

/** Whose requests are those of a process with one conversation. */
const NOBODY: Owner = {}

/** For a program that keeps us busy until it ends. */
const FLOOD_GRACE_MS = 500

const NEWLINE = Buffer.from('\n')
const ACCEPTED: Promise<Reply> = Promise.resolve({ kind: 'accepted' })

/** Gives each request an id that no other of this process ever has; undefined for a notification the server must not see. */
function createNumbering(requests: RequestTable): (message: Outgoing, owner: Owner) => Renumbered | undefined {
  let lastNumber = 0
  return (message, owner) => {
    if (message.kind === 'request') return renumber(message, String(++lastNumber), owner)
    if (message.method !== 'notifications/cancelled') return message
    return renumberCancelled(message, (key) => requests.findAsWritten(key, owner))
  }
}

function sendTo(child: Child, requests: RequestTable, era: 'legacy' | 'modern', message: Renumbered, signal: StopSignal): Promise<Reply> {
  if (message.kind === 'request') {
    requests.check(message)
    write(child, message.bytes)
    return requests.add(message, signal).reply
  }
  // MCP 2026-07-28, basic/transports/stdio: clients must not write responses.
  if (message.kind === 'response' && era === 'modern')
    throw new AppError('invalid_argument', 'clients send no responses in this protocol revision')
  write(child, message.bytes)
  if (message.method === 'notifications/cancelled') forgetCancelled(requests, message)
  return ACCEPTED
}

function write(child: Child, bytes: Buffer): void {
  child.write(oneLine(bytes))
  child.write(NEWLINE)
}

function writeCancelled(child: Child, rawId: string, log: Logger): void {
  try {
    write(child, renderCancelled(rawId))
  } catch (error) {
    log.debug('an MCP server could not be told of a cancellation', { error })
  }
}

function readLines(child: Child, { maxLineBytes }: StdioLimits, onLine: (line: Buffer) => void, onLost: (cause: unknown) => void): void {
  const lines = createLineReader({ maxLineBytes })
  child.onOutput((chunk) => {
    let complete: Buffer[]
    try {
      complete = lines.push(chunk)
    } catch (cause) {
      return onLost(cause)
    }
    for (const line of complete) onLine(line)
  })
}

interface GarbageCount {
  /** Counts one line; gives the number of all so far. */
  add(bytes: number): number
  isTooMuch(): boolean
}

/** Lines that belong to nothing cost us as much as others: they are borne as long as they are few. */
function createGarbageCount({ maxGarbageLines, maxGarbageBytes, garbageMs }: StdioLimits, now: () => number): GarbageCount {
  let window = { from: now(), lines: 0, bytes: 0 }
  let total = 0
  return {
    add(bytes) {
      if (now() - window.from >= garbageMs) window = { from: now(), lines: 0, bytes: 0 }
      window.lines += 1
      window.bytes += bytes
      return ++total
    },
    isTooMuch: () => window.lines > maxGarbageLines || window.bytes > maxGarbageBytes,
  }
}

function garbageError(server: string): AppError {
  const words = `MCP server "${server}" floods its standard output with lines that are no answer to anything`
  return new AppError('unavailable', words, { origin: 'upstream' })
}

function lineError(server: string, { maxLineBytes }: StdioLimits, cause: unknown): AppError {
  const message = `MCP server "${server}" wrote a line of more than ${maxLineBytes} bytes`
  return new AppError('unavailable', message, { origin: 'upstream', cause })
}

function exitError(server: string, exit: Exit): AppError {
  const detail = exit.lastStderr ? `: ${exit.lastStderr.slice(0, 300)}` : ''
  return new AppError('unavailable', `MCP server "${server}" exited (${exit.reason})${detail}`, {
    origin: 'upstream',
    details: { crashed: !exit.clean },
  })
}
