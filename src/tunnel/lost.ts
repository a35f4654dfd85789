import { AppError, CODES } from '../lib/errors.ts'
import type { Exchange } from './exchange.ts'
import type { TunnelFault } from './fault.ts'

/** What `details.carried_out` of an error says: with `no` the request may be sent again, somewhere else too. */
export type CarriedOut = 'no' | 'unknown'

/** Why a request got no answer from the agent behind a tunnel. `peer` names that, as in `the agent "build-7"`. */
export function lostError(fault: TunnelFault, peer: string, wasSent: boolean): AppError {
  const carriedOut: CarriedOut = wasSent && fault.code !== 'refused' ? 'unknown' : 'no'
  const outcome =
    carriedOut === 'no'
      ? 'the request was not carried out: try again in a moment'
      : 'the request may or may not have been carried out: check before you repeat it'
  return new AppError('unavailable', `${reasonOf(fault, peer, wasSent)}; ${outcome}`, {
    details: { carried_out: carriedOut },
    cause: fault,
    origin: 'gateway',
  })
}

function reasonOf({ code, message }: TunnelFault, peer: string, wasSent: boolean): string {
  if (code === 'refused') return `${peer} took no more requests (${message})`
  if (!wasSent) return `${peer} is not connected any more`
  if (code === 'internal') return `${peer} failed`
  if (code === 'protocol') return `${peer} broke the rules of the tunnel (${message})`
  return `the connection of ${peer} was lost (${message})`
}

/** An error as the answer to an exchange of which nothing was answered: the form in which every agent refuses. */
export function answerError({ answer }: Exchange, error: AppError): void {
  const { http, rpc } = CODES[error.code]
  const status = error.details?.['http']
  const body = Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: null, error: { code: rpc, message: error.message } }))
  answer.head(typeof status === 'number' ? status : http, {
    'content-type': 'application/json',
    'content-length': String(body.length),
    'cache-control': 'no-store',
    'sallyport-error-origin': error.origin,
  })
  answer.end(body)
}
