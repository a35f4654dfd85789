import { html } from './html.ts'
import type { Html } from './html.ts'
import { alert, hiddenFields, layout, oneTimeCodeField, passkeyButton } from './layout.ts'

export interface SignInPage {
  clusterName: string
  /** Where the form goes, and what it takes along. */
  action: string
  hidden: Readonly<Record<string, string>>
  /** To which the form and the challenges of passkeys are bound. */
  flow: string
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
  /** Whether a passkey alone signs in, and where: `elsewhere` has the address at which it does. */
  passkeys: false | 'here' | { elsewhere: string }
  /** Identity providers, each with the page that leads there. */
  connectors: readonly { display: string; href: string }[]
  /** How people usually sign in here. */
  first: 'password' | 'passkey' | 'connector'
}

export function renderSignIn(page: SignInPage): string {
  const { passwords, connectors, passkeys, first } = page.ways
  const usual = !passwords && passkeys !== 'here' ? 'connector' : first
  const buttons = connectors.map(
    ({ display, href }, index) =>
      html`<a class="button${usual === 'connector' && index === 0 && ' first'}" href="${href}">Sign in with ${display}</a>`,
  )
  const ways: Record<WaysToSignIn['first'], Html | false> = {
    password: passwords && renderForm(page, usual === 'password'),
    passkey: renderPasskey(page, usual === 'passkey'),
    connector: connectors.length > 0 && html`${buttons}`,
  }
  const rest = (['password', 'passkey', 'connector'] as const).filter((way) => way !== usual)
  const or = html`<p class="or">or</p>`
  const others = rest.flatMap((way) => (ways[way] ? [...(way === 'passkey' ? [] : [or]), ways[way]] : []))
  return layout(
    'Sign in',
    page.clusterName,
    html`${page.lead} ${alert(page.error)} ${ways[usual]} ${others}
      ${!passwords && connectors.length === 0 && html`<p>Nobody can sign in here now: ask your administrator.</p>`}
      <p class="hint">${page.closing}</p>`,
  )
}

/** Under the password there is a line between the two; what no browser can use is not there. */
function renderPasskey({ ways: { passkeys }, action, hidden, flow }: SignInPage, first: boolean): Html | false {
  if (passkeys === false) return false
  if (passkeys !== 'here')
    return html`<p class="hint">Passkeys work at <a href="${passkeys.elsewhere}">${new URL(passkeys.elsewhere).host}</a>.</p>`
  return html`<form data-needs-passkeys hidden method="post" action="${action}">
      ${hiddenFields(hidden)} ${passkeyButton('Sign in with a passkey', { flow, first })}
    </form>
    ${first && html`<p class="alert" data-without-passkeys hidden>This browser has no passkeys.</p>`}`
}

function renderForm(page: SignInPage, isFirst: boolean): Html {
  const describedBy = page.error === undefined ? html`` : html` aria-describedby="error"`
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
      required${isFirst && page.user === '' && html` autofocus`}
    />
    <label for="password">Password</label>
    <input
      id="password"
      name="password"
      type="password"
      autocomplete="current-password"
      maxlength="256"
      required${isFirst && page.user !== '' && html` autofocus`}
    />
    ${page.ways.codes && oneTimeCodeField({ required: false, hint: 'From your authenticator app, if you have set one up.' })}
    <button type="submit" ${!isFirst && html` class="second"`}>Sign in</button>
  </form>`
}

export interface SecondFactorPage {
  clusterName: string
  action: string
  hidden: Readonly<Record<string, string>>
  flow: string
  user: string
  /** Whether the person has such a one. */
  codes: boolean
  passkeys: boolean
  /** Where passkeys of this cluster work, if not at this address. */
  passkeysAt: string | undefined
  /** The page on which this began. */
  again: string
  error?: string | undefined
}

/** The second step of who has given the right password. */
export function renderSecondFactor(page: SecondFactorPage): string {
  const { action, hidden, flow, codes, passkeys, passkeysAt } = page
  const describedBy = page.error === undefined ? html`` : html` aria-describedby="error"`
  return layout(
    'One more step',
    page.clusterName,
    html`<p>You are signing in as <b>${page.user}</b>. Prove that it is you.</p>
      ${alert(page.error)}
      ${
        passkeys &&
        passkeysAt === undefined &&
        html`<form data-needs-passkeys hidden method="post" action="${action}">
            ${hiddenFields(hidden)} ${passkeyButton('Use your passkey', { flow, first: true })}
          </form>
          <p class="alert" data-without-passkeys hidden>This browser has no passkeys${codes ? '.' : ': sign in with one that has.'}</p>
          <noscript><p class="alert">Passkeys need JavaScript.</p></noscript>`
      }
      ${passkeys && passkeysAt !== undefined && html`<p class="alert">Your passkey works at ${passkeysAt}, not at this address: sign in there.</p>`}
      ${
        codes &&
        html`<form method="post" action="${action}" ${describedBy}>
          ${hiddenFields(hidden)} ${oneTimeCodeField({ autofocus: !passkeys })}
          <button type="submit" ${passkeys && html` class="second"`}>Go on</button>
        </form>`
      }
      <p><a href="${page.again}">Start again</a></p>`,
  )
}
