import type { IncomingMessage, ServerResponse } from 'node:http'
import { AppError, toAppError } from '../../lib/errors.ts'
import { urlOf } from './challenge.ts'
import type { DpopProofs } from './dpop.ts'
import { countHeader } from './edge-checks.ts'

const BEARER = /^Bearer +[A-Za-z0-9._~+/=-]{1,65536}$/i
const DPOP = /^DPoP +([A-Za-z0-9._~+/=-]{1,65536})$/i

/** @throws AppError unauthenticated unless there is exactly one bearer token (RFC 6750 §2.1). */
export function bearerOf(request: IncomingMessage): string {
  return readBearer(countHeader(request, 'authorization') > 1 ? undefined : request.headers.authorization)
}

/** @throws AppError unauthenticated unless it is a bearer token (RFC 6750 §2.1). */
export function readBearer(authorization: string | undefined): string {
  if (authorization === undefined || !BEARER.test(authorization))
    throw new AppError('unauthenticated', 'sign in: a bearer token is required, of OAuth, of tctl api-tokens add, or by tsh mcp connect')
  return authorization.slice('Bearer'.length).trimStart()
}

/** Whether a request brings a token that is bound to a key (RFC 9449). */
export function isBound({ headers }: IncomingMessage): boolean {
  return DPOP.test(headers.authorization ?? '')
}

/**
 * The token of a request and, after a space, the thumbprint of the key that its sender has proved to hold: the two are one credential. `use` is to be
 * called once it has proved good; see `DpopProofs`. The answer, whatever it is, says which nonce is to be in the next proof. What is refused is in the audit log.
 * @throws AppError unauthenticated unless there is one token with one proof for this request.
 */
export async function boundOf(
  request: IncomingMessage,
  response: ServerResponse,
  proofs: DpopProofs,
): Promise<{ credential: string; use(): Promise<void> }> {
  response.setHeader('dpop-nonce', proofs.nonce)
  const noted = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (thrown) {
      const error = toAppError(thrown)
      // To be sent back for a nonce is a step of the protocol.
      if (error.code === 'unauthenticated' && error.details?.['challenge'] !== 'use_dpop_nonce')
        await proofs.noteRefusal(pathOf(request.url), request.socket.remoteAddress ?? '', error.message)
      throw thrown
    }
  }
  const { credential, use } = await noted(async () => await proven(request, proofs))
  return { credential, use: async () => await noted(use) }
}

async function proven(request: IncomingMessage, proofs: DpopProofs): Promise<{ credential: string; use(): Promise<void> }> {
  const token = DPOP.exec(request.headers.authorization ?? '')?.[1]
  const { dpop } = request.headers
  const url = urlOf(request)
  if (token === undefined || url === undefined || countHeader(request, 'authorization') > 1)
    throw new AppError('unauthenticated', 'one DPoP token is required')
  if (typeof dpop !== 'string' || countHeader(request, 'dpop') > 1)
    throw new AppError('unauthenticated', 'one DPoP proof is required', { details: { challenge: 'invalid_dpop_proof' } })
  const { thumbprint, use } = await proofs.verify(dpop, { method: request.method ?? '', url, token })
  return { credential: `${token} ${thumbprint}`, use }
}

function pathOf(url = ''): string {
  return url.split('?', 1)[0] ?? ''
}
