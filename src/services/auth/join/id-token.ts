import type { join } from '../../../api/join.ts'
import type { ParsedInputOf } from '../../../api/route.ts'
import type { Token } from '../../../resources/token.ts'
import type { AuthContext } from '../context.ts'
import { safeTokenName } from './join-tokens.ts'
import { JoinRefusal } from './refusal.ts'

export async function verifyIdToken(
  context: AuthContext,
  token: Token,
  _input: ParsedInputOf<typeof join>,
): Promise<{ attributes: unknown }> {
  throw new JoinRefusal('not there yet', { join_token: safeTokenName(context, token) })
}
