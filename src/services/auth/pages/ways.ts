import { CODES } from '../../../lib/errors.ts'
import { secondFactorsOf } from '../../../resources/second-factors.ts'
import { authPreference } from '../context.ts'
import type { AuthContext } from '../context.ts'
import { allowsPasswords, findDefaultConnector, isPasswordlessFirst, listConnectors, offerOf } from '../sso/connectors.ts'
import type { Purpose } from '../sso/flow.ts'
import { startSso } from '../sso/serve.ts'
import { known } from './form.ts'
import type { PageContext } from './form.ts'
import { findPasskeys } from './passkey-place.ts'
import type { WaysToSignIn } from './sign-in.ts'

/** How people may sign in now, on this page. */
export function waysToSignIn(
  context: AuthContext,
  c: PageContext,
  { page, isMovable, pageOfConnector }: { page: string; isMovable: boolean; pageOfConnector(connector: string): string },
): WaysToSignIn {
  const { otp, passwordless } = secondFactorsOf(authPreference(context).spec)
  const passwords = allowsPasswords(context)
  const found = passwords && passwordless && findPasskeys(context, c)
  const passkeys = typeof found === 'object' ? isMovable && { elsewhere: new URL(page, found.elsewhere).href } : found
  return {
    passwords,
    codes: otp,
    passkeys,
    connectors: listConnectors(context).map((connector) => {
      const { name, display } = offerOf(connector)
      return { display, href: pageOfConnector(name) }
    }),
    first: findDefaultConnector(context) ? 'connector' : isPasswordlessFirst(context) && passkeys === 'here' ? 'passkey' : 'password',
  }
}

export interface Fault {
  status: number
  error?: string
}

/** Leads to the identity provider, or shows the sign-in page with what is in the way. */
export async function leadToConnector(
  context: AuthContext,
  c: PageContext,
  { name, purpose }: { name: string; purpose: Purpose },
  showPage: (fault: Fault) => Promise<Response> | Response,
): Promise<Response> {
  // Nobody is signed in by a link on a page of somebody else: the way leads over the page, which says who asks.
  if (isFromElsewhere(c)) return await showPage({ status: 200 })
  try {
    return await startSso(context, c, name, purpose)
  } catch (thrown) {
    const error = known(thrown)
    return await showPage({ status: CODES[error.code].http, error: error.message })
  }
}

/** What browsers say of where a request comes from (Fetch Metadata); programs say nothing. */
function isFromElsewhere(c: PageContext): boolean {
  return ['cross-site', 'same-site'].includes(c.req.header('sec-fetch-site') ?? '')
}
