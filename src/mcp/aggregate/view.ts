import type { HttpExchange } from '../../lib/http-exchange.ts'

/** A server as one caller may use it. */
export interface Member {
  name: string
  description?: string
  /**
   * The endpoint of that server alone (`/mcp/apps/NAME`) for this caller: any exchange goes in and is answered through `exchange.answer`.
   * Never throws, and answers every exchange in the end.
   */
  serve(exchange: HttpExchange): void
}

/** What has a name that is unique over all servers. */
export type NamedKind = 'tool' | 'prompt'

/** Where an exposed name leads. */
export interface NamedTarget {
  server: string
  /** The name that the server itself gave. */
  original: string
}

/**
 * What one caller sees at one URL. Everything in it is asked anew for every exchange; the members say nothing about what the caller may
 * do with them, which each server's own endpoint decides. Whatever is asynchronous has a deadline of its own.
 */
export interface View {
  /** Who, and through which URL: sessions, cursors and kept lists belong to it. Two sets are two owners. */
  owner: string
  /** When the credential ends, in milliseconds since 1970. */
  expiresAt: number
  /** Why the caller may not go on (a lock, a revocation); undefined when it may. Asked on every request. */
  reasonToLeave(): string | undefined
  /** In any order, names unique. @throws AppError as the Auth Service refuses. */
  members(): Promise<readonly Member[]>
  /** Exposed names of a server's tools or prompts, stored and unique over all servers, in the order asked; undefined for one without a place. */
  namesFor(server: string, what: NamedKind, originals: readonly string[]): Promise<readonly (string | undefined)[]>
  /** What an exposed name stands for, also after a restart and on another proxy. */
  findName(what: NamedKind, exposed: string): Promise<NamedTarget | undefined>
  /** Only these tools are shown and callable here; absent: all. */
  includesTool?(server: string, tool: string): boolean
  /** `search`: `search_tools` and `call_tool` in place of the catalogue; `auto`: when the client's limit of tools is passed. */
  discovery: 'full' | 'search' | 'auto'
  /** A word to the model, above what the servers themselves say. */
  instructions?: string
}
