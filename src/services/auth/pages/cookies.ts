import { originOf } from '../oauth/issuer.ts'
import type { AuthContext } from '../context.ts'
import type { PageContext } from './form.ts'

/** Sets a cookie that scripts and other sites do not get; `seconds` 0 removes it. */
export function setCookie(
  c: PageContext,
  {
    name,
    value,
    seconds,
    secure,
    sameSite = 'Lax',
  }: { name: string; value: string; seconds: number; secure: boolean; sameSite?: 'Lax' | 'Strict' },
): void {
  const line = `${name}=${value}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=${sameSite}${secure ? '; Secure' : ''}`
  // Beside the cookies of the authorization server, which writes its own there: those of `c` would replace them.
  if (c.env.node) c.env.node.response.appendHeader('set-cookie', line)
  else c.header('set-cookie', line, { append: true })
}

/** Undefined also where there are two of one name: one of them somebody planted. */
export function readCookie(c: PageContext, name: string): string | undefined {
  const found = (c.req.header('cookie') ?? '').split(/; */).filter((pair) => pair.startsWith(`${name}=`))
  return found.length === 1 ? found[0]?.slice(name.length + 1) : undefined
}

const BROWSER_SECONDS = 86_400

/** By which a browser is known that was given a challenge; '' for one that has none. */
export function readBrowser(context: AuthContext, c: PageContext): string {
  return readCookie(c, browserCookie(context).name) ?? ''
}

/** The same, given to a browser that has none. */
export function giveBrowser(context: AuthContext, c: PageContext): string {
  const known = readBrowser(context, c)
  if (/^[\w-]{43}$/.test(known)) return known
  const value = Buffer.from(context.random(32)).toString('base64url')
  setCookie(c, { ...browserCookie(context), value, seconds: BROWSER_SECONDS, sameSite: 'Strict' })
  return value
}

/** On https no other host of the domain can plant one with this prefix (RFC 6265bis section 4.1.3.2). */
function browserCookie(context: AuthContext): { name: string; secure: boolean } {
  const secure = originOf(context.publicAddress()).startsWith('https:')
  return { name: `${secure ? '__Host-' : ''}sallyport-browser`, secure }
}
