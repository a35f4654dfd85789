import { AppError } from '../../src/lib/errors.ts'
import { createSseParser, frameSse, type SseEvent } from '../../src/lib/sse.ts'
import { toAbortSignal } from '../../src/lib/stopping.ts'
import type { OpenOptions, Outgoing, Reply, Upstream, UpstreamSession } from '../../src/mcp/upstream/upstream.ts'

/** How the fake answers a request; `signal` fires when nobody wants the answer any more. */
export type Script = (message: Outgoing, signal: AbortSignal) => Reply | Promise<Reply>

export interface MemoryUpstream extends Upstream {
  /** The bytes of everything that was sent, oldest first. */
  sent: string[]
  opened: OpenOptions[]
  /** The headers of everybody who listened, oldest first. */
  listened: Readonly<Record<string, string>>[]
  /** Conversations that were closed. */
  closed: number
  /** What all conversations say of themselves. */
  isWaiting: boolean
  /** Replaced by a test. */
  script: Script
  /** Awaited before a conversation is open. */
  gate: Promise<void>
  /** Ends the last conversation from the server's side. */
  exit(reason: string): void
  /** Sends an event to the listener of the last conversation. */
  emit(data: string): void
}

export const INITIALIZED = '{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"fake","version":"1"}}'

/** An MCP server in memory: `initialize` is answered, everything else by `script`. */
export function createMemoryUpstream(script: Script = (message) => result(message, '{}')): MemoryUpstream {
  let exit: (reason: string) => void = () => undefined
  let listener: ReturnType<typeof openStream> | undefined
  const upstream: MemoryUpstream = {
    sent: [],
    opened: [],
    listened: [],
    closed: 0,
    isWaiting: false,
    script,
    gate: Promise.resolve(),
    exit: (reason) => exit(reason),
    emit: (data) => listener?.push(data),
    async open(options) {
      upstream.opened.push(options)
      await upstream.gate
      const ended = Promise.withResolvers<string>()
      exit = ended.resolve
      const session: UpstreamSession = {
        ended: ended.promise,
        externalId: undefined,
        get isWaiting() {
          return upstream.isWaiting
        },
        async send(message, signal) {
          upstream.sent.push(message.bytes.toString('utf8'))
          if (message.kind !== 'request') return { kind: 'accepted' }
          if (message.method === 'initialize') return result(message, INITIALIZED.replace('2025-11-25', askedRevision(message)))
          const wanted = toAbortSignal(signal)
          return untilAborted(Promise.resolve(upstream.script(message, wanted)), wanted)
        },
        async listen(headers, signal) {
          upstream.listened.push(headers)
          const own = (listener = openStream())
          signal.addEventListener('abort', own.end, { once: true })
          return { kind: 'events', events: own.events }
        },
        async close() {
          upstream.closed += 1
        },
      }
      return session
    },
    stderrTail: () => [],
    close: () => Promise.resolve(),
  }
  return upstream
}

/** A legacy server agrees to any legacy revision. */
function askedRevision({ bytes }: Outgoing): string {
  return /"protocolVersion":"(202[45]-[-0-9]+)"/.exec(bytes.toString('utf8'))?.[1] ?? '2025-11-25'
}

/** A response with this JSON text as its result. */
export function result(message: Outgoing, text: string): Reply {
  return { kind: 'message', bytes: Buffer.from(`{"jsonrpc":"2.0","id":${message.id},"result":${text}}`) }
}

/** The same as the only event of a stream. */
export function streamed(message: Outgoing, text: string): Reply {
  return eventsOf([`{"jsonrpc":"2.0","id":${message.id},"result":${text}}`])
}

export function eventsOf(data: readonly string[]): Reply {
  const parser = createSseParser()
  const events = data.flatMap((one) => parser.push(frameSse({ data: one })))
  return { kind: 'events', events: each(events) }
}

async function* each(events: readonly SseEvent[]): AsyncGenerator<SseEvent> {
  yield* events
}

/** An answer that never comes, until it is not wanted any more. */
export function never(signal: AbortSignal): Promise<Reply> {
  return untilAborted(new Promise(() => undefined), signal)
}

function untilAborted(reply: Promise<Reply>, signal: AbortSignal): Promise<Reply> {
  const { promise, reject } = Promise.withResolvers<Reply>()
  const onAbort = (): void => reject(new AppError('cancelled', 'the request was cancelled'))
  if (signal.aborted) onAbort()
  signal.addEventListener('abort', onAbort, { once: true })
  return Promise.race([reply, promise]).finally(() => signal.removeEventListener('abort', onAbort))
}

function openStream(): { events: AsyncIterable<SseEvent>; push(data: string): void; end(): void } {
  const waiting: (SseEvent | undefined)[] = []
  let wake = Promise.withResolvers<void>()
  const put = (event: SseEvent | undefined): void => {
    waiting.push(event)
    wake.resolve()
    wake = Promise.withResolvers()
  }
  async function* read(): AsyncGenerator<SseEvent> {
    for (;;) {
      if (waiting.length === 0) await wake.promise
      while (waiting.length > 0) {
        const event = waiting.shift()
        if (!event) return
        yield event
      }
    }
  }
  const parser = createSseParser()
  return {
    events: read(),
    push: (data) => parser.push(frameSse({ data })).forEach(put),
    end: () => put(undefined),
  }
}
