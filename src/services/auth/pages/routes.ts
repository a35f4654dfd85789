import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Context, Hono } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { acceptInvite as acceptRow } from '../../../api/users.ts'
import { AppError, CODES, toAppError } from '../../../lib/errors.ts'
import type { AppEnv } from '../authenticate.ts'
import { authPreference } from '../context.ts'
import type { AuthContext } from '../context.ts'
import { approveLogin, getLoginFlow } from '../routes/browser-login.ts'
import { acceptInvite, showInvite } from '../routes/users.ts'
import { describeTotp } from '../totp.ts'
import { renderNotice, STYLE_PATH } from './layout.ts'
import { renderSignIn } from './sign-in.ts'
import { renderSignedUp, renderSignUp } from './sign-up.ts'
import { STYLE } from './style.ts'

/** No script, nothing from elsewhere; a form may end at the loopback port of tsh. */
const POLICY =
  "default-src 'none'; style-src 'self'; form-action 'self' http://127.0.0.1:* http://localhost:*; frame-ancestors 'none'; base-uri 'none'"

type PageContext = Context<AppEnv>

/** The pages for people without a certificate: sign-in for a waiting tsh, and sign-up by a one-time link. */
export function addPages(app: Hono<AppEnv>, context: AuthContext): void {
  const page = (work: (c: PageContext) => Promise<Response>) => async (c: PageContext) => {
    c.header('content-security-policy', POLICY)
    // With no-referrer a browser sends `Origin: null` with our own forms (Fetch, 3.1), which nobody could tell from a stranger's.
    c.header('referrer-policy', 'same-origin')
    try {
      if (!c.env.peer.internal) await context.limits.countPublicCall(c.env.peer.remoteAddress)
      return await work(c)
    } catch (thrown) {
      return renderFailure(context, c, thrown)
    }
  }
  app.get(STYLE_PATH, (c) => c.body(STYLE, 200, { 'content-type': 'text/css; charset=utf-8', 'cache-control': 'public, max-age=3600' }))
  app.get(
    '/web/login',
    page((c) => showSignIn(context, c, c.req.query('id') ?? '', { status: 200 })),
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

async function showSignIn(context: AuthContext, c: PageContext, id: string, { status, error, user }: Shown): Promise<Response> {
  const flow = await getLoginFlow(context, id)
  const body = renderSignIn({
    clusterName: context.clusterName,
    loginId: id,
    formToken: formToken(context, `login:${id}`),
    user: user ?? flow.user ?? '',
    offersCode: authPreference(context).spec.second_factor !== 'off',
    target: new URL(flow.redirect_uri).host,
    error,
  })
  return answer(c, body, status)
}

async function submitSignIn(context: AuthContext, c: PageContext): Promise<Response> {
  const form = await readForm(c)
  const id = form.get('id') ?? ''
  checkFormToken(context, `login:${id}`, form.get('form_token'))
  const entered = {
    user: (form.get('user') ?? '').slice(0, 255),
    password: form.get('password') ?? '',
    totp: form.get('totp')?.trim() || undefined,
  }
  try {
    return c.redirect(await approveLogin(context, id, entered, c.env.peer.remoteAddress), 303)
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
  return answer(c, body, status)
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
    return answer(c, renderSignedUp({ clusterName: context.clusterName, user, proxy: context.publicAddress() }), 200)
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

/** What a person can put right; everything else goes to the edge, which logs it. */
function known(thrown: unknown): AppError {
  if (thrown instanceof AppError && thrown.code !== 'internal') return thrown
  throw thrown
}

function renderFailure(context: AuthContext, c: PageContext, thrown: unknown): Response {
  const error = toAppError(thrown)
  if (error.code === 'internal') context.log.error(error.message, { ...error.details, cause: error.cause })
  return answer(c, renderNotice('This does not work', context.clusterName, error.message), CODES[error.code].http)
}

function answer(c: PageContext, body: string, status: number): Response {
  return c.html(body, status as ContentfulStatusCode) // every status of CODES allows a body
}

async function readForm(c: PageContext): Promise<URLSearchParams> {
  if (!/^application\/x-www-form-urlencoded(?:$|[ ;])/i.test(c.req.header('content-type') ?? ''))
    throw new AppError('invalid_argument', 'send the form of the page')
  return new URLSearchParams(await c.req.text())
}

/** Bound to one flow, which ends when it was used: a form that another site made up has none. */
function formToken(context: AuthContext, flow: string): string {
  return createHmac('sha256', context.keys.formKey).update(flow).digest('base64url')
}

function checkFormToken(context: AuthContext, flow: string, sent: string | null): void {
  const expected = Buffer.from(formToken(context, flow))
  const given = Buffer.from(sent ?? '')
  if (given.length !== expected.length || !timingSafeEqual(given, expected))
    throw new AppError('permission_denied', 'this form is not from a page of this cluster: open the link again')
}
