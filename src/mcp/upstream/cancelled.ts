import { AppError } from '../../lib/errors.ts'
import { cancelledIdOf } from './incoming.ts'
import type { RequestTable } from './request-table.ts'
import type { Outgoing } from './upstream.ts'

/** Tells a server that nobody waits for the answer to the request with this raw id any more. */
export function renderCancelled(rawId: string): Buffer {
  return Buffer.from(
    `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":${rawId},"reason":"cancelled by the client"}}`,
  )
}

/** The client cancels by itself with this `notifications/cancelled`: the server may be silent from now on, so nobody must wait for it. */
export function forgetCancelled(requests: RequestTable, message: Outgoing): void {
  const id = cancelledIdOf(message.bytes)
  const request = id === undefined ? undefined : requests.find(id)
  if (!request || request.method === 'initialize') return
  requests.abandon(request.id)
  request.fail(new AppError('cancelled', `${request.method} was cancelled by the client`))
}
