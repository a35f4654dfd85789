import { PlainBrowser, type Page } from './plain-browser.ts'

/** Where the first button of a sign-in page leads. */
export function connectorLink({ text, url }: Page, connector?: string): URL {
  for (const [, href = ''] of text.matchAll(/<a class="button[^"]*" href="([^"]+)"/g)) {
    const link = new URL(href.replaceAll('&amp;', '&'), url)
    if (connector === undefined || link.searchParams.get('connector') === connector) return link
  }
  throw new Error(`no button${connector === undefined ? '' : ` for ${connector}`} at ${url}: ${text}`)
}

/** From a page on which a browser was sent away, over the identity provider, to where that sends it back. */
export async function callbackAfter(page: Page): Promise<URL> {
  if (page.status !== 0) throw new Error(`not sent away from ${page.url} (${page.status}): ${page.text.slice(0, 3000)}`)
  return new URL((await new PlainBrowser().open(page.url)).url)
}

/** Through the identity provider and back; the page of ours where that ends. */
export async function through(browser: PlainBrowser, page: Page): Promise<Page> {
  return browser.open(await callbackAfter(page))
}
