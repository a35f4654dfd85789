import type { Hono } from 'hono'
import { acceptInvite as acceptRow } from '../../../api/users.ts'
import { AppError, CODES } from '../../../lib/errors.ts'
import { secondFactorsOf } from '../../../resources/second-factors.ts'
import type { AppEnv } from '../authenticate.ts'
import { authPreference } from '../context.ts'
import type { AuthContext } from '../context.ts'
import { PASSWORDLESS } from '../sso/connectors.ts'
import { approveLogin, getLoginFlow } from '../routes/browser-login.ts'
import { showInvite, useInvite } from '../routes/users.ts'
import type { Chosen } from '../routes/users.ts'
import { describeTotp } from '../totp.ts'
import { answerPage, checkFormToken, formToken, known, readForm, servePage } from './form.ts'
import type { PageContext } from './form.ts'
import { html } from './html.ts'
import { STYLE_PATH } from './layout.ts'
import { findPasskeys, placeOf } from './passkey-place.ts'
import { PASSKEY_SCRIPT, PASSKEY_SCRIPT_PATH } from './passkey-script.ts'
import { signUpFlow } from './passkeys.ts'
import { renderSignedUp, renderSignUp } from './sign-up.ts'
import { showSignIn, submitSignIn } from './signing-in.ts'
import type { SignInSurface } from './signing-in.ts'
import { STYLE } from './style.ts'
import { leadToConnector } from './ways.ts'
import type { Fault } from './ways.ts'

/** The pages for people without a certificate: sign-in for a waiting tsh, and sign-up by a one-time link. */
export function addPages(app: Hono<AppEnv>, context: AuthContext): void {
  const page = (work: (c: PageContext) => Promise<Response>) => servePage(context, work)
  app.get(STYLE_PATH, (c) => c.body(STYLE, 200, { 'content-type': 'text/css; charset=utf-8', 'cache-control': 'public, max-age=3600' }))
  app.get(PASSKEY_SCRIPT_PATH, (c) =>
    c.body(PASSKEY_SCRIPT, 200, { 'content-type': 'text/javascript; charset=utf-8', 'cache-control': 'public, max-age=3600' }),
  )
  app.get(
    '/web/login',
    page((c) => showLogin(context, c, c.req.query('id') ?? '')),
  )
  app.get(
    '/web/login/sso',
    page((c) => leadLogin(context, c, c.req.query('id') ?? '', c.req.query('connector') ?? '')),
  )
  app.post(
    '/web/login',
    page((c) => submitLogin(context, c)),
  )
  app.get(
    '/web/signup/:token',
    page((c) => showSignUp(context, c, { status: 200 })),
  )
  app.post(
    '/web/signup/:token',
    page((c) => submitSignUp(context, c)),
  )
}

/** Straight to the identity provider where tsh was told which, unless the person came back to choose. */
async function showLogin(context: AuthContext, c: PageContext, id: string): Promise<Response> {
  const { connector } = await getLoginFlow(context, id)
  if (connector !== undefined && connector !== PASSWORDLESS && c.req.query('choose') === undefined)
    return await leadLogin(context, c, id, connector)
  return showSignIn(context, c, await loginSurface(context, c, id), { status: 200 })
}

async function leadLogin(context: AuthContext, c: PageContext, id: string, name: string): Promise<Response> {
  const surface = await loginSurface(context, c, id)
  return await leadToConnector(context, c, { name, purpose: { type: 'login', id } }, (fault) => showSignIn(context, c, surface, fault))
}

async function submitLogin(context: AuthContext, c: PageContext): Promise<Response> {
  const form = await readForm(c)
  return await submitSignIn(context, c, await loginSurface(context, c, form.get('id') ?? ''), form)
}

/** Throws `not_found` when the sign-in is over. */
async function loginSurface(context: AuthContext, c: PageContext, id: string): Promise<SignInSurface> {
  const { user, redirect_uri, connector } = await getLoginFlow(context, id)
  return {
    flow: `login:${id}`,
    action: '/web/login',
    hidden: { id },
    page: `/web/login?${new URLSearchParams({ id }).toString()}`,
    isMovable: true,
    lead: html`<p>tsh on this computer asks to act as you. Go on only if you have just typed <b>tsh login</b> yourself.</p>`,
    closing: `You come back to ${new URL(redirect_uri).host} on this computer.`,
    user,
    passkeyFirst: connector === PASSWORDLESS,
    pageOfConnector: (name) => `/web/login/sso?${new URLSearchParams({ id, connector: name }).toString()}`,
    goOn: async (signedIn) => c.redirect(await approveLogin(context, id, signedIn), 303),
  }
}

async function showSignUp(context: AuthContext, c: PageContext, { status, error }: Fault, secret?: string): Promise<Response> {
  const token = c.req.param('token') ?? ''
  const caller = { identity: undefined, remoteAddress: c.env.peer.remoteAddress }
  const { user, purpose, totp_secret, totp_uri } = await showInvite(context, { token }, caller)
  const kept = secret === undefined ? { secret: totp_secret, uri: totp_uri } : describeTotp(user, context.clusterName, secret)
  const { required, otp, webauthn, passwordless } = secondFactorsOf(authPreference(context).spec)
  const passkeys = webauthn && findPasskeys(context, c)
  const flow = signUpFlow(token)
  const body = renderSignUp({
    clusterName: context.clusterName,
    token,
    formToken: formToken(context, flow),
    flow,
    user,
    purpose,
    required,
    totp: { offered: otp, ...kept },
    passkeys: { second: passkeys === 'here', alone: passkeys === 'here' && passwordless },
    passkeysAt: typeof passkeys === 'object' ? new URL(`/web/signup/${token}`, passkeys.elsewhere).href : undefined,
    error,
  })
  return answerPage(c, body, status)
}

async function submitSignUp(context: AuthContext, c: PageContext): Promise<Response> {
  const token = c.req.param('token') ?? ''
  const form = await readForm(c)
  checkFormToken(context, signUpFlow(token), form.get('form_token'))
  const secret = form.get('totp_secret') ?? undefined
  try {
    const chosen = readChosen(context, c, form, token)
    const { user } = await useInvite(context, token, chosen, c.env.peer.remoteAddress)
    const alone = chosen.password === undefined
    return answerPage(c, renderSignedUp({ clusterName: context.clusterName, user, proxy: context.publicAddress(), alone }), 200)
  } catch (thrown) {
    const error = known(thrown)
    // A link that is gone has no form to show again.
    if (error.code === 'not_found') throw error
    const message = error.message.replace(/^totp: /, '')
    return await showSignUp(
      context,
      c,
      { status: CODES[error.code].http, error: message },
      secret && /^[A-Z2-7]{32,64}$/.test(secret) ? secret : undefined,
    )
  }
}

/** What the person chose: a password with or without a second factor, or a passkey alone. */
function readChosen(context: AuthContext, c: PageContext, form: URLSearchParams, token: string): Chosen {
  const response = form.get('passkey') || undefined
  const passkey = response === undefined ? undefined : { response, name: 'passkey', place: placeOf(context, c, signUpFlow(token)) }
  if (passkey && form.get('password') === null) return { password: undefined, totp: undefined, passkey }
  if (form.get('password') !== form.get('again')) throw new AppError('invalid_argument', 'The two passwords differ.')
  const input = acceptRow.input.safeParse({
    token,
    password: form.get('password') ?? '',
    totp_secret: form.get('totp_secret') ?? undefined,
    totp: form.get('totp')?.trim() || undefined,
  })
  if (!input.success) throw new AppError('invalid_argument', 'Choose a password of 12 to 256 characters.')
  const { password, totp, totp_secret = '' } = input.data
  // Of two second factors the passkey is what the person went on with.
  return { password, totp: totp === undefined || passkey ? undefined : { secret: totp_secret, code: totp }, passkey }
}
