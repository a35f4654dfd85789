import type { KeyObject } from 'node:crypto'
import type { join } from '../../../api/join.ts'
import type { ParsedInputOf } from '../../../api/route.ts'
import type { Token } from '../../../resources/token.ts'
import type { AuthContext } from '../context.ts'
import { hasExpired } from '../live-resources.ts'
import { safeTokenName } from './join-tokens.ts'
import { JoinRefusal } from './refusal.ts'

/** A proof by the key that a token is, or is about to be, bound to. */
export interface BoundKeyProof {
  publicKeyPem: string
  /** What the key was given at its last join; undefined at the first. */
  state: string | undefined
}

/** What a join method found out about who joins. */
export interface JoinFindings {
  /** Plain claims, for the audit log and for rules of workload identities. */
  attributes?: Record<string, unknown>
  bound?: BoundKeyProof
}

/** A join whose key and token have been proved. */
export interface ProvenJoin extends JoinFindings {
  input: ParsedInputOf<typeof join>
  /** The key to certify. */
  key: KeyObject
  token: Token
  remoteAddress: string
}

/** The token of a join as it is now, within the transaction: it may have been used up, changed or removed since it was looked at. */
export function currentToken(context: AuthContext, { token }: ProvenJoin): Token {
  const current = context.live.find('token', token.metadata.name)
  if (!current || current.metadata.revision !== token.metadata.revision || hasExpired(current, context.now()))
    throw new JoinRefusal('the token was used up, changed or removed meanwhile', { join_token: safeTokenName(context, token) })
  return current
}
