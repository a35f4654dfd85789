import { type AppError, CODES } from '../lib/errors.ts'
import { renderRpcError } from './message.ts'

/** Tells a client (and the person behind it) whose an error is. */
export const ORIGIN_HEADER = 'sallyport-error-origin'

export interface RenderedFailure {
  status: number
  bytes: Buffer
  headers: Record<string, string>
}

/** An error as the answer to the request with this id: HTTP status, JSON-RPC body, and whose it is. */
export function renderFailure(error: AppError, id: string | undefined): RenderedFailure {
  return {
    status: statusOf(error),
    bytes: renderRpcError(id, rpcOf(error), error.message, error.details?.['data']),
    headers: { [ORIGIN_HEADER]: error.origin },
  }
}

function statusOf(error: AppError): number {
  const status = error.details?.['http']
  if (typeof status === 'number') return status
  return error.origin !== 'gateway' && error.code === 'unavailable' ? 502 : CODES[error.code].http
}

export function rpcOf(error: AppError): number {
  const rpc = error.details?.['rpc']
  return typeof rpc === 'number' ? rpc : CODES[error.code].rpc
}

/** HTTP status that the modern revision asks for with an error code (2026-07-28, Streamable HTTP). */
export function modernStatus(rpc: unknown): number {
  if (rpc === -32601) return 404
  return rpc === -32020 || rpc === -32021 || rpc === -32022 || rpc === -32700 || rpc === -32600 ? 400 : 200
}
