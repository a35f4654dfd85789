import { html } from './html.ts'
import { alert, layout } from './layout.ts'

export interface SignInPage {
  clusterName: string
  loginId: string
  formToken: string
  user: string
  /** Whether a one-time code may be asked for in this cluster. */
  offersCode: boolean
  /** Where the browser goes afterwards. */
  target: string
  error?: string | undefined
}

export function renderSignIn(page: SignInPage): string {
  const describedBy = page.error === undefined ? html`` : html` aria-describedby="error"`
  return layout(
    'Sign in',
    page.clusterName,
    html`<p>tsh on this computer asks to act as you. Go on only if you have just typed <b>tsh login</b> yourself.</p>
      ${alert(page.error)}
      <form method="post" action="/web/login" autocomplete="on" ${describedBy}>
        <input type="hidden" name="id" value="${page.loginId}" />
        <input type="hidden" name="form_token" value="${page.formToken}" />
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
      <p class="hint">You come back to ${page.target} on this computer.</p>`,
  )
}
