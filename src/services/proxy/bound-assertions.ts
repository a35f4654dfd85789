import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { findBoundCertificate, thumbprintOf } from '../../ca/assertion.ts'
import { isEndpointToken } from '../../ca/endpoint-token.ts'

const MAX_KEPT = 10_000
/** Of one that is kept: strangers may send as many as they like, of any length. Longer ones are read each time. */
const MAX_KEPT_CHARS = 4096

/**
 * Assertions that clients bring themselves. Each is good on connections with the certificate it was issued for, and nowhere else: an agent that
 * keeps what it was sent can present it to nobody. Those that the proxy fetches for a token are bound to no certificate, and never accepted here.
 */
export class BoundAssertions {
  /** Assertion → thumbprint. */
  readonly #bound = new Map<string, string | undefined>()
  readonly #shown = new WeakMap<Socket, string>()

  /** Whether this is an assertion, brought by the client that it was issued to. */
  isAcceptable(token: string, { socket }: Pick<IncomingMessage, 'socket'>): boolean {
    if (!isAssertion(token)) return false
    const bound = this.#boundTo(token)
    return bound !== undefined && bound === this.#shownOn(socket)
  }

  /** What a client brings as one credential: of an endpoint token, with the thumbprint of the certificate that the client shows, after a space. */
  credentialOf(token: string, socket: Socket): string {
    const shown = isEndpointToken(token) ? this.#shownOn(socket) : undefined
    return shown === undefined ? token : `${token} ${shown}`
  }

  #boundTo(assertion: string): string | undefined {
    if (this.#bound.has(assertion)) return this.#bound.get(assertion)
    const bound = findBoundCertificate(assertion)
    if (assertion.length > MAX_KEPT_CHARS) return bound
    this.#bound.set(assertion, bound)
    for (const oldest of this.#bound.keys()) {
      if (this.#bound.size <= MAX_KEPT) break
      this.#bound.delete(oldest)
    }
    return bound
  }

  /** TLS has proven that the client has the key of this certificate, whoever issued that. */
  #shownOn(socket: Socket): string | undefined {
    const known = this.#shown.get(socket)
    if (known !== undefined) return known
    const certificate = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined
    if (!certificate) return undefined
    const thumbprint = thumbprintOf(certificate)
    this.#shown.set(socket, thumbprint)
    return thumbprint
  }
}

/** By its form: three parts, as of any JWT. */
export function isAssertion(token: string): boolean {
  if (isEndpointToken(token)) return false
  const first = token.indexOf('.')
  if (first === -1) return false
  const second = token.indexOf('.', first + 1)
  return second !== -1 && !token.includes('.', second + 1)
}
