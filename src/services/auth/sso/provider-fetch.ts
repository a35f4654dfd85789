import { AppError } from '../../../lib/errors.ts'
import { readBounded } from '../../../lib/read-bounded.ts'
import { checkIssuerUrl } from '../join/issuer-keys.ts'

export const PROVIDER_TIMEOUT_MS = 10_000
const MAX_BYTES = 1024 * 1024

/** What an identity provider is asked by: https, or http on this machine; no redirects; within bounds of time and size. Throws `unavailable`. */
export async function fetchFromProvider(address: string, init: RequestInit): Promise<Response> {
  const url = new URL(address)
  checkIssuerUrl(`${url.origin}${url.pathname}`)
  try {
    const { status, headers, body } = await fetch(url, { ...init, redirect: 'error', signal: AbortSignal.timeout(PROVIDER_TIMEOUT_MS) })
    const kept = new Headers(headers)
    // They describe what came over the line, not what is handed on.
    for (const name of ['content-encoding', 'content-length', 'transfer-encoding']) kept.delete(name)
    const tooLarge = (): AppError => new AppError('unavailable', `an answer of the identity provider at ${url.origin} is larger than 1 MiB`)
    const bytes = body ? await readBounded(body, MAX_BYTES, tooLarge) : undefined
    return new Response(bytes && bytes.length > 0 ? new Uint8Array(bytes) : null, { status, headers: kept })
  } catch (cause) {
    if (cause instanceof AppError) throw cause
    throw new AppError('unavailable', `the identity provider at ${url.origin} cannot be reached, or redirects: try again`, { cause })
  }
}
