import { AppError } from '../../lib/errors.ts'
import type { Outgoing } from './upstream.ts'

/** What became of a message is not known. */
export function notRepeated(error: AppError, { method = 'the message' }: Outgoing): AppError {
  const why = error.code === 'cancelled' ? 'the MCP server lost the session' : error.message
  return new AppError('unavailable', `${why}; ${method} may have taken effect and was not repeated, the session goes on`, {
    origin: 'upstream',
    cause: error,
  })
}

export function lostAgain(server: string): AppError {
  return new AppError('unavailable', `MCP server "${server}" lost the session again: initialize again`, { origin: 'upstream' })
}
