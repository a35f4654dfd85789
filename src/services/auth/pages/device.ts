import type { KoaContextWithOIDC } from 'oidc-provider'
import { OAUTH_PATHS } from '../../../resources/oauth-paths.ts'
import { html } from './html.ts'
import { alert, hiddenFields, layout, renderNotice } from './layout.ts'

/** Under which the code of a link reaches the page; a link must not send the form by itself. */
export const USER_CODE_HEADER = 'x-sallyport-user-code'

/** The page on which a person enters the code that a device shows (RFC 8628 section 3.3). */
export function renderCodeInput(ctx: KoaContextWithOIDC, clusterName: string, fault: string | undefined): string {
  const describedBy = fault === undefined ? html`` : html` aria-describedby="error"`
  return layout(
    'Connect a device',
    clusterName,
    html`<p>Enter the code that your device shows.</p>
      ${alert(fault)}
      <form method="post" action="${OAUTH_PATHS.device}" ${describedBy}>
        ${hiddenFields({ xsrf: formSecret(ctx) })}
        <label for="user_code">Code</label>
        <input
          id="user_code"
          name="user_code"
          value="${ctx.get(USER_CODE_HEADER)}"
          autocomplete="off"
          autocapitalize="characters"
          spellcheck="false"
          maxlength="20"
          required
          autofocus
        />
        <button type="submit">Go on</button>
      </form>`,
  )
}

/** Whether the code is really that of a device in front of the person: codes can be sent by strangers (section 5.4). */
export function renderCodeConfirmation(ctx: KoaContextWithOIDC, clusterName: string, clientName: string, userCode: string): string {
  return layout(
    'Connect this device?',
    clusterName,
    html`<p><b>${clientName}</b> shows this code on a device:</p>
      <code>${userCode}</code>
      <p class="alert">
        Go on only if you have this device in front of you and have just started this yourself. Nobody else needs your help with a code.
      </p>
      <form method="post" action="${OAUTH_PATHS.device}">
        ${hiddenFields({ xsrf: formSecret(ctx), user_code: userCode, confirm: 'yes' })}
        <button type="submit">Yes, connect it</button>
        <button type="submit" name="abort" value="yes" class="second">No</button>
      </form>`,
  )
}

export function renderCodeDone(clusterName: string): string {
  return renderNotice('Your device is connected', clusterName, 'You can close this page and go back to it.')
}

/** That the library gave this browser for this page. */
function formSecret(ctx: KoaContextWithOIDC): string {
  const secret = ctx.oidc.session?.state?.['secret']
  return typeof secret === 'string' ? secret : ''
}
