import { CODES } from '../../../lib/errors.ts'
import { authPreference } from '../context.ts'
import type { AuthContext } from '../context.ts'
import { allowsPasswords, findDefaultConnector, listConnectors, offerOf } from '../sso/connectors.ts'
import type { Purpose } from '../sso/flow.ts'
import { startSso } from '../sso/serve.ts'
import { known } from './form.ts'
import type { PageContext } from './form.ts'
import type { WaysToSignIn } from './sign-in.ts'

/** How people may sign in now; `pageOf` is the page that leads to a connector. */
export function waysToSignIn(context: AuthContext, pageOf: (connector: string) => string): WaysToSignIn {
  return {
    passwords: allowsPasswords(context),
    codes: authPreference(context).spec.second_factor !== 'off',
    connectors: listConnectors(context).map((connector) => {
      const { name, display } = offerOf(connector)
      return { display, href: pageOf(name) }
    }),
    connectorsFirst: findDefaultConnector(context) !== undefined,
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
