import type { Provider } from 'oidc-provider'
import { AppError } from '../../../lib/errors.ts'
import { secondFactorsOf } from '../../../resources/second-factors.ts'
import { findUserOfAccount } from '../../../storage/credentials.ts'
import { listMfaDevices } from '../../../storage/mfa-devices.ts'
import { authPreference } from '../context.ts'
import type { AuthContext } from '../context.ts'
import { refuseLockedUser } from '../issue.ts'
import { sessionSeconds } from '../oauth/grant-life.ts'
import type { SignedIn } from '../sign-in.ts'
import type { PageContext } from './form.ts'

/** Who is signed in with this browser. */
export interface Visitor {
  user: string
  /** Another one when the user was created anew. */
  account: string
  /** Of the sign-in, for forms. */
  uid: string
  /** When that was, ms since 1970, and how (RFC 8176). */
  signedInAt: number
  methods: readonly string[]
  end(): Promise<void>
}

/** For how long who has signed in may change how. */
const FRESH_MS = 10 * 60_000

export async function findSignedIn(context: AuthContext, c: PageContext, provider: Provider): Promise<Visitor | undefined> {
  if (!c.env.node) return undefined
  const session = await provider.Session.get(provider.createContext(c.env.node.request, c.env.node.response))
  const user = session.accountId === undefined ? undefined : await findUserOfAccount(context.db, session.accountId)
  if (user === undefined || session.accountId === undefined || !context.live.find('user', user)) return undefined
  refuseLockedUser(context, user)
  return {
    user,
    account: session.accountId,
    uid: session.uid,
    signedInAt: (session.loginTs ?? 0) * 1000,
    methods: session.amr ?? [],
    end: () => session.destroy(),
  }
}

/** What the forms of the account page are bound to. */
export function flowOfVisitor({ uid }: Visitor): string {
  return `account:${uid}`
}

/** Whether somebody may change how they sign in: they have just done so, with a second factor if they have one. */
export async function isFresh(context: AuthContext, { user, signedInAt, methods }: Visitor): Promise<boolean> {
  if (signedInAt < context.now() - FRESH_MS) return false
  const { otp, webauthn } = secondFactorsOf(authPreference(context).spec)
  if (methods.some((method) => method === 'otp' || method === 'mfa') || (!otp && !webauthn)) return true
  return (await listMfaDevices(context.db, user)).length === 0
}

/** The same for what has no page to show; throws `permission_denied`. */
export async function checkFresh(context: AuthContext, visitor: Visitor): Promise<void> {
  if (!(await isFresh(context, visitor)))
    throw new AppError('permission_denied', 'sign in again to change how you sign in: reload this page')
}

/** The same session that requests for authorization go on with; always a new one, whatever the browser brought. */
export async function openSession(context: AuthContext, c: PageContext, provider: Provider, { account, methods }: SignedIn): Promise<void> {
  if (!c.env.node) throw new AppError('invalid_argument', 'open the page in a browser')
  const session = new provider.Session()
  session.accountId = account
  session.amr = methods
  session.loginTs = Math.floor(context.now() / 1000)
  await session.save(sessionSeconds(context))
  const { cookies } = provider.createContext(c.env.node.request, c.env.node.response)
  const secure = provider.issuer.startsWith('https:')
  // The connection may be plain, behind a proxy that ends TLS.
  cookies.secure = secure
  cookies.set(provider.cookieName('session'), session.jti, { httpOnly: true, sameSite: 'lax', secure, signed: true })
}
