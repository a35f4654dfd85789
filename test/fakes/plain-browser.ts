import { PASSWORD } from '../cluster.ts'

/** What a browser shows. */
export interface Page {
  url: string
  status: number
  headers: Headers
  text: string
}

interface Cookie {
  name: string
  value: string
  path: string
  attributes: string
}

/** A browser without a screen: follows redirects on its own host, keeps cookies by path, and sends the forms of pages. */
export class PlainBrowser {
  readonly cookies: Cookie[] = []
  /** Addresses it was sent to, oldest first. */
  readonly visited: string[] = []

  /** Goes to an address and on to where it leads; stops at one of another host, which is not asked. */
  async open(url: string | URL, init: RequestInit = {}): Promise<Page> {
    let target = new URL(url)
    const { origin } = target
    let request = init
    for (let hops = 0; hops < 20; hops++) {
      this.visited.push(target.href)
      if (target.origin !== origin) return { url: target.href, status: 0, headers: new Headers(), text: '' }
      const response = await fetch(target, {
        ...request,
        redirect: 'manual',
        headers: { accept: 'text/html', ...headersOf(request), cookie: this.#header(target) },
      })
      for (const line of response.headers.getSetCookie()) this.#keep(line, target)
      const location = response.headers.get('location')
      if (location === null) return { url: target.href, status: response.status, headers: response.headers, text: await response.text() }
      await response.body?.cancel()
      target = new URL(location, target)
      request = {}
    }
    throw new Error('redirected too often')
  }

  /** Sends the first form of a page with these fields filled in. */
  async submit(page: Page, fields: Record<string, string>): Promise<Page> {
    const [, action, content = ''] = /<form method="post" action="([^"]+)"([^]*?)<\/form>/.exec(page.text) ?? []
    if (action === undefined) throw new Error(`no form at ${page.url}: ${page.text.slice(0, 500)}`)
    const body = new URLSearchParams()
    for (const [, name = '', value = ''] of content.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)"/g)) body.set(name, value)
    for (const [name, value] of Object.entries(fields)) body.set(name, value)
    const { origin } = new URL(page.url)
    return this.open(new URL(action, page.url), { method: 'POST', body, headers: { origin } })
  }

  /** Signs in where it is asked to, then allows what is asked for; where the browser goes then. */
  async allow(url: string | URL, user: string, password = PASSWORD): Promise<URL> {
    let page = await this.open(url)
    if (page.text.includes('name="password"')) page = await this.submit(page, { user, password })
    if (page.text.includes('value="allow"')) page = await this.submit(page, { decision: 'allow' })
    if (page.status !== 0) throw new Error(`not sent back (${page.status}) at ${page.url}: ${page.text.slice(0, 1500)}`)
    return new URL(page.url)
  }

  #header(url: URL): string {
    return this.cookies
      .filter(({ path }) => url.pathname === path || url.pathname.startsWith(path.endsWith('/') ? path : `${path}/`))
      .map(({ name, value }) => `${name}=${value}`)
      .join('; ')
  }

  #keep(line: string, url: URL): void {
    const [pair = '', ...attributes] = line.split(/; */)
    const equals = pair.indexOf('=')
    const name = pair.slice(0, equals)
    const path = attributes.find((each) => /^path=/i.test(each))?.slice(5) ?? url.pathname.replace(/\/[^/]*$/, '/')
    const at = this.cookies.findIndex((cookie) => cookie.name === name && cookie.path === path)
    if (at !== -1) this.cookies.splice(at, 1)
    const value = pair.slice(equals + 1)
    if (value !== '') this.cookies.push({ name, value, path, attributes: attributes.join('; ') })
  }
}

function headersOf({ headers }: RequestInit): Record<string, string> {
  return Object.fromEntries(new Headers(headers))
}
