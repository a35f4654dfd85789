import type { AuthContext } from '../context.ts'
import type { PasskeyPlace } from '../mfa/passkeys.ts'
import { findRelyingParty, isUsableAt } from '../mfa/relying-party.ts'
import { originOf } from '../oauth/issuer.ts'
import { readBrowser } from './cookies.ts'
import type { PageContext } from './form.ts'

/** Whence the answer of a passkey comes. */
export function placeOf(context: AuthContext, c: PageContext, flow: string): PasskeyPlace {
  return { flow, browser: readBrowser(context, c), host: c.req.header('host'), remoteAddress: c.env.peer.remoteAddress }
}

/** Where passkeys work when they do not at the address of this page; undefined when they do. */
export function passkeysElsewhere(context: AuthContext, c: PageContext): string | undefined {
  const host = c.req.header('host')
  const party = findRelyingParty(context, host)
  if (!party || isUsableAt(party, host)) return undefined
  return addressesOf(context, party.id, host)[0]
}

/** Whether they work here, and else where. False: nowhere. */
export function findPasskeys(context: AuthContext, c: PageContext): false | 'here' | { elsewhere: string } {
  const host = c.req.header('host')
  const party = findRelyingParty(context, host)
  if (!party) return false
  if (isUsableAt(party, host)) return 'here'
  const [origin] = addressesOf(context, party.id, host)
  return origin === undefined ? false : { elsewhere: origin }
}

/** Origins at which they do, the one nearest to this first. */
function addressesOf(context: AuthContext, id: string, host: string | undefined): string[] {
  const { port = '' } = URL.parse(`http://${host ?? ''}`) ?? {}
  const here = id === 'localhost' ? [`localhost${port && `:${port}`}`] : []
  return [...here, context.publicAddress(), ...context.otherAddresses]
    .filter((address) => isUsableAt({ id, origins: [] }, address))
    .map(originOf)
}
