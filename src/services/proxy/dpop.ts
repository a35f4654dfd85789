import { createHash } from 'node:crypto'
import { calculateJwkThumbprint, EmbeddedJWK, jwtVerify } from 'jose'
import { AppError } from '../../lib/errors.ts'

const ALGORITHMS = ['ES256', 'EdDSA']
const MAX_PROOF_CHARACTERS = 4096
/** How old a proof may be, and how far ahead its maker's clock. */
const MAX_AGE_SECONDS = 60
const MAX_AHEAD_SECONDS = 10
/** Proofs of the last minute that are remembered; beyond it new ones are refused. */
const MAX_REMEMBERED = 100_000

export interface ProofRequest {
  method: string
  /** As the client wrote it, without query: `https://HOST[:PORT]/PATH`. */
  url: string
  token: string
}

/**
 * Proofs that whoever presents a token holds its key (RFC 9449). Each is good for one request, here: another process of the cluster does not
 * know of it.
 */
export class DpopProofs {
  readonly #now: () => number
  /** Key and id of proofs → when they are over, oldest first; ms since 1970. */
  readonly #seen = new Map<string, number>()

  /** @param now ms since 1970. */
  constructor(now: () => number) {
    this.#now = now
  }

  /**
   * The thumbprint (RFC 7638) of the key that signed the proof; `use` counts its one use, once it is known that the token is good: strangers can
   * make proofs for tokens of their invention, and must not fill the memory of them. It throws for a proof that was used before.
   * @throws AppError unauthenticated, with the detail `challenge`, for a proof that is not one for this request now (section 4.3).
   */
  async verify(proof: string, { method, url, token }: ProofRequest): Promise<{ thumbprint: string; use(): void }> {
    if (proof.length > MAX_PROOF_CHARACTERS) throw refused('it is too long')
    const { payload, protectedHeader } = await jwtVerify(proof, EmbeddedJWK, {
      typ: 'dpop+jwt',
      algorithms: ALGORITHMS,
      currentDate: new Date(this.#now()),
    }).catch((cause: unknown) => {
      throw refused('it is not a signed proof', cause)
    })
    const { htm, htu, ath, jti, iat } = payload
    const now = this.#now() / 1000
    if (htm !== method || typeof htu !== 'string' || !isSameUrl(htu, url)) throw refused('it is for another request')
    if (ath !== createHash('sha256').update(token).digest('base64url')) throw refused('it is for another token')
    if (typeof iat !== 'number' || iat < now - MAX_AGE_SECONDS || iat > now + MAX_AHEAD_SECONDS)
      throw refused('it is not of this moment: check the clock')
    if (typeof jti !== 'string' || jti === '' || !protectedHeader.jwk) throw refused('it has no id')
    const thumbprint = await calculateJwkThumbprint(protectedHeader.jwk, 'sha256')
    const key = createHash('sha256').update(`${thumbprint} ${jti}`).digest('base64url')
    return { thumbprint, use: () => this.#remember(key) }
  }

  #remember(key: string): void {
    const now = this.#now()
    for (const [oldest, until] of this.#seen) {
      if (until > now) break
      this.#seen.delete(oldest)
    }
    if (this.#seen.has(key)) throw refused('it was used before')
    if (this.#seen.size >= MAX_REMEMBERED) throw new AppError('resource_exhausted', 'too many requests with DPoP: try again in a minute')
    this.#seen.set(key, now + (MAX_AGE_SECONDS + MAX_AHEAD_SECONDS) * 1000)
  }
}

function isSameUrl(htu: string, url: string): boolean {
  const named = URL.parse(htu)
  const own = URL.parse(url)
  return named !== null && own !== null && named.origin === own.origin && named.pathname === own.pathname && named.username === ''
}

function refused(why: string, cause?: unknown): AppError {
  return new AppError('unauthenticated', `the DPoP proof was refused: ${why}`, { cause, details: { challenge: 'invalid_dpop_proof' } })
}
