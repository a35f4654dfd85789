import type { Hono } from 'hono'
import type { Provider } from 'oidc-provider'
import { serverAccess } from '../../../access/check.ts'
import { compileRoles } from '../../../access/role-set.ts'
import { serverViewOf } from '../../../access/server-view.ts'
import type { UpstreamAccount } from '../../../api/upstream-accounts.ts'
import { AppError } from '../../../lib/errors.ts'
import { type App, upstreamUrl } from '../../../resources/app.ts'
import type { AppEnv } from '../authenticate.ts'
import { rolesOf } from '../authorize.ts'
import { requiresMfa } from '../context.ts'
import type { AuthContext } from '../context.ts'
import type { OAuthServer } from '../oauth/serve.ts'
import { clientDocument } from '../upstream-accounts/clients.ts'
import { beginSignIn, finishSignIn } from '../upstream-accounts/connect.ts'
import type { AccountFetch } from '../upstream-accounts/discovery.ts'
import { dropGrant, findAccount, listAccounts } from '../upstream-accounts/grants.ts'
import { answerPage, checkFormToken, formToken, readForm, servePage } from './form.ts'
import type { PageContext } from './form.ts'
import { html } from './html.ts'
import { hiddenFields, layout } from './layout.ts'
import { findSignedIn, type Visitor } from './visitor.ts'

const PATH = '/web/accounts'

/** The pages on which people sign in to MCP servers with accounts of their own, and see and end that. */
export function addUpstreamAccountPages(
  app: Hono<AppEnv>,
  context: AuthContext,
  oauth: Pick<OAuthServer, 'provider'>,
  fetch: AccountFetch,
): void {
  const page = (work: (c: PageContext, provider: Provider) => Promise<Response>) =>
    servePage(context, async (c) => await work(c, await oauth.provider()))
  app.get(`${PATH}/:app/client.json`, (c) => {
    if (!context.live.find('app', c.req.param('app'))?.spec.mcp?.oauth) throw new AppError('not_found', 'there is no such client')
    return c.json(clientDocument(context, c.req.param('app')), 200, { 'cache-control': 'public, max-age=300' })
  })
  app.get(
    `${PATH}/:app/callback`,
    page((c, provider) => finish(context, c, provider, fetch)),
  )
  for (const path of [PATH, `${PATH}/:app`]) {
    app.get(
      path,
      page((c, provider) => show(context, c, provider)),
    )
    app.post(
      path,
      page((c, provider) => submit(context, c, provider, fetch)),
    )
  }
}

async function show(context: AuthContext, c: PageContext, provider: Provider): Promise<Response> {
  const signedIn = await findSignedIn(context, c, provider)
  const name = c.req.param('app')
  if (!signedIn) return c.redirect(`/web/account?next=${encodeURIComponent(pathOf(name))}`, 303)
  const accounts = await listAccounts(context, signedIn.account)
  const app = name === undefined ? undefined : getApp(context, signedIn, name)
  return answerPage(c, app ? renderOne(context, signedIn, app, accounts) : renderAll(context, signedIn, accounts), 200)
}

async function submit(context: AuthContext, c: PageContext, provider: Provider, fetch: AccountFetch): Promise<Response> {
  const name = c.req.param('app')
  const signedIn = await findSignedIn(context, c, provider)
  if (!signedIn) return c.redirect(`/web/account?next=${encodeURIComponent(pathOf(name))}`, 303)
  const form = await readForm(c)
  checkFormToken(context, flowOf(signedIn, name), form.get('form_token'))
  const { remoteAddress } = c.env.peer
  if (form.get('action') === 'end') {
    const account = await findAccount(context, form.get('account') ?? '')
    if (account?.user !== signedIn.user) throw new AppError('not_found', 'you have no such account any more')
    await dropGrant(context, account.id, { identity: undefined, remoteAddress }, 'by the user')
    return c.redirect(pathOf(name), 303)
  }
  if (name === undefined) throw new AppError('invalid_argument', 'choose an MCP server')
  const app = getApp(context, signedIn, name)
  const target = await beginSignIn(context, app, { user: signedIn.user, account: signedIn.account, remoteAddress }, fetch)
  // A form may not lead elsewhere, which browsers hold redirects to as well: the person goes on by a link.
  return answerPage(c, renderLeave(context, app, target), 200)
}

async function finish(context: AuthContext, c: PageContext, provider: Provider, fetch: AccountFetch): Promise<Response> {
  const name = c.req.param('app') ?? ''
  const signedIn = await findSignedIn(context, c, provider)
  if (!signedIn) throw new AppError('unauthenticated', 'you are not signed in with this browser any more: begin again')
  const app = getApp(context, signedIn, name)
  const person = { user: signedIn.user, account: signedIn.account, remoteAddress: c.env.peer.remoteAddress }
  await finishSignIn(context, app, person, new URL(c.req.url).searchParams, fetch)
  return c.redirect(`${pathOf(name)}?done=1`, 303)
}

/** One that the person may use. Throws `not_found`. */
function getApp(context: AuthContext, { user }: Visitor, name: string): App {
  const app = context.live.find('app', name)
  const holder = context.live.find('user', user)
  if (app?.spec.mcp?.oauth && holder) {
    const { roles, traits = {} } = holder.spec
    const proven = { credential: 'local', credentialId: '', expiresAt: context.now(), mfaVerified: true } as const
    const roleSet = compileRoles(rolesOf(context, roles), { kind: 'user', name: user, roles, traits, ...proven })
    const { decision } = serverAccess(roleSet, serverViewOf(app), { mfaVerified: true, requireMfa: requiresMfa(context) })
    if (decision.allow) return app
  }
  throw new AppError('not_found', `there is no MCP server "${name}" for which you could have an account`)
}

function pathOf(name: string | undefined): string {
  return name === undefined ? PATH : `${PATH}/${encodeURIComponent(name)}`
}

function flowOf({ uid }: Visitor, name: string | undefined): string {
  return `accounts:${uid}:${name ?? ''}`
}

function renderOne(context: AuthContext, signedIn: Visitor, app: App, accounts: readonly UpstreamAccount[]): string {
  const { name } = app.metadata
  const account = accounts.find(({ server }) => server === name)
  const form_token = formToken(context, flowOf(signedIn, name))
  return layout(
    `Your account at ${name}`,
    context.clusterName,
    html`${
        account
          ? html`<p>
              You, <b>${signedIn.user}</b>, are signed in to <b>${name}</b>. You can close this page and go on in your MCP client.
            </p>`
          : html`<p><b>${name}</b> at <b>${upstreamUrl(app).host}</b> asks for an account of your own.</p>`
      }
      <p>
        ${context.clusterName} keeps what you allow it there, sealed, and uses it for calls that you, <b>${signedIn.user}</b>, make to
        <b>${name}</b>; nobody else can use it.
      </p>
      <form method="post" action="${pathOf(name)}">
        ${hiddenFields({ form_token, account: account?.id ?? '' })}
        <button type="submit" name="action" value="begin">${account ? 'Sign in anew' : `Sign in to ${name}`}</button>
        ${account && html`<button type="submit" name="action" value="end" class="second">End it</button>`}
      </form>
      <p><a href="${PATH}">All your accounts</a></p>`,
  )
}

function renderLeave(context: AuthContext, app: App, target: string): string {
  const { name } = app.metadata
  return layout(
    'You leave this page',
    context.clusterName,
    html`<p>You go on at <b>${new URL(target).host}</b>, which asks you what ${context.clusterName} may do at <b>${name}</b>.</p>
      <p><a href="${target}" rel="noreferrer">Go on to ${new URL(target).host}</a></p>
      <p><a href="${pathOf(name)}">Back</a></p>`,
  )
}

function renderAll(context: AuthContext, signedIn: Visitor, accounts: readonly UpstreamAccount[]): string {
  const form_token = formToken(context, flowOf(signedIn, undefined))
  return layout(
    'Your accounts',
    context.clusterName,
    html`<p>At these MCP servers you, <b>${signedIn.user}</b>, have an account of your own.</p>
      ${accounts.length === 0 && html`<p>There are none.</p>`}
      ${accounts.map(
        ({ id, server, issuer, created }) =>
          html`<section>
            <h2><a href="${pathOf(server)}">${server}</a></h2>
            <p>By ${issuer}, since ${created.slice(0, 16).replace('T', ' ')} (UTC).</p>
            <form method="post" action="${PATH}">
              ${hiddenFields({ form_token, account: id })}
              <button type="submit" name="action" value="end" class="second">End the account at ${server}</button>
            </form>
          </section>`,
      )}
      <p><a href="/web/account">The clients that act for you</a></p>`,
  )
}
