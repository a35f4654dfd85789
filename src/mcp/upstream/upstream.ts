import type { SseEvent } from '../../lib/sse.ts'
import type { StopSignal } from '../../lib/stopping.ts'
import type { Health } from '../../resources/app-server.ts'
import type { Identity } from '../../resources/identity.ts'
import type { Fields } from '../message.ts'
import type { OwnHeaders } from './own-headers.ts'

export interface CallerProof {
  identity: Identity
  /** The route assertion. */
  assertion: string
}

/** A large response, passed on as it comes. */
export interface LargeReply {
  kind: 'stream'
  chunks: AsyncIterable<Uint8Array>
  /** In bytes, when the server says so: there will be as many, or an error. */
  length?: number | undefined
  /** Of a chunk that nobody looks at any more: its memory is used again. */
  giveBack?(chunk: Uint8Array): void
}

/** One client message on its way to the MCP server: judged, unambiguous, a single JSON object. */
export interface Outgoing {
  kind: 'request' | 'notification' | 'response'
  /** Exactly what was judged; what is sent is this. */
  bytes: Buffer
  /** Raw JSON text of the id (`7`, `"a"`, `12345678901234567890`); requests and responses only. */
  id: string | undefined
  method: string | undefined
  /** Raw JSON text of `params._meta.progressToken`, for routing of progress. */
  progressToken: string | undefined
  /** Protocol headers to send on over HTTP (`accept`, `mcp-protocol-version`, `mcp-method`, `mcp-name`, `mcp-param-*`); nothing of the client's own hop. */
  headers: Readonly<Record<string, string>>
  /** The answer has to be read as a whole, because a list in it is filtered. */
  whole: boolean
  /** Whose message it is, and what proved it, as verified for it alone: a session outlives the credential that opened it. */
  caller?: CallerProof
}

/** What the MCP server said to one message. */
export type Reply =
  /** A notification or a response was taken. */
  | { kind: 'accepted' }
  /** The response, one JSON message; `value` is what `readPlainResponse` makes of the bytes, where it was read on the way. */
  | { kind: 'message'; bytes: Buffer; value?: Fields }
  | LargeReply
  /** Messages, the response being the last; raw bytes of every event, comments included, are kept. */
  | { kind: 'events'; events: AsyncIterable<SseEvent> }
  /** The server answered with an HTTP error of its own. */
  | { kind: 'refused'; status: number; bytes: Buffer; contentType: string }

/**
 * One conversation with an MCP server.
 * Fails with `unavailable` (origin `upstream_unreachable`) when the server cannot be reached or went away, `deadline_exceeded` when it is
 * too slow, `unavailable` (origin `upstream`) when what it says is not the protocol.
 */
export interface UpstreamSession {
  /**
   * Sends a message. When `signal` fires the request is cancelled at the server and the promise or iteration rejects with `cancelled`.
   * No method, so that the compiler refuses one that takes an AbortSignal only.
   */
  send: (message: Outgoing, signal: StopSignal) => Promise<Reply>
  /** Messages that belong to no request (the GET stream of streamable HTTP); one listener at a time, a new one takes over. */
  listen(headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Extract<Reply, { kind: 'events' | 'refused' }>>
  /** Settles with the reason when the conversation ended by itself: the process exited, the pipe broke. Never rejects. */
  readonly ended: Promise<string>
  /** The upstream's own session id, for the audit log. */
  readonly externalId: string | undefined
  /** Whether something here waits for the client to come back, so that it must not end for want of use. Absent: nothing ever does. */
  readonly isWaiting?: boolean
  /** Ends it for good, process tree and all; safe to call twice. Resolves when nothing is left. */
  close(): Promise<void>
}

/** What a server is told of its caller beside headers. Both are asked for when they are needed: what is signed is good for minutes. */
export interface CallerWords {
  /** Environment variables for a process that serves this caller alone. */
  env(): Readonly<Record<string, string>> | Promise<Readonly<Record<string, string>>>
  /** Members for `_meta` of a request, as JSON text without braces; '' for none. `from`: whose request it is, where that is known of it alone. */
  meta(from: CallerProof | undefined): string | Promise<string>
}

export interface OpenOptions {
  /** `legacy` conversations serve one client session; `modern` ones any number of concurrent requests of one caller. */
  era: 'legacy' | 'modern'
  /** They win over everything else. */
  headers: OwnHeaders
  /** What else the server is told of who calls. */
  words?: CallerWords | undefined
  /** Set when it is the agent itself that wants to know something: in a conversation that may be the death of a program, or whether the server works. */
  purpose?: 'era_probe' | 'health_check'
  /** Who calls, for the demo server and the child's log lines. */
  caller: { name: string; kind: string; roles: readonly string[] }
  /** What the audit log says of the session: for servers inside the agent that record more than its messages. */
  session?: { identity: Identity; sid: string; remoteAddress: string }
}

/** How an MCP server does, as seen by who reaches it. */
export interface UpstreamHealth {
  current(): Health
  /** It failed in a way that its sessions do not show. */
  note(reason: string): void
  /** Milliseconds for which it is left alone. */
  waitMs(): number
  /** Told after each failure, and each change. */
  subscribe(listener: () => void): void
}

/** How an MCP server is reached; one per registered server. */
export interface Upstream {
  open(options: OpenOptions): Promise<UpstreamSession>
  /** It has modern conversations only: it need not be asked for others. */
  readonly isModernOnly?: boolean
  /** How the server does; absent where nobody watches. */
  readonly health?: UpstreamHealth
  /** The last lines the server wrote to stderr, oldest first; empty for HTTP servers. */
  stderrTail(): string[]
  close(): Promise<void>
}
