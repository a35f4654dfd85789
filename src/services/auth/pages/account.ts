import type { Hono } from 'hono'
import type { Provider } from 'oidc-provider'
import { AppError, CODES } from '../../../lib/errors.ts'
import { originOfUser } from '../../../resources/connector.ts'
import { secondFactorsOf } from '../../../resources/second-factors.ts'
import { listMfaDevices } from '../../../storage/mfa-devices.ts'
import type { AppEnv } from '../authenticate.ts'
import { authPreference } from '../context.ts'
import type { AuthContext } from '../context.ts'
import { addDevice, readApp, readPasskey, removeDevice, standsAlone } from '../mfa/devices.ts'
import { endBrowserSession, listBrowserSessions } from '../oauth/browser-sessions.ts'
import { findGrant, listGrants, revokeGrant } from '../oauth/held-grants.ts'
import type { OAuthServer } from '../oauth/serve.ts'
import { listOwnApiTokens, revokeOwnApiToken } from '../routes/api-tokens.ts'
import { describeTotp, offerTotp } from '../totp.ts'
import { dropGrant, findAccount, listAccounts } from '../upstream-accounts/grants.ts'
import { renderAccount, renderAddApp } from './account-page.ts'
import { answerPage, checkFormToken, formToken, known, readForm, servePage } from './form.ts'
import type { PageContext } from './form.ts'
import { html } from './html.ts'
import { findPasskeys, placeOf } from './passkey-place.ts'
import { showSignIn, submitSignIn } from './signing-in.ts'
import type { SignInSurface } from './signing-in.ts'
import { findSignedIn, flowOfVisitor, isFresh, openSession } from './visitor.ts'
import type { Visitor } from './visitor.ts'
import { leadToConnector } from './ways.ts'
import type { Fault } from './ways.ts'

const PATH = '/web/account'
const AGAIN = 'Sign in again to change how you sign in.'

/** The page on which people see and end everything by which they, and programs for them, get in. */
export function addAccountPage(app: Hono<AppEnv>, context: AuthContext, oauth: Pick<OAuthServer, 'provider'>): void {
  const page = (work: (c: PageContext, provider: Provider) => Promise<Response>) =>
    servePage(context, async (c) => await work(c, await oauth.provider()))
  app.get(
    PATH,
    page((c, provider) => show(context, c, provider)),
  )
  app.get(
    `${PATH}/sso`,
    page((c, provider) => lead(context, c, provider)),
  )
  app.post(
    PATH,
    page((c, provider) => submit(context, c, provider)),
  )
  app.get(
    `${PATH}/app`,
    page((c, provider) => showApp(context, c, provider)),
  )
  app.post(
    `${PATH}/app`,
    page((c, provider) => submitApp(context, c, provider)),
  )
}

async function show(context: AuthContext, c: PageContext, provider: Provider): Promise<Response> {
  const visitor = await findSignedIn(context, c, provider)
  if (visitor && c.req.query('again') === undefined) return await showAccount(context, c, visitor, { status: 200 })
  return showSignIn(context, c, surfaceOf(context, c, provider, { visitor, next: c.req.query('next') ?? '' }), { status: 200 })
}

async function lead(context: AuthContext, c: PageContext, provider: Provider): Promise<Response> {
  const next = c.req.query('next') ?? ''
  const way = { name: c.req.query('connector') ?? '', purpose: { type: 'account' as const, next: placeAfter(next) } }
  return await leadToConnector(context, c, way, (fault) => showSignIn(context, c, surfaceOf(context, c, provider, { next }), fault))
}

function surfaceOf(
  context: AuthContext,
  c: PageContext,
  provider: Provider,
  { visitor, next }: { visitor?: Visitor | undefined; next: string },
): SignInSurface {
  const query = new URLSearchParams({ ...(visitor && { again: 'yes' }), ...(next && { next }) }).toString()
  return {
    flow: 'account:sign-in',
    action: PATH,
    hidden: { next, sign_in: 'yes' },
    page: query === '' ? PATH : `${PATH}?${query}`,
    isMovable: true,
    lead: visitor ? html`<p>${AGAIN}</p>` : html`<p>Sign in to see who acts for you, and how you sign in.</p>`,
    closing: 'You stay signed in with this browser for a while.',
    user: visitor?.user,
    pageOfConnector: (connector) => `${PATH}/sso?${new URLSearchParams({ connector, ...(next && { next }) }).toString()}`,
    goOn: async (signedIn) => {
      await visitor?.end()
      await openSession(context, c, provider, signedIn)
      return c.redirect(placeAfter(next), 303)
    },
  }
}

async function showAccount(context: AuthContext, c: PageContext, visitor: Visitor, { status, error }: Fault): Promise<Response> {
  const { user, account, uid } = visitor
  const flow = flowOfVisitor(visitor)
  const known = context.live.find('user', user)
  const { otp, webauthn } = secondFactorsOf(authPreference(context).spec)
  const devices = await listMfaDevices(context.db, user)
  const sessions = await listBrowserSessions(context, account)
  const body = renderAccount({
    clusterName: context.clusterName,
    user,
    formToken: formToken(context, flow),
    flow,
    grants: await listGrants(context, user),
    factors: {
      devices: devices.map((device) => ({
        ...device,
        alone: standsAlone(context, device),
        added: device.created_at,
        lastUsed: device.last_used_at,
      })),
      connector: known && originOfUser(known)?.id,
      fresh: await isFresh(context, visitor),
      codes: otp,
      passkeys: webauthn && findPasskeys(context, c),
    },
    accounts: await listAccounts(context, account),
    tokens: await listOwnApiTokens(context, user),
    sessions: sessions
      .map((session) => ({ ...session, current: session.uid === uid }))
      .toSorted((a, b) => Number(b.current) - Number(a.current)),
    error,
  })
  return answerPage(c, body, status)
}

async function submit(context: AuthContext, c: PageContext, provider: Provider): Promise<Response> {
  const form = await readForm(c)
  const visitor = await findSignedIn(context, c, provider)
  if (!visitor || form.has('sign_in'))
    return await submitSignIn(context, c, surfaceOf(context, c, provider, { visitor, next: form.get('next') ?? '' }), form)
  checkFormToken(context, flowOfVisitor(visitor), form.get('form_token'))
  const action = form.get('action') ?? ''
  if ((action === 'add-passkey' || action === 'remove-device') && !(await isFresh(context, visitor)))
    return showSignIn(context, c, surfaceOf(context, c, provider, { visitor, next: '' }), { status: 403 })
  try {
    await change(context, c, visitor, form)
  } catch (thrown) {
    const error = known(thrown)
    if (action === '') throw error
    return await showAccount(context, c, visitor, { status: CODES[error.code].http, error: error.message })
  }
  return c.redirect(PATH, 303)
}

async function change(context: AuthContext, c: PageContext, visitor: Visitor, form: URLSearchParams): Promise<void> {
  const { user, account } = visitor
  const { remoteAddress } = c.env.peer
  const caller = { identity: undefined, remoteAddress }
  switch (form.get('action')) {
    case 'sign-out':
      return await visitor.end()
    case 'add-passkey': {
      const name = form.get('name')?.trim() || (await freeName(context, user))
      const place = placeOf(context, c, flowOfVisitor(visitor))
      return await addDevice(context, { user, remoteAddress }, () => readPasskey(context, name, form.get('passkey') ?? '', place, user))
    }
    case 'remove-device':
      return await removeDevice(context, { user, remoteAddress }, { id: form.get('device') ?? '' })
    case 'end-account': {
      const held = await findAccount(context, form.get('account') ?? '')
      if (held?.user !== user) throw new AppError('not_found', 'you have no such account any more')
      return await dropGrant(context, held.id, caller, 'by the user')
    }
    case 'revoke-token':
      return await revokeOwnApiToken(context, { user, remoteAddress }, form.get('token') ?? '')
    case 'end-session':
      return await endBrowserSession(context, { user, account, remoteAddress }, form.get('session') ?? '')
    default: {
      const grant = await findGrant(context, form.get('grant') ?? '')
      if (grant?.user !== user) throw new AppError('not_found', 'that client acts for you no longer')
      return await revokeGrant(context, grant, caller, 'by the user')
    }
  }
}

async function showApp(context: AuthContext, c: PageContext, provider: Provider): Promise<Response> {
  const visitor = await findSignedIn(context, c, provider)
  if (!visitor || !(await isFresh(context, visitor))) return c.redirect(visitor ? `${PATH}?again=yes` : PATH, 303)
  const totp = offerTotp(visitor.user, context.clusterName, context.random)
  const token = formToken(context, flowOfVisitor(visitor))
  return answerPage(c, renderAddApp({ clusterName: context.clusterName, formToken: token, totp }), 200)
}

async function submitApp(context: AuthContext, c: PageContext, provider: Provider): Promise<Response> {
  const form = await readForm(c)
  const visitor = await findSignedIn(context, c, provider)
  if (!visitor || !(await isFresh(context, visitor))) return c.redirect(visitor ? `${PATH}?again=yes` : PATH, 303)
  const token = form.get('form_token')
  checkFormToken(context, flowOfVisitor(visitor), token)
  const { user } = visitor
  const secret = form.get('totp_secret') ?? ''
  const given = { name: form.get('name') ?? '', secret, code: form.get('totp')?.trim() ?? '' }
  try {
    await addDevice(context, { user, remoteAddress: c.env.peer.remoteAddress }, () => readApp(context, user, given))
    return c.redirect(PATH, 303)
  } catch (thrown) {
    const error = known(thrown)
    const kept = /^[A-Z2-7]{32,64}$/.test(secret) ? secret : undefined
    const totp = kept === undefined ? offerTotp(user, context.clusterName, context.random) : describeTotp(user, context.clusterName, kept)
    const page = { clusterName: context.clusterName, formToken: token ?? '', totp, error: error.message.replace(/^(?:totp|name): /, '') }
    return answerPage(c, renderAddApp(page), CODES[error.code].http)
  }
}

/** For who gives none: passkey, passkey 2, … */
async function freeName(context: AuthContext, user: string): Promise<string> {
  const taken = new Set((await listMfaDevices(context.db, user)).map(({ name }) => name))
  for (let number = 1; ; number += 1) {
    const name = number === 1 ? 'passkey' : `passkey ${number}`
    if (!taken.has(name)) return name
  }
}

/** A page of ours, and none that only a redirect leads to. */
export function placeAfter(next: string): string {
  return /^\/web\/accounts(?:\/[A-Za-z0-9._~%-]{1,800})?$/.test(next) ? next : PATH
}
