const SCHEME = 'sallyport://'
/** MCP Apps: hosts know the pages of tools by this scheme, so it stays (SEP-1865). */
const UI_SCHEME = 'ui://'

/** Something of one server, as it is called there. */
export interface Placed {
  server: string
  original: string
}

/**
 * The URI under which a server's resource stands among those of other servers: `sallyport://SERVER/ORIGINAL`, `ui://SERVER/REST`. A URI
 * template stays one: what is put before it holds no braces.
 */
export function exposeUri(server: string, uri: string): string {
  const authority = encodeURIComponent(server)
  return uri.startsWith(UI_SCHEME) ? `${UI_SCHEME}${authority}/${uri.slice(UI_SCHEME.length)}` : `${SCHEME}${authority}/${uri}`
}

/** What an exposed URI stands for; undefined for any that `exposeUri` does not make. */
export function findUri(exposed: string): Placed | undefined {
  const isUi = exposed.startsWith(UI_SCHEME)
  if (!isUi && !exposed.startsWith(SCHEME)) return undefined
  const rest = findId(exposed.slice(isUi ? UI_SCHEME.length : SCHEME.length))
  if (!rest) return undefined
  const placed = { server: rest.server, original: isUi ? `${UI_SCHEME}${rest.original}` : rest.original }
  return exposeUri(placed.server, placed.original) === exposed ? placed : undefined
}

/** An id that a server gave (of a task, of an event), told apart from the same id of another: `SERVER/ID`. */
export function exposeId(server: string, id: string): string {
  return `${encodeURIComponent(server)}/${id}`
}

/** What an exposed id stands for; undefined for any that `exposeId` does not make. */
export function findId(exposed: string): Placed | undefined {
  const slash = exposed.indexOf('/')
  if (slash < 1 || slash === exposed.length - 1) return undefined
  const authority = exposed.slice(0, slash)
  if (!authority.isWellFormed()) return undefined
  const server = decode(authority)
  if (server === undefined || encodeURIComponent(server) !== authority) return undefined
  return { server, original: exposed.slice(slash + 1) }
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined // a broken escape names no server
  }
}
