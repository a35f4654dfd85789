import { html } from './html.ts'
import type { Html } from './html.ts'
import { alert, authenticatorSecret, hiddenFields, layout, oneTimeCodeField, passkeyButton } from './layout.ts'

export interface SignUpPage {
  clusterName: string
  token: string
  formToken: string
  /** To which the challenges of passkeys are bound. */
  flow: string
  user: string
  purpose: string
  /** Whether a second factor is needed beside a password. */
  required: boolean
  totp: { offered: boolean; secret: string; uri: string }
  /** Whether passkeys are second factors here, and whether one alone signs in. */
  passkeys: { second: boolean; alone: boolean }
  /** The address of this page where passkeys work, if they do not here. */
  passkeysAt: string | undefined
  error?: string | undefined
}

export function renderSignUp(page: SignUpPage): string {
  const { user, passkeys, passkeysAt } = page
  return layout(
    page.purpose === 'reset' ? 'Set how you sign in' : 'Welcome',
    page.clusterName,
    html`<p>You are <b>${user}</b>. Choose how you sign in from now on.</p>
      ${alert(page.error)} ${passkeys.alone && renderAlone(page)}
      ${
        passkeysAt !== undefined &&
        html`<p class="hint">
          With a passkey instead of a password: <a href="${passkeysAt}">open this page at ${new URL(passkeysAt).host}</a>.
        </p>`
      }
      ${renderPassword(page)}`,
  )
}

function renderAlone({ token, formToken, flow }: SignUpPage): Html {
  return html`<form data-needs-passkeys hidden method="post" action="/web/signup/${token}">
    <h2>With a passkey</h2>
    <p class="hint">
      Your finger, face, PIN or security key signs you in. There is nothing to remember, and nothing to give away to a wrong page.
    </p>
    ${hiddenFields({ form_token: formToken })} ${passkeyButton('Create a passkey', { flow, alone: true, first: true })}
    <h2>Or with a password</h2>
  </form>`
}

function renderPassword(page: SignUpPage): Html {
  const { totp, user, required, passkeys, flow } = page
  const describedBy = page.error === undefined ? html`` : html` aria-describedby="error"`
  const needsPasskey = required && !totp.offered
  return html`<form method="post" action="/web/signup/${page.token}" ${describedBy}>
    ${hiddenFields({ form_token: page.formToken, totp_secret: totp.secret })}
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
      aria-describedby="password-hint"
      ${!passkeys.alone && html` autofocus`}
    />
    <p class="hint" id="password-hint">At least 12 characters.</p>
    <label for="again">The same again</label>
    <input id="again" name="again" type="password" autocomplete="new-password" minlength="12" maxlength="256" required />
    ${
      totp.offered &&
      html`<fieldset>
        <legend>Second factor${!required && html` (optional)`}</legend>
        <p>Add this secret to your authenticator app, by hand or as a link, and enter the code it shows.</p>
        ${authenticatorSecret(totp)} ${oneTimeCodeField({ required: required && !passkeys.second })}
      </fieldset>`
    }
    ${!needsPasskey && html`<button type="submit" ${passkeys.alone && html` class="second"`}>Save</button>`}
    ${
      passkeys.second &&
      html`<div data-needs-passkeys hidden>
        ${passkeyButton(totp.offered ? 'Use a passkey as second factor instead' : 'Go on with a passkey as second factor', { flow, first: needsPasskey && !passkeys.alone })}
      </div>`
    }
    ${
      needsPasskey &&
      html`<p class="alert" data-without-passkeys hidden>A passkey is needed here, and this browser has none.</p>
        <noscript><p class="alert">A passkey is needed here, and passkeys need JavaScript.</p></noscript>`
    }
  </form>`
}

export function renderSignedUp(page: { clusterName: string; user: string; proxy: string; alone: boolean }): string {
  const how = page.alone ? '--auth=passwordless' : `--user=${page.user}`
  return layout(
    'Done',
    page.clusterName,
    html`<p>Your ${page.alone ? 'passkey' : 'password'} is set. Now sign in from your terminal:</p>
      <code>tsh login --proxy=${page.proxy} ${how}</code>
      <p>Your MCP clients, passkeys and tokens are on <a href="/web/account">your account page</a>.</p>
      <p class="hint">This link is used up.</p>`,
  )
}
