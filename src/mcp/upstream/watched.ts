import { type AppError, toAppError } from '../../lib/errors.ts'
import type { StopSignal } from '../../lib/stopping.ts'
import type { HealthRecord } from '../hosting/health.ts'
import { classifyLine } from './incoming.ts'
import { SessionAround } from './session-around.ts'
import type { Outgoing, Reply, Upstream, UpstreamSession } from './upstream.ts'

/** The same MCP server; what becomes of its sessions shows how it does. Ends of processes are told by those who start them. */
export function createWatchedUpstream(inner: Upstream, health: HealthRecord): Upstream {
  return {
    isModernOnly: inner.isModernOnly === true,
    health: {
      current: () => health.current(inner.stderrTail()),
      waitMs: () => health.waitMs(),
      note: (reason) => health.failed(reason, true),
      subscribe: (listener) => health.subscribe(listener),
    },
    async open(options) {
      // A program that does not know the question may well end.
      const isProbe = options.purpose === 'era_probe'
      const isCheck = options.purpose === 'health_check'
      const watcher = {
        succeeded: () => health.succeeded(),
        failed: isProbe ? () => undefined : (reason: string) => health.failed(reason, isCheck),
      }
      try {
        return watchedSession(await inner.open(options), watcher)
      } catch (thrown) {
        const error = toAppError(thrown)
        // That it cannot be run as the spec says is the server's; that too many want it, or it is to wait, is not.
        if (error.code === 'failed_precondition' || (isItsFault(error) && !isCrash(error))) watcher.failed(error.message)
        throw error
      }
    },
    stderrTail: () => inner.stderrTail(),
    close: () => inner.close(),
  }
}

/** What a server is asked first, and what every server that works answers. */
const TELLING = new Set(['initialize', 'server/discover', 'tools/list'])

interface Watcher {
  succeeded(): void
  failed(reason: string): void
}

function watchedSession(session: UpstreamSession, health: Watcher): UpstreamSession {
  return new SessionAround(session, (message, signal) =>
    message.kind === 'request' && TELLING.has(message.method ?? '') ? ask(session, message, signal, health) : session.send(message, signal),
  )
}

async function ask(session: UpstreamSession, message: Outgoing, signal: StopSignal, health: Watcher): Promise<Reply> {
  let reply: Reply
  try {
    reply = await session.send(message, signal)
  } catch (thrown) {
    const error = toAppError(thrown)
    if (isItsFault(error) && !isCrash(error)) health.failed(error.message)
    throw error
  }
  if (reply.kind === 'events' || reply.kind === 'stream' || (reply.kind === 'message' && hasResult(reply.bytes))) health.succeeded()
  else if (reply.kind === 'refused' && reply.status >= 500) health.failed(`it answered ${message.method} with HTTP ${reply.status}`)
  return reply
}

/** An error is an answer too, but says nothing: servers refuse what they do not know. */
function hasResult(bytes: Buffer): boolean {
  const incoming = classifyLine(bytes)
  return incoming.kind === 'response' && incoming.result !== undefined
}

function isItsFault({ code, origin }: AppError): boolean {
  return origin !== 'gateway' && (code === 'unavailable' || code === 'deadline_exceeded')
}

/** Already told, by who saw the process end. */
function isCrash({ details }: AppError): boolean {
  return details?.['crashed'] === true
}
