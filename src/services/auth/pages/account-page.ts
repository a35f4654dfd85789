import type { ApiToken } from '../../../api/api-tokens.ts'
import type { OAuthGrant } from '../../../api/oauth-grants.ts'
import type { UpstreamAccount } from '../../../api/upstream-accounts.ts'
import type { BrowserSession } from '../oauth/browser-sessions.ts'
import { html } from './html.ts'
import type { Html } from './html.ts'
import { alert, authenticatorSecret, hiddenFields, layout, oneTimeCodeField, passkeyButton } from './layout.ts'

export interface ShownDevice {
  id: string
  name: string
  type: 'totp' | 'webauthn'
  /** It signs in without a password. */
  alone: boolean
  added: number
  lastUsed: number | null
}

export interface AccountPage {
  clusterName: string
  user: string
  formToken: string
  /** To which the challenges of passkeys are bound. */
  flow: string
  grants: readonly OAuthGrant[]
  factors: {
    devices: readonly ShownDevice[]
    /** By which connector the person signs in; nothing is set up here then. */
    connector: string | undefined
    /** Whether the person has just signed in; else nothing is changed. */
    fresh: boolean
    codes: boolean
    passkeys: false | 'here' | { elsewhere: string }
  }
  accounts: readonly UpstreamAccount[]
  tokens: readonly ApiToken[]
  sessions: readonly (BrowserSession & { current: boolean })[]
  error?: string | undefined
}

const PATH = '/web/account'

/** Everything by which somebody, or a program for them, gets in, and how to end it. */
export function renderAccount(page: AccountPage): string {
  return layout(
    'Your account',
    page.clusterName,
    html`<p>You are <b>${page.user}</b>.</p>
      ${alert(page.error)} ${renderGrants(page)} ${renderFactors(page)} ${renderUpstream(page)} ${renderTokens(page)}
      ${renderSessions(page)} ${button(page, { action: 'sign-out' }, 'Sign out')}`,
  )
}

function renderGrants(page: AccountPage): Html {
  const { grants, user } = page
  return html`<section aria-labelledby="clients">
    <h2 id="clients">MCP clients</h2>
    <p class="hint">These act for you, <b>${user}</b>, with your roles.</p>
    ${grants.length === 0 && html`<p>There are none.</p>`}
    ${list(
      grants.map((grant) => {
        const name = grant.client_name ?? grant.client_id
        return html`<h3>${name}</h3>
          <p class="hint">At ${grant.resources.join(', ')}, since ${moment(grant.created)}, until ${moment(grant.expires)}.</p>
          ${button(page, { grant: grant.id }, `End access of ${name}`)}`
      }),
    )}
  </section>`
}

function renderFactors(page: AccountPage): Html {
  const { devices, connector, fresh, codes, passkeys } = page.factors
  if (connector !== undefined)
    return html`<section aria-labelledby="factors">
      <h2 id="factors">Passkeys and codes</h2>
      <p>You sign in by ${connector}: your second factor is there.</p>
    </section>`
  return html`<section aria-labelledby="factors">
    <h2 id="factors">Passkeys and codes</h2>
    ${devices.length === 0 && html`<p>You sign in with your password alone.</p>`}
    ${list(
      devices.map(
        (device) =>
          html`<h3>${device.name}</h3>
            <p class="hint">
              ${describeDevice(device)}, since ${moment(device.added)},
              ${device.lastUsed === null ? 'not used yet' : html`last used ${moment(device.lastUsed)}`}.
            </p>
            ${fresh && button(page, { device: device.id, action: 'remove-device' }, `Remove ${device.name}`)}`,
      ),
    )}
    ${fresh ? renderAdd(page, { codes, passkeys }) : html`<p><a href="${PATH}?again=yes">Sign in again to change these</a></p>`}
  </section>`
}

function renderAdd(page: AccountPage, { codes, passkeys }: Pick<AccountPage['factors'], 'codes' | 'passkeys'>): Html {
  return html`${
    passkeys === 'here' &&
    html`<form data-needs-passkeys hidden action="${PATH}" method="post">
      ${hiddenFields({ form_token: page.formToken, action: 'add-passkey' })}
      <label for="passkey-name">Name of a new passkey</label>
      <input id="passkey-name" name="name" maxlength="64" autocomplete="off" placeholder="for example: laptop" />
      ${passkeyButton('Add a passkey', { flow: page.flow })}
    </form>`
  }
  ${typeof passkeys === 'object' && html`<p class="hint">Passkeys are added at <a href="${passkeys.elsewhere}${PATH}">${new URL(passkeys.elsewhere).host}</a>.</p>`}
  ${codes && html`<p><a href="${PATH}/app">Add an authenticator app</a></p>`}`
}

function renderUpstream(page: AccountPage): Html {
  const { accounts } = page
  return html`<section aria-labelledby="accounts">
    <h2 id="accounts">Accounts at MCP servers</h2>
    ${accounts.length === 0 && html`<p>You have no account at an MCP server.</p>`}
    ${list(
      accounts.map(
        ({ id, server, issuer, created }) =>
          html`<h3><a href="/web/accounts/${encodeURIComponent(server)}">${server}</a></h3>
            <p class="hint">By ${issuer}, since ${moment(created)}.</p>
            ${button(page, { account: id, action: 'end-account' }, `End the account at ${server}`)}`,
      ),
    )}
  </section>`
}

function renderTokens(page: AccountPage): Html {
  const { tokens } = page
  return html`<section aria-labelledby="tokens">
    <h2 id="tokens">API tokens</h2>
    ${tokens.length === 0 && html`<p>You have no API tokens.</p>`}
    ${list(
      tokens.map((token) => {
        const name = token.name || token.id
        return html`<h3>${name}</h3>
          <p class="hint">
            For ${token.servers?.join(', ') ?? 'all MCP servers'}, until ${moment(token.expires)},
            ${token.last_used === null ? 'not used yet' : html`last used ${moment(token.last_used)}`}.
          </p>
          ${button(page, { token: token.id, action: 'revoke-token' }, `Revoke ${name}`)}`
      }),
    )}
  </section>`
}

function renderSessions(page: AccountPage): Html {
  return html`<section aria-labelledby="browsers">
    <h2 id="browsers">Browsers</h2>
    ${list(
      page.sessions.map(
        (session, index) =>
          html`<h3>${session.current ? 'This browser' : `Another browser${index > 1 && ` (${index})`}`}</h3>
            <p class="hint">
              Signed in ${moment(session.signedInAt)} with ${describeMethods(session.methods)}, until ${moment(session.expiresAt)}.
            </p>
            ${!session.current && button(page, { session: session.id, action: 'end-session' }, `Sign out the browser of ${iso(session.signedInAt)}`)}`,
      ),
    )}
  </section>`
}

export interface AppPage {
  clusterName: string
  formToken: string
  totp: { secret: string; uri: string }
  error?: string | undefined
}

/** Where an authenticator app is set up. */
export function renderAddApp({ clusterName, formToken, totp, error }: AppPage): string {
  const describedBy = error === undefined ? html`` : html` aria-describedby="error"`
  return layout(
    'Add an authenticator app',
    clusterName,
    html`<p>Add this secret to your app, by hand or as a link, and enter the code it shows.</p>
      ${alert(error)} ${authenticatorSecret(totp)}
      <form method="post" action="${PATH}/app" ${describedBy}>
        ${hiddenFields({ form_token: formToken, totp_secret: totp.secret })}
        <label for="name">Name</label>
        <input id="name" name="name" maxlength="64" autocomplete="off" placeholder="for example: phone" required />
        ${oneTimeCodeField()}
        <button type="submit">Add it</button>
      </form>
      <p><a href="${PATH}">Back to your account</a></p>`,
  )
}

function list(items: readonly Html[]): Html | false {
  return (
    items.length > 0 &&
    html`<ul class="cards">
      ${items.map((item) => html`<li>${item}</li>`)}
    </ul>`
  )
}

function button({ formToken }: AccountPage, fields: Readonly<Record<string, string>>, words: string): Html {
  return html`<form method="post" action="${PATH}">
    ${hiddenFields({ form_token: formToken, ...fields })}
    <button type="submit" class="second">${words}</button>
  </form>`
}

function describeDevice({ type, alone }: ShownDevice): string {
  if (type === 'totp') return 'Authenticator app'
  return alone ? 'Passkey, also without a password' : 'Passkey, beside your password'
}

function describeMethods(methods: readonly string[]): string {
  const isPasskey = methods.includes('hwk') || methods.includes('swk')
  if (methods.includes('pwd')) return isPasskey ? 'password and passkey' : methods.includes('otp') ? 'password and code' : 'a password'
  return isPasskey ? 'a passkey' : 'an identity provider'
}

function moment(time: string | number): Html {
  const text = iso(time)
  return html`<time datetime="${text.replace(' ', 'T')}Z">${text} UTC</time>`
}

function iso(time: string | number): string {
  return new Date(time).toISOString().slice(0, 16).replace('T', ' ')
}
