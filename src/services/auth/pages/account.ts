import type { Hono } from 'hono'
import type { Provider } from 'oidc-provider'
import type { OAuthGrant } from '../../../api/oauth-grants.ts'
import { AppError, CODES } from '../../../lib/errors.ts'
import { findUserOfAccount } from '../../../storage/credentials.ts'
import type { AppEnv } from '../authenticate.ts'
import type { AuthContext } from '../context.ts'
import { findGrant, listGrants, revokeGrant } from '../oauth/held-grants.ts'
import type { OAuthServer } from '../oauth/serve.ts'
import { sessionSeconds } from '../oauth/grant-life.ts'
import { refuseLockedUser } from '../issue.ts'
import { signIn } from '../sign-in.ts'
import type { SignedIn } from '../sign-in.ts'
import { answerPage, checkFormToken, formToken, known, readForm, readSignIn, servePage } from './form.ts'
import type { PageContext } from './form.ts'
import { html } from './html.ts'
import { layout } from './layout.ts'
import { hiddenFields, renderSignIn } from './sign-in.ts'
import { leadToConnector, waysToSignIn } from './ways.ts'

const PATH = '/web/account'

/** Who is signed in with this browser. */
export interface Visitor {
  user: string
  /** Another one when the user was created anew. */
  account: string
  /** Of the sign-in, for forms. */
  uid: string
  end(): Promise<void>
}

/** The page on which people see which MCP clients act for them, and end that. */
export function addAccountPage(app: Hono<AppEnv>, context: AuthContext, oauth: Pick<OAuthServer, 'provider'>): void {
  app.get(
    PATH,
    servePage(context, async (c) => show(context, c, await findSignedIn(context, c, await oauth.provider()), { status: 200 })),
  )
  app.get(
    `${PATH}/sso`,
    servePage(context, async (c) =>
      leadToConnector(
        context,
        c,
        { name: c.req.query('connector') ?? '', purpose: { type: 'account', next: placeAfter(c.req.query('next') ?? '') } },
        (fault) => show(context, c, undefined, fault),
      ),
    ),
  )
  app.post(
    PATH,
    servePage(context, async (c) => submit(context, c, await oauth.provider())),
  )
}

export async function findSignedIn(context: AuthContext, c: PageContext, provider: Provider): Promise<Visitor | undefined> {
  if (!c.env.node) return undefined
  const session = await provider.Session.get(provider.createContext(c.env.node.request, c.env.node.response))
  const user = session.accountId === undefined ? undefined : await findUserOfAccount(context.db, session.accountId)
  if (user === undefined || session.accountId === undefined || !context.live.find('user', user)) return undefined
  refuseLockedUser(context, user)
  return { user, account: session.accountId, uid: session.uid, end: () => session.destroy() }
}

interface Shown {
  status: number
  error?: string
  user?: string
  /** Where the person wanted to go. */
  next?: string
}

async function show(
  context: AuthContext,
  c: PageContext,
  signedIn: Visitor | undefined,
  { status, error, user = '', next }: Shown,
): Promise<Response> {
  if (signedIn) {
    const grants = await listGrants(context, signedIn.user)
    return answerPage(c, renderAccount(context, signedIn, grants), status)
  }
  const wanted = next ?? c.req.query('next') ?? ''
  const body = renderSignIn({
    clusterName: context.clusterName,
    action: PATH,
    lead: html`<p>Sign in to see which MCP clients act for you.</p>`,
    hidden: { form_token: formToken(context, 'account:sign-in'), next: wanted },
    user,
    ways: waysToSignIn(
      context,
      (connector) => `${PATH}/sso?${new URLSearchParams({ connector, ...(wanted && { next: wanted }) }).toString()}`,
    ),
    closing: 'You stay signed in with this browser for a while.',
    error,
  })
  return answerPage(c, body, status)
}

async function submit(context: AuthContext, c: PageContext, provider: Provider): Promise<Response> {
  const form = await readForm(c)
  const signedIn = await findSignedIn(context, c, provider)
  if (!signedIn) return await submitSignIn(context, c, provider, form)
  checkFormToken(context, flowOf(signedIn), form.get('form_token'))
  if (form.get('action') === 'sign-out') {
    await signedIn.end()
    return c.redirect(PATH, 303)
  }
  const grant = await findGrant(context, form.get('grant') ?? '')
  if (grant?.user !== signedIn.user) throw new AppError('not_found', 'that client acts for you no longer')
  await revokeGrant(context, grant, { identity: undefined, remoteAddress: c.env.peer.remoteAddress }, 'by the user')
  return c.redirect(PATH, 303)
}

async function submitSignIn(context: AuthContext, c: PageContext, provider: Provider, form: URLSearchParams): Promise<Response> {
  checkFormToken(context, 'account:sign-in', form.get('form_token'))
  const entered = readSignIn(form)
  const next = form.get('next') ?? ''
  try {
    await openSession(context, c, provider, await signIn(context, entered, c.env.peer.remoteAddress, 'browser'))
    return c.redirect(placeAfter(next), 303)
  } catch (thrown) {
    const error = known(thrown)
    return await show(context, c, undefined, { status: CODES[error.code].http, error: error.message, user: entered.user, next })
  }
}

/** A page of ours, and none that only a redirect leads to. */
export function placeAfter(next: string): string {
  return /^\/web\/accounts(?:\/[A-Za-z0-9._~%-]{1,800})?$/.test(next) ? next : PATH
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
  cookies.set(sessionCookie(provider), session.jti, { httpOnly: true, sameSite: 'lax', secure, signed: true })
}

function sessionCookie(provider: Provider): string {
  return provider.cookieName('session')
}

function flowOf({ uid }: Visitor): string {
  return `account:${uid}`
}

function renderAccount(context: AuthContext, signedIn: Visitor, grants: readonly OAuthGrant[]): string {
  const form_token = formToken(context, flowOf(signedIn))
  return layout(
    'Your clients',
    context.clusterName,
    html`<p>These MCP clients act for you, <b>${signedIn.user}</b>.</p>
      ${grants.length === 0 && html`<p>There are none.</p>`}
      ${grants.map(
        (grant) =>
          html`<section>
            <h2>${grant.client_name ?? grant.client_id}</h2>
            <p>
              At ${grant.resources.join(', ')}, since ${grant.created.slice(0, 16).replace('T', ' ')} and until
              ${grant.expires.slice(0, 16).replace('T', ' ')} (UTC).
            </p>
            <form method="post" action="${PATH}">
              ${hiddenFields({ form_token, grant: grant.id })}
              <button type="submit" class="second">End access of ${grant.client_name ?? grant.client_id}</button>
            </form>
          </section>`,
      )}
      <form method="post" action="${PATH}">
        ${hiddenFields({ form_token })}
        <button type="submit" name="action" value="sign-out" class="second">Sign out</button>
      </form>`,
  )
}
