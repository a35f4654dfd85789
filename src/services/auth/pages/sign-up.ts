import { html } from './html.ts'
import { alert, layout } from './layout.ts'

export interface SignUpPage {
  clusterName: string
  token: string
  formToken: string
  user: string
  purpose: string
  totp: { required: boolean; offered: boolean; secret: string; uri: string }
  error?: string | undefined
}

export function renderSignUp(page: SignUpPage): string {
  const { totp, user } = page
  const describedBy = page.error === undefined ? html`` : html` aria-describedby="error"`
  return layout(
    page.purpose === 'reset' ? 'Set a new password' : 'Welcome',
    page.clusterName,
    html`<p>You are <b>${user}</b>. Choose a password of at least 12 characters.</p>
      ${alert(page.error)}
      <form method="post" action="/web/signup/${page.token}" ${describedBy}>
        <input type="hidden" name="form_token" value="${page.formToken}" />
        <input type="hidden" name="totp_secret" value="${totp.secret}" />
        <input type="hidden" name="username" value="${user}" autocomplete="username" />
        <label for="password">Password</label>
        <input
          id="password"
          name="password"
          type="password"
          autocomplete="new-password"
          minlength="12"
          maxlength="256"
          required
          autofocus
        />
        <label for="again">The same again</label>
        <input id="again" name="again" type="password" autocomplete="new-password" minlength="12" maxlength="256" required />
        ${
          totp.offered &&
          html`<fieldset>
            <legend>Second factor${!totp.required && html` (optional)`}</legend>
            <p>Add this secret to your authenticator app, by hand or as a link, and enter the code it shows.</p>
            <code>${totp.secret}</code>
            <p><a href="${totp.uri}">Open in an authenticator app on this device</a></p>
            <label for="totp">One-time code</label>
            <input
              id="totp"
              name="totp"
              inputmode="numeric"
              autocomplete="one-time-code"
              pattern="[0-9]{6}"
              maxlength="6"
              ${totp.required && html` required`}
            />
          </fieldset>`
        }
        <button type="submit">Save</button>
      </form>`,
  )
}

export function renderSignedUp(page: { clusterName: string; user: string; proxy: string }): string {
  return layout(
    'Done',
    page.clusterName,
    html`<p>Your password is set. Now sign in from your terminal:</p>
      <code>tsh login --proxy=${page.proxy} --user=${page.user}</code>
      <p class="hint">This link is used up. You can close the page.</p>`,
  )
}
