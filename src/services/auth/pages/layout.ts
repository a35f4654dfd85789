import { html } from './html.ts'
import type { Html } from './html.ts'

export const STYLE_PATH = '/web/style.css'

export function layout(title: string, clusterName: string, content: Html): string {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>${title} – ${clusterName}</title>
        <link rel="stylesheet" href="${STYLE_PATH}" />
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

/** Read out at once by a screen reader; the form points at it. */
export function alert(message: string | undefined): Html {
  return message === undefined ? html`` : html`<p class="alert" id="error" role="alert">${message}</p>`
}

/** A page that only tells something, and where to go on. */
export function renderNotice(title: string, clusterName: string, message: string, next?: { href: string; words: string }): string {
  return layout(
    title,
    clusterName,
    html`<p>${message}</p>
      ${next && html`<p><a href="${next.href}">${next.words}</a></p>`}`,
  )
}
