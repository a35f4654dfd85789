import type { AuthContext } from '../context.ts'
import type { PasskeyPlace } from '../mfa/passkeys.ts'
import { findPasskeyOrigin, findRelyingParty, isUsableAt } from '../mfa/relying-party.ts'
import { readBrowser } from './cookies.ts'
import type { PageContext } from './form.ts'

/** Whence the answer of a passkey comes. */
export function placeOf(context: AuthContext, c: PageContext, flow: string): PasskeyPlace {
  return { flow, browser: readBrowser(context, c), host: c.req.header('host'), remoteAddress: c.env.peer.remoteAddress }
}

/** Whether they work here, and else where. False: nowhere. */
export function findPasskeys(context: AuthContext, c: PageContext): false | 'here' | { elsewhere: string } {
  const host = c.req.header('host')
  const party = findRelyingParty(context, host)
  if (party && isUsableAt(party, host)) return 'here'
  const origin = findPasskeyOrigin(context, host)
  return origin !== undefined && { elsewhere: origin }
}
