import { AppError } from '../../lib/errors.ts'
import { oneLine } from '../../lib/json-scan.ts'
import { createLineReader } from '../../lib/lines.ts'
import type { Logger } from '../../lib/log.ts'
import { forgetCancelled, renderCancelled } from './cancelled.ts'
import type { Child, Exit } from './child.ts'
import { createListenerSlot } from './listener.ts'
import { createRequestTable } from './request-table.ts'
import type { RequestTable } from './request-table.ts'
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
}

/** One process that speaks MCP on its pipes, and the requests it works on. */
export interface Channel {
  send: UpstreamSession['send']
  /** For what belongs to no request of a legacy server. */
  listen: UpstreamSession['listen']
  /** Why it takes nothing more: its process has ended, or is being ended. */
  readonly dead: AppError | undefined
  /** Settles with the reason when the process ended by itself. */
  readonly ended: Promise<string>
  close(): Promise<void>
}

export function createChannel({ child, server, era, limits, log }: ChannelOptions): Channel {
  let dropped = 0
  let dead: AppError | undefined
  let isClosed = false
  const ended = Promise.withResolvers<string>()

  const drop = (why: string): void => log.debug('dropped a message of an MCP server', { server, why, dropped: ++dropped })
  const listener = createListenerSlot({ maxQueuedBytes: limits.maxQueuedBytes, onDrop: drop })
  const requests: RequestTable = createRequestTable({
    server,
    limits,
    onAbandoned: (request) => {
      if (!dead && request.method !== 'initialize') writeCancelled(child, request.rawId, log)
    },
  })
  const die = (error: AppError): void => {
    if (dead) return
    dead = error
    requests.failAll(error)
    listener.end(isClosed ? undefined : error)
  }
  const toOwnIds = createNumbering(requests)
  const route = { server, era, requests, listener, drop }
  readLines(
    child,
    limits,
    (line) => routeLine(line, route),
    (cause) => {
      // The reader has lost its place in the stream; nothing that follows can be trusted.
      die(lineError(server, limits, cause))
      void child.stop(limits.stopGraceMs)
    },
  )
  void child.exited.then((exit) => {
    die(exitError(server, exit))
    if (!isClosed) ended.resolve(dead?.message ?? exit.reason)
  })

  return {
    ended: ended.promise,
    get dead() {
      return dead
    },
    async send(message, signal) {
      if (dead) throw dead
      if (signal.aborted) throw new AppError('cancelled', 'the request was cancelled before it was sent')
      const own = era === 'modern' ? toOwnIds(message) : message
      return own ? sendTo(child, requests, era, own, signal) : { kind: 'accepted' }
    },
    async listen(_headers, signal) {
      if (dead) throw dead
      if (signal.aborted) throw new AppError('cancelled', 'the stream was cancelled before it was opened')
      return { kind: 'events', events: listener.open(signal) }
    },
    async close() {
      isClosed = true
      die(new AppError('cancelled', `the session with MCP server "${server}" was closed`))
      await child.stop(limits.stopGraceMs)
    },
  }
}

const NEWLINE = Buffer.from('\n')

/** Gives each request an id that no other of this process ever has; undefined for a notification the server must not see. */
function createNumbering(requests: RequestTable): (message: Outgoing) => Renumbered | undefined {
  let lastNumber = 0
  return (message) => {
    if (message.kind === 'request') return renumber(message, String(++lastNumber))
    return message.method === 'notifications/cancelled' ? renumberCancelled(message, requests.findAsWritten) : message
  }
}

function sendTo(
  child: Child,
  requests: RequestTable,
  era: 'legacy' | 'modern',
  message: Renumbered,
  signal: AbortSignal,
): Reply | Promise<Reply> {
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
  return { kind: 'accepted' }
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

function lineError(server: string, { maxLineBytes }: StdioLimits, cause: unknown): AppError {
  const message = `MCP server "${server}" wrote a line of more than ${maxLineBytes} bytes`
  return new AppError('unavailable', message, { origin: 'upstream', cause })
}

function exitError(server: string, exit: Exit): AppError {
  const detail = exit.lastStderr ? `: ${exit.lastStderr.slice(0, 300)}` : ''
  return new AppError('unavailable', `MCP server "${server}" exited (${exit.reason})${detail}`, { origin: 'upstream' })
}
