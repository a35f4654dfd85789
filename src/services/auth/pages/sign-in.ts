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
  /** Whether a one-time code may be asked for in this cluster. */
  offersCode: boolean
  /** What happens afterwards. */
  closing: string
  error?: string | undefined
}

export function renderSignIn(page: SignInPage): string {
  const describedBy = page.error === undefined ? html`` : html` aria-describedby="error"`
  return layout(
    'Sign in',
    page.clusterName,
    html`${page.lead} ${alert(page.error)}
      <form method="post" action="${page.action}" autocomplete="on" ${describedBy}>
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
          required${page.user === '' && html` autofocus`}
        />
        <label for="password">Password</label>
        <input
          id="password"
          name="password"
          type="password"
          autocomplete="current-password"
          maxlength="256"
          required${page.user !== '' && html` autofocus`}
        />
        ${
          page.offersCode &&
          html`<label for="totp">One-time code</label>
            <input id="totp" name="totp" inputmode="numeric" autocomplete="one-time-code" pattern="[0-9]{6}" maxlength="6" />
            <p class="hint">From your authenticator app, if you have set one up.</p>`
        }
        <button type="submit">Sign in</button>
      </form>
      <p class="hint">${page.closing}</p>`,
  )
}

/** Members of a form that nobody sees. */
export function hiddenFields(fields: Readonly<Record<string, string>>): Html[] {
  return Object.entries(fields).map(([name, value]) => html`<input type="hidden" name="${name}" value="${value}" />`)
}
