import type { Hono } from 'hono'
import { acceptInvite as acceptRow } from '../../../api/users.ts'
import { AppError, CODES } from '../../../lib/errors.ts'
import type { AppEnv } from '../authenticate.ts'
import { authPreference } from '../context.ts'
import type { AuthContext } from '../context.ts'
import { approveLogin, getLoginFlow } from '../routes/browser-login.ts'
import { acceptInvite, showInvite } from '../routes/users.ts'
import { signIn } from '../sign-in.ts'
import { describeTotp } from '../totp.ts'
import { answerPage, checkFormToken, formToken, known, readForm, readSignIn, servePage } from './form.ts'
import type { PageContext } from './form.ts'
import { html } from './html.ts'
import { STYLE_PATH } from './layout.ts'
import { renderSignIn } from './sign-in.ts'
import { leadToConnector, waysToSignIn } from './ways.ts'
import { renderSignedUp, renderSignUp } from './sign-up.ts'
import { STYLE } from './style.ts'

/** The pages for people without a certificate: sign-in for a waiting tsh, and sign-up by a one-time link. */
export function addPages(app: Hono<AppEnv>, context: AuthContext): void {
  const page = (work: (c: PageContext) => Promise<Response>) => servePage(context, work)
  app.get(STYLE_PATH, (c) => c.body(STYLE, 200, { 'content-type': 'text/css; charset=utf-8', 'cache-control': 'public, max-age=3600' }))
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
    page((c) => submitSignIn(context, c)),
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

interface Shown {
  status: number
  error?: string
  user?: string
}

/** Straight to the identity provider where tsh was told which, unless the person came back to choose. */
async function showLogin(context: AuthContext, c: PageContext, id: string): Promise<Response> {
  const { connector } = await getLoginFlow(context, id)
  if (connector === undefined || c.req.query('choose') !== undefined) return await showSignIn(context, c, id, { status: 200 })
  return await leadLogin(context, c, id, connector)
}

async function leadLogin(context: AuthContext, c: PageContext, id: string, name: string): Promise<Response> {
  await getLoginFlow(context, id)
  return await leadToConnector(context, c, { name, purpose: { type: 'login', id } }, (fault) => showSignIn(context, c, id, fault))
}

async function showSignIn(context: AuthContext, c: PageContext, id: string, { status, error, user }: Shown): Promise<Response> {
  const flow = await getLoginFlow(context, id)
  const body = renderSignIn({
    clusterName: context.clusterName,
    action: '/web/login',
    lead: html`<p>tsh on this computer asks to act as you. Go on only if you have just typed <b>tsh login</b> yourself.</p>`,
    hidden: { id, form_token: formToken(context, `login:${id}`) },
    user: user ?? flow.user ?? '',
    ways: waysToSignIn(context, (connector) => `/web/login/sso?${new URLSearchParams({ id, connector }).toString()}`),
    closing: `You come back to ${new URL(flow.redirect_uri).host} on this computer.`,
    error,
  })
  return answerPage(c, body, status)
}

async function submitSignIn(context: AuthContext, c: PageContext): Promise<Response> {
  const form = await readForm(c)
  const id = form.get('id') ?? ''
  checkFormToken(context, `login:${id}`, form.get('form_token'))
  const entered = readSignIn(form)
  try {
    await getLoginFlow(context, id)
    return c.redirect(await approveLogin(context, id, await signIn(context, entered, c.env.peer.remoteAddress, 'browser')), 303)
  } catch (thrown) {
    const error = known(thrown)
    return await showSignIn(context, c, id, { status: CODES[error.code].http, error: error.message, user: entered.user })
  }
}

async function showSignUp(context: AuthContext, c: PageContext, { status, error }: Shown, secret?: string): Promise<Response> {
  const token = c.req.param('token') ?? ''
  const { user, purpose, totp_required, totp_secret, totp_uri } = await showInvite(
    context,
    { token },
    { identity: undefined, remoteAddress: c.env.peer.remoteAddress },
  )
  const kept = secret === undefined ? { secret: totp_secret, uri: totp_uri } : describeTotp(user, context.clusterName, secret)
  const offered = authPreference(context).spec.second_factor !== 'off'
  const body = renderSignUp({
    clusterName: context.clusterName,
    token,
    formToken: formToken(context, `signup:${token}`),
    user,
    purpose,
    totp: { required: totp_required, offered, ...kept },
    error,
  })
  return answerPage(c, body, status)
}

async function submitSignUp(context: AuthContext, c: PageContext): Promise<Response> {
  const token = c.req.param('token') ?? ''
  const form = await readForm(c)
  checkFormToken(context, `signup:${token}`, form.get('form_token'))
  const secret = form.get('totp_secret') ?? undefined
  try {
    if (form.get('password') !== form.get('again')) throw new AppError('invalid_argument', 'The two passwords differ.')
    const input = acceptRow.input.safeParse({
      token,
      password: form.get('password') ?? '',
      totp_secret: secret,
      totp: form.get('totp')?.trim() || undefined,
    })
    if (!input.success) throw new AppError('invalid_argument', 'Choose a password of 12 to 256 characters.')
    const { user } = await acceptInvite(context, input.data, { identity: undefined, remoteAddress: c.env.peer.remoteAddress })
    return answerPage(c, renderSignedUp({ clusterName: context.clusterName, user, proxy: context.publicAddress() }), 200)
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
