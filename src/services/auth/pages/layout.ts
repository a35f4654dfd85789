import { html } from './html.ts'
import type { Html } from './html.ts'
import { PASSKEY_INTEGRITY, PASSKEY_SCRIPT_URL } from './passkey-script.ts'

export const STYLE_PATH = '/web/style.css'

/** By which `answerPage` knows that a page has the script; text from elsewhere is escaped and never looks like this. */
export const SCRIPT_TAG = `<script src="${PASSKEY_SCRIPT_URL}" integrity="${PASSKEY_INTEGRITY}" defer></script>`

export function layout(title: string, clusterName: string, content: Html): string {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>${title} – ${clusterName}</title>
        <link rel="stylesheet" href="${STYLE_PATH}" />
        ${content.markup.includes(PASSKEY_BUTTON) && html`<script src="${PASSKEY_SCRIPT_URL}" integrity="${PASSKEY_INTEGRITY}" defer></script>`}
      </head>
      <body>
        <main>
          <p class="cluster">Sallyport · ${clusterName}</p>
          <h1>${title}</h1>
          ${content}
        </main>
      </body>
    </html> `.markup
}

/** Members of a form that nobody sees. */
export function hiddenFields(fields: Readonly<Record<string, string>>): Html[] {
  return Object.entries(fields).map(([name, value]) => html`<input type="hidden" name="${name}" value="${value}" />`)
}

/** Six digits of an authenticator app, as `totp`. */
export function oneTimeCodeField({
  required = true,
  autofocus = false,
  hint,
}: { required?: boolean; autofocus?: boolean; hint?: string } = {}): Html {
  return html`<label for="totp">One-time code</label>
    <input
      id="totp"
      name="totp"
      inputmode="numeric"
      autocomplete="one-time-code"
      pattern="[0-9]{6}"
      maxlength="6"
      ${required && html` required`}${autofocus && html` autofocus`}${hint !== undefined && html` aria-describedby="totp-hint"`}
    />
    ${hint !== undefined && html`<p class="hint" id="totp-hint">${hint}</p>`}`
}

/** The secret that an authenticator app is to have, before it is asked for a code. */
export function authenticatorSecret({ secret, uri }: { secret: string; uri: string }): Html {
  return html`<code>${secret}</code>
    <p><a href="${uri}">Open in an authenticator app on this device</a></p>`
}

const PASSKEY_BUTTON = ' data-passkey="'

/** Sends its form with the answer of a passkey. Shown by the script alone, where the browser can do it. */
export function passkeyButton(
  words: string,
  { flow, alone = false, first = false }: { flow: string; alone?: boolean; first?: boolean },
): Html {
  return html`<input type="hidden" name="passkey" value="" />
    <button
      type="submit"
      data-passkey="${flow}"
      ${alone && html` data-alone="yes"`}${first ? html` data-first="yes"` : html` class="second"`}
    >
      ${words}
    </button>
    <p class="alert" role="alert" data-fault hidden></p>`
}

/** Read out at once by a screen reader; the form points at it. */
export function alert(message: string | undefined): Html {
  return message === undefined ? html`` : html`<p class="alert" id="error" role="alert">${message}</p>`
}

/** A page that only tells something, and where to go on. */
export function renderNotice(title: string, clusterName: string, message: string, next?: { href: string; words: string }): string {
  return layout(
    title,
    clusterName,
    html`<p class="told">${message}</p>
      ${next && html`<p><a href="${next.href}">${next.words}</a></p>`}`,
  )
}
