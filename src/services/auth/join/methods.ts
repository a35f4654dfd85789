import type { join } from '../../../api/join.ts'
import type { ParsedInputOf } from '../../../api/route.ts'
import { JOIN_METHODS } from '../../../resources/token.ts'
import type { JoinMethod, Token } from '../../../resources/token.ts'
import type { AuthContext } from '../context.ts'
import { verifyBoundKey } from './bound-keypair.ts'
import { verifyIdToken } from './id-token.ts'
import type { JoinFindings } from './proven-join.ts'

export interface JoinMethodRow {
  /** Whether a bot renews its certificate: else it proves anew who it is, each time. Hosts always renew. */
  renewable: boolean
  /** Judges what was brought beside the token's name. Throws `JoinRefusal`. */
  verify(context: AuthContext, token: Token, input: ParsedInputOf<typeof join>): Promise<JoinFindings>
}

/** How machines join: a row for each method, its settings in resources/token.ts. */
const METHODS: Readonly<Record<JoinMethod, JoinMethodRow>> = {
  // The name is the secret, and who got here knows it.
  token: { renewable: true, verify: async () => ({}) },
  bound_keypair: { renewable: true, verify: async (context, token, input) => ({ bound: verifyBoundKey(context, token, input) }) },
  oidc: { renewable: false, verify: verifyIdToken },
  kubernetes: { renewable: false, verify: verifyIdToken },
  github: { renewable: false, verify: verifyIdToken },
  gitlab: { renewable: false, verify: verifyIdToken },
}

export function isJoinMethod(name: string): name is JoinMethod {
  return JOIN_METHODS.some((known) => known === name)
}

export function joinMethodRow(method: JoinMethod): JoinMethodRow {
  return METHODS[method]
}

export function isRenewable(method: string): boolean {
  return isJoinMethod(method) && METHODS[method].renewable
}
