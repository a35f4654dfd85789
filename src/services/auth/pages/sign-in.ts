import { html } from './html.ts'
import type { Html } from './html.ts'
import { alert, layout } from './layout.ts'

export interface SignInPage {
  clusterName: string
  /** Where the form goes, and what it takes along. */
  action: string
  hidden: Readonly<Record<string, string>>
  /** Who asks. */
  lead: Html
  user: string
  ways: WaysToSignIn
  /** What happens afterwards. */
  closing: string
  error?: string | undefined
}

export interface WaysToSignIn {
  passwords: boolean
  /** Whether a one-time code may be asked for in this cluster. */
  codes: boolean
  /** Identity providers, each with the page that leads there. */
  connectors: readonly { display: string; href: string }[]
  /** Whether the first of them is how people usually sign in here. */
  connectorsFirst: boolean
}

export function renderSignIn(page: SignInPage): string {
  const { passwords, connectors, connectorsFirst } = page.ways
  const or = passwords && connectors.length > 0 && html`<p class="or">or</p>`
  const isFirst = connectorsFirst || !passwords
  const buttons = connectors.map(
    ({ display, href }, index) => html`<a class="button${isFirst && index === 0 && ' first'}" href="${href}">Sign in with ${display}</a>`,
  )
  const form = passwords && renderForm(page)
  return layout(
    'Sign in',
    page.clusterName,
    html`${page.lead} ${alert(page.error)}
      ${isFirst ? [...buttons, or || html``, form || html``] : [form || html``, or || html``, ...buttons]}
      ${!passwords && connectors.length === 0 && html`<p>Nobody can sign in here now: ask your administrator.</p>`}
      <p class="hint">${page.closing}</p>`,
  )
}

function renderForm(page: SignInPage): Html {
  const describedBy = page.error === undefined ? html`` : html` aria-describedby="error"`
  const takesFocus = !page.ways.connectorsFirst
  return html`<form method="post" action="${page.action}" autocomplete="on" ${describedBy}>
    ${hiddenFields(page.hidden)}
    <label for="user">User name</label>
    <input
      id="user"
      name="user"
      value="${page.user}"
      autocomplete="username"
      autocapitalize="none"
      spellcheck="false"
      maxlength="255"
      required${takesFocus && page.user === '' && html` autofocus`}
    />
    <label for="password">Password</label>
    <input
      id="password"
      name="password"
      type="password"
      autocomplete="current-password"
      maxlength="256"
      required${takesFocus && page.user !== '' && html` autofocus`}
    />
    ${
      page.ways.codes &&
      html`<label for="totp">One-time code</label>
        <input id="totp" name="totp" inputmode="numeric" autocomplete="one-time-code" pattern="[0-9]{6}" maxlength="6" />
        <p class="hint">From your authenticator app, if you have set one up.</p>`
    }
    <button type="submit">Sign in</button>
  </form>`
}

/** Members of a form that nobody sees. */
export function hiddenFields(fields: Readonly<Record<string, string>>): Html[] {
  return Object.entries(fields).map(([name, value]) => html`<input type="hidden" name="${name}" value="${value}" />`)
}
