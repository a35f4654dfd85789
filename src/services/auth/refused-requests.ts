import { buildEvent } from '../../audit/build-event.ts'
import { type AppError, toAppError } from '../../lib/errors.ts'
import type { AuthContext } from './context.ts'
import { checkSource } from './source.ts'

/** A request for a page or a form of one, as its connection shows it. */
export interface SentRequest {
  method: string
  /** Without query. */
  path: string
  remoteAddress: string
}

/** Writes down that a request was refused for where it came from, or for a form that no page of ours gave this browser. */
export async function recordRefusedRequest({ journal, build }: AuthContext, request: SentRequest, { message }: AppError): Promise<void> {
  const { method, path, remoteAddress } = request
  const event = { remote_addr: remoteAddress, success: false, error: message, method, path: path.slice(0, 500) }
  await journal.record([buildEvent('web.request.denied', event, build)])
}

/** As `checkSource`; what is refused is in the audit log, in bounds. Throws `permission_denied`, or `resource_exhausted` beyond them. */
export async function requireSource(context: AuthContext, request: SentRequest, source: Parameters<typeof checkSource>[1]): Promise<void> {
  try {
    checkSource(context, source)
  } catch (thrown) {
    await noteRefusedRequest(context, request, toAppError(thrown))
    throw thrown
  }
}

/** In bounds: anybody can send such. Throws `resource_exhausted` beyond them. */
export async function noteRefusedRequest(context: AuthContext, request: SentRequest, error: AppError): Promise<void> {
  await context.limits.countPublicCall(request.remoteAddress)
  await recordRefusedRequest(context, request, error)
}
