import type { Hono } from 'hono'
import { AppError } from '../../../lib/errors.ts'
import { secondFactorsOf } from '../../../resources/second-factors.ts'
import type { AppEnv } from '../authenticate.ts'
import { authPreference } from '../context.ts'
import type { AuthContext } from '../context.ts'
import type { ChallengePurpose } from '../mfa/challenges.ts'
import { checkLocal } from '../mfa/devices.ts'
import { beginCeremony } from '../mfa/passkeys.ts'
import { getPending } from '../mfa/pending.ts'
import type { OAuthServer } from '../oauth/serve.ts'
import { findInvited } from '../routes/users.ts'
import { giveBrowser } from './cookies.ts'
import { checkFormToken, readForm } from './form.ts'
import type { PageContext } from './form.ts'
import { checkFresh, findSignedIn, flowOfVisitor } from './visitor.ts'

const SIGN_UP = 'signup:'

/** What the form of a sign-up link is bound to. */
export function signUpFlow(token: string): string {
  return `${SIGN_UP}${token}`
}

/** Where the script of our pages asks what a passkey is to sign. The answer is JSON, a refusal too. */
export function addPasskeyChallenge(app: Hono<AppEnv>, context: AuthContext, oauth: Pick<OAuthServer, 'provider'>): void {
  app.post('/web/passkeys/challenge', async (c) => {
    if (!c.env.peer.internal) await context.limits.countPublicCall(c.env.peer.remoteAddress)
    const form = await readForm(c)
    const flow = form.get('flow') ?? ''
    checkFormToken(context, flow, form.get('form_token'))
    const purpose = await findPurpose(context, c, form, oauth)
    const place = { flow, browser: giveBrowser(context, c), host: c.req.header('host'), remoteAddress: c.env.peer.remoteAddress }
    return c.json(await beginCeremony(context, purpose, place))
  })
}

/** What the form was for tells what it may ask: its token is of this flow and no other. */
async function findPurpose(
  context: AuthContext,
  c: PageContext,
  form: URLSearchParams,
  oauth: Pick<OAuthServer, 'provider'>,
): Promise<ChallengePurpose> {
  const flow = form.get('flow') ?? ''
  const wanted = secondFactorsOf(authPreference(context).spec)
  if (!wanted.webauthn) throw new AppError('failed_precondition', 'passkeys do not count in this cluster')
  const pending = form.get('pending')
  if (pending !== null) return { type: 'second-factor', user: (await getPending(context, pending, flow)).user }
  const aloneRefused = new AppError('failed_precondition', 'this cluster does not let anybody in by a passkey alone')
  if (flow.startsWith(SIGN_UP)) {
    const alone = form.get('alone') === 'yes'
    if (alone && !wanted.passwordless) throw aloneRefused
    return { type: 'register', user: await findInvited(context, flow.slice(SIGN_UP.length)), alone }
  }
  const visitor = await findSignedIn(context, c, await oauth.provider())
  if (visitor && flow === flowOfVisitor(visitor)) {
    checkLocal(context, visitor.user)
    await checkFresh(context, visitor)
    return { type: 'register', user: visitor.user, alone: false }
  }
  if (!wanted.passwordless) throw aloneRefused
  return { type: 'sign-in' }
}
