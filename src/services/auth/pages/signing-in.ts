import { CODES } from '../../../lib/errors.ts'
import type { AppError } from '../../../lib/errors.ts'
import type { AuthContext } from '../context.ts'
import { getPending, endPending, keepPending } from '../mfa/pending.ts'
import { findAskedFactors } from '../mfa/second-factor.ts'
import { finishSignIn, signInWithPasskey, signInWithPassword } from '../sign-in.ts'
import type { SignedIn } from '../sign-in.ts'
import { answerPage, checkFormToken, formToken, known, readSignIn } from './form.ts'
import type { PageContext } from './form.ts'
import type { Html } from './html.ts'
import { findPasskeys, placeOf } from './passkey-place.ts'
import { renderSecondFactor, renderSignIn } from './sign-in.ts'
import { waysToSignIn } from './ways.ts'
import type { Fault } from './ways.ts'

/** What one page on which people sign in has of its own. */
export interface SignInSurface {
  /** What its form and its challenges are bound to. */
  flow: string
  /** Where the form goes. */
  action: string
  /** What the form takes along beside its token. */
  hidden: Readonly<Record<string, string>>
  /** The address of the page. */
  page: string
  /** Whether it is the same at another address of the cluster: it needs no cookie of this one. */
  isMovable: boolean
  lead: Html
  closing: string
  /** Who is expected to sign in. */
  user?: string | undefined
  /** Whether a passkey is what the person asked for. */
  passkeyFirst?: boolean
  /** Where the form may end beside ourselves; programs on this computer unless told. */
  targets?: string
  /** The page that leads to a connector. */
  pageOfConnector(connector: string): string
  /** What comes once somebody has signed in. */
  goOn(signedIn: SignedIn): Promise<Response>
}

export function showSignIn(
  context: AuthContext,
  c: PageContext,
  surface: SignInSurface,
  { status, error, user }: Fault & { user?: string },
): Response {
  const { flow, action, lead, closing, targets } = surface
  const ways = waysToSignIn(context, c, surface)
  const body = renderSignIn({
    clusterName: context.clusterName,
    action,
    hidden: { ...surface.hidden, form_token: formToken(context, flow) },
    flow,
    lead,
    user: user ?? surface.user ?? '',
    ways: surface.passkeyFirst === true && ways.passkeys === 'here' ? { ...ways, first: 'passkey' } : ways,
    closing,
    error,
  })
  return answerPage(c, body, status, targets)
}

/** Takes a form of that page: a password, a passkey, or the second step after a password. */
export async function submitSignIn(context: AuthContext, c: PageContext, surface: SignInSurface, form: URLSearchParams): Promise<Response> {
  checkFormToken(context, surface.flow, form.get('form_token'))
  const pending = form.get('pending')
  if (pending !== null) return await submitSecondFactor(context, c, surface, { pending, form })
  const passkey = form.get('passkey')
  const entered = readSignIn(form)
  try {
    if (passkey !== null) return await surface.goOn(await signInWithPasskey(context, passkey, placeOf(context, c, surface.flow)))
    const outcome = await signInWithPassword(context, entered, c.env.peer.remoteAddress, 'browser')
    if (!('factors' in outcome)) return await surface.goOn(outcome)
    return await showSecondFactor(context, c, surface, { pending: await keepPending(context, outcome, surface.flow), user: outcome.user })
  } catch (thrown) {
    return showSignIn(context, c, surface, { ...faultOf(known(thrown)), user: entered.user })
  }
}

async function submitSecondFactor(
  context: AuthContext,
  c: PageContext,
  surface: SignInSurface,
  { pending, form }: { pending: string; form: URLSearchParams },
): Promise<Response> {
  let user: string | undefined
  try {
    const asked = await getPending(context, pending, surface.flow)
    user = asked.user
    const passkey = form.get('passkey')
    const answer = passkey === null ? { totp: form.get('totp')?.trim() ?? '' } : { passkey, place: placeOf(context, c, surface.flow) }
    const signedIn = await finishSignIn(context, asked, answer, c.env.peer.remoteAddress)
    await endPending(context, pending)
    return await surface.goOn(signedIn)
  } catch (thrown) {
    const error = known(thrown)
    // Wrong or too often: the person may go on here. Everything else begins anew.
    if (user !== undefined && (error.code === 'unauthenticated' || error.code === 'resource_exhausted'))
      return await showSecondFactor(context, c, surface, { pending, user, error })
    return showSignIn(context, c, surface, faultOf(error))
  }
}

async function showSecondFactor(
  context: AuthContext,
  c: PageContext,
  surface: SignInSurface,
  { pending, user, error }: { pending: string; user: string; error?: AppError },
): Promise<Response> {
  const { flow, action, page, targets } = surface
  const factors = await findAskedFactors(context, user)
  const place = findPasskeys(context, c)
  const body = renderSecondFactor({
    clusterName: context.clusterName,
    action,
    hidden: { ...surface.hidden, form_token: formToken(context, flow), pending },
    flow,
    user,
    codes: (factors?.apps.length ?? 0) > 0,
    passkeys: (factors?.passkeys.length ?? 0) > 0,
    passkeysAt: place === 'here' ? undefined : place === false ? 'no address of this cluster' : new URL(place.elsewhere).host,
    again: page,
    error: error?.message,
  })
  return answerPage(c, body, error ? CODES[error.code].http : 200, targets)
}

function faultOf(error: AppError): Fault {
  return { status: CODES[error.code].http, error: error.message }
}
