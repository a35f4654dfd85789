import { createHash } from 'node:crypto'
import { calculateJwkThumbprint, EmbeddedJWK, type JWTPayload, jwtVerify } from 'jose'
import { AppError } from '../../lib/errors.ts'
import { DpopNonces } from './dpop-nonces.ts'

const ALGORITHMS = ['ES256', 'EdDSA']
const MAX_PROOF_CHARACTERS = 4096
/** How old a proof without a nonce may be, and how far ahead its maker's clock. */
const MAX_AGE_SECONDS = 60
const MAX_AHEAD_SECONDS = 10

export interface ProofRequest {
  method: string
  /** As the client wrote it, without query: `https://HOST[:PORT]/PATH`. */
  url: string
  token: string
}

export interface DpopOptions {
  nonces: DpopNonces
  /** Whether a proof without a nonce is sent back for one. */
  requiresNonce: boolean
  /** Whether an id is used for the first time, in whichever process of the cluster; it is remembered until `expiresAt`, ms since 1970. */
  useOnce(id: string, expiresAt: number): Promise<boolean>
  /** Writes down that a proof was refused at an endpoint. */
  noteRefusal(endpoint: string, remoteAddress: string, why: string): Promise<void>
  /** Milliseconds since 1970. */
  now: () => number
}

/** Proofs that whoever presents a token holds its key (RFC 9449). Each is good for one request, at whichever process of the cluster. */
export class DpopProofs {
  readonly #options: DpopOptions

  constructor(options: DpopOptions) {
    this.#options = options
  }

  /** What the next proof is to have in it. */
  get nonce(): string {
    return this.#options.nonces.current()
  }

  /**
   * The thumbprint (RFC 7638) of the key that signed the proof; `use` counts its one use, once it is known that the token is good: strangers can
   * make proofs for tokens of their invention, and must not fill the store with them. It rejects for a proof that was used before.
   * @throws AppError unauthenticated, with the detail `challenge`, for a proof that is not one for this request now (section 4.3).
   */
  async verify(proof: string, { method, url, token }: ProofRequest): Promise<{ thumbprint: string; use(): Promise<void> }> {
    if (proof.length > MAX_PROOF_CHARACTERS) throw refused('it is too long')
    const { payload, protectedHeader } = await jwtVerify(proof, EmbeddedJWK, {
      typ: 'dpop+jwt',
      algorithms: ALGORITHMS,
      currentDate: new Date(this.#options.now()),
    }).catch((cause: unknown) => {
      throw refused('it is not a signed proof', cause)
    })
    const { htm, htu, ath, jti } = payload
    if (htm !== method || typeof htu !== 'string' || !isSameUrl(htu, url)) throw refused('it is for another request')
    if (ath !== createHash('sha256').update(token).digest('base64url')) throw refused('it is for another token')
    if (typeof jti !== 'string' || jti === '' || !protectedHeader.jwk) throw refused('it has no id')
    this.#checkTime(payload)
    const thumbprint = await calculateJwkThumbprint(protectedHeader.jwk, 'sha256')
    const id = `dpop:${createHash('sha256').update(`${thumbprint} ${jti}`).digest('base64url')}`
    return { thumbprint, use: () => this.#use(id) }
  }

  noteRefusal(endpoint: string, remoteAddress: string, why: string): Promise<void> {
    return this.#options.noteRefusal(endpoint, remoteAddress, why)
  }

  /** By the nonce where there is one: then the clock of the client does not count (section 11.1). */
  #checkTime({ nonce, iat }: JWTPayload): void {
    const { nonces, requiresNonce } = this.#options
    if (nonce !== undefined) {
      if (typeof nonce !== 'string' || !nonces.isGood(nonce)) throw needsNonce('its nonce is none, or an old one')
      return
    }
    const now = this.#options.now() / 1000
    if (requiresNonce) throw needsNonce('it has no nonce')
    if (typeof iat !== 'number' || iat < now - MAX_AGE_SECONDS || iat > now + MAX_AHEAD_SECONDS)
      throw needsNonce('it is not of this moment: check the clock')
  }

  async #use(id: string): Promise<void> {
    const { useOnce, now } = this.#options
    const until = now() + Math.max(DpopNonces.LONGEST_MS, (MAX_AGE_SECONDS + MAX_AHEAD_SECONDS) * 1000)
    if (!(await useOnce(id, until))) throw refused('it was used before')
  }
}

function isSameUrl(htu: string, url: string): boolean {
  const named = URL.parse(htu)
  const own = URL.parse(url)
  return named !== null && own !== null && named.origin === own.origin && named.pathname === own.pathname && named.username === ''
}

/** The answer brings a nonce; the client makes another proof with it (section 9). */
function needsNonce(why: string): AppError {
  return new AppError('unauthenticated', `the DPoP proof was refused: ${why}`, { details: { challenge: 'use_dpop_nonce' } })
}

function refused(why: string, cause?: unknown): AppError {
  return new AppError('unauthenticated', `the DPoP proof was refused: ${why}`, { cause, details: { challenge: 'invalid_dpop_proof' } })
}
