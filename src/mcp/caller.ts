import type { ServerAccess } from '../access/check.ts'
import type { Identity } from '../resources/identity.ts'

/** Who makes a request, already verified, with what the roles say about this server at the moment of asking. */
export interface Caller {
  identity: Identity
  /** What proved it: a route assertion, which the Auth Service takes for a word about this caller. */
  assertion: string
  /** Compiled once and made anew after a role, lock or user changed: ask for every message. */
  access(): ServerAccess
  /** Why the caller may not stay, as things are now (a lock, a revocation, no user any more); undefined when it may. */
  reasonToLeave(): string | undefined
}

/** Sessions belong to an identity, never to the credential that opened them. */
export function ownerOf(identity: Identity): string {
  return `${identity.kind}:${identity.name}`
}
