/** One HTTP request with its answer, independent of the connection that carries it. */
export interface HttpExchange {
  method: string
  /** The request target as it was sent, with its query (RFC 9112, 3.2). */
  path: string
  /** Lower-case names; repeated headers joined with `, `. */
  headers: Readonly<Record<string, string>>
  /** The whole body; bounded by whoever read it. */
  body: Buffer
  remoteAddress: string
  /** Fires when the client went away. It may be an accessor, which a copy by spread does not have: name it there. */
  signal: AbortSignal
  answer: Answer
}

/** The answering side: `head` once, then any number of writes, then `end`. */
export interface Answer {
  head(status: number, headers: Readonly<Record<string, string>>): void
  /** False when the client is slow: wait for `drained` before the next write. */
  write(chunk: Uint8Array): boolean
  drained(): Promise<void>
  /** Whether nothing that was written is held any more: the kernel has it all. Absent where that is not known. */
  readonly isFlushed?: boolean
  end(chunk?: Uint8Array): void
  /** Breaks the connection off: the client must not take what it has for a whole answer. */
  abort(reason: string): void
}
