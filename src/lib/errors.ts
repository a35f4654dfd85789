/**
 * One row a code: what each edge of the system says for it.
 * The words are gRPC's; `rpc` is the JSON-RPC code, `exit` the exit code of a command (`help exit-codes`).
 */
export const CODES = {
  invalid_argument: { http: 400, rpc: -32602, exit: 2, log: 'warn' },
  unauthenticated: { http: 401, rpc: -32603, exit: 3, log: 'warn' },
  permission_denied: { http: 403, rpc: -32602, exit: 5, log: 'warn' },
  not_found: { http: 404, rpc: -32602, exit: 6, log: 'warn' },
  already_exists: { http: 409, rpc: -32602, exit: 6, log: 'warn' },
  aborted: { http: 409, rpc: -32603, exit: 6, log: 'warn' },
  failed_precondition: { http: 412, rpc: -32602, exit: 1, log: 'warn' },
  resource_exhausted: { http: 429, rpc: -32603, exit: 1, log: 'warn' },
  cancelled: { http: 499, rpc: -32603, exit: 130, log: 'debug' },
  deadline_exceeded: { http: 504, rpc: -32603, exit: 124, log: 'warn' },
  unavailable: { http: 503, rpc: -32603, exit: 4, log: 'warn' },
  unimplemented: { http: 501, rpc: -32601, exit: 1, log: 'warn' },
  internal: { http: 500, rpc: -32603, exit: 1, log: 'error' },
} as const satisfies Record<string, { http: number; rpc: number; exit: number; log: 'debug' | 'warn' | 'error' }>

export type Code = keyof typeof CODES

/** Whose an error is when it passes through us on its way to an MCP client. */
export type Origin = 'gateway' | 'upstream' | 'upstream_unreachable'

export interface ErrorOptions {
  /** Machine-readable facts for the caller; never secrets. */
  details?: Record<string, unknown>
  /** The underlying failure: for our log only, never rendered. */
  cause?: unknown
  origin?: Origin
}

/** Every error we raise on purpose. `message` is for the caller; `cause` is for our log only. */
export class AppError extends Error {
  override readonly name = 'AppError'
  readonly code: Code
  readonly details: Record<string, unknown> | undefined
  readonly origin: Origin

  constructor(code: Code, message: string, options: ErrorOptions = {}) {
    super(message, { cause: options.cause })
    this.code = code
    this.details = options.details
    this.origin = options.origin ?? 'gateway'
  }
}

/**
 * The only way an unknown thrown thing becomes an error we may show. An unexpected one gets an id that
 * stands in the answer and, through `details.error_id`, in the log line beside its cause.
 */
export function toAppError(thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown
  const errorId = crypto.randomUUID()
  return new AppError('internal', `internal error (id ${errorId})`, { details: { error_id: errorId }, cause: thrown })
}

export function isCode(text: string): text is Code {
  return Object.hasOwn(CODES, text)
}
