import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { findHolder } from '../../ca/assertion.ts'

/** Whoever shows no certificate of the cluster: all of them together are one. */
const STRANGERS = 'strangers'

/**
 * Whose share of the room for large bodies a request takes, when the client brings its assertion itself. That says who it is, but is not verified
 * here: anybody may write one, for a certificate of his own. TLS has verified the certificate.
 */
export function senderByCertificate(socket: Socket): string {
  const certificate = socket instanceof TLSSocket && socket.authorized ? socket.getPeerX509Certificate() : undefined
  return certificate ? `certificate ${certificate.subject}` : STRANGERS
}

/** The same by an assertion that the Auth Service has given us for a token: of one caller, whatever the token. */
export function senderByAssertion(assertion: string | undefined): string {
  return (assertion === undefined ? undefined : findHolder(assertion)) ?? STRANGERS
}

/** The same by the owner of what is shown at the one URL: see `AggregateCaller`. */
export function senderByOwner(owner: string | undefined): string {
  return owner?.split(':', 2).join(':') ?? STRANGERS
}
