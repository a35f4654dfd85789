import { AppError } from '../lib/errors.ts'

/** More than servers undo; what is written so often over is meant to get past somebody. */
const MAX_DECODINGS = 3
const DOT_SEGMENT = /(?:^|[/:])\.\.?(?:[/?#]|$)/
/** Of a URI that has several readings: to go through them takes time of everybody's. */
const MAX_CHARS = 8192
/** Everybody reads it in one way, as most are: a small scheme, a name or nothing for a host, and a path of plain segments. */
const PLAIN = /^(?!file:\/\/[^/])[a-z][a-z\d+.-]*:\/\/(?:[a-z](?:[a-z\d_-]*[a-z_-])?)?(?:\/(?!\.\.?(?:\/|$))[\w.~-]+)+\/?$/

/**
 * Where a URI leads once its `.` and `..` are followed (RFC 3986, 5.2.4), escaped ones too: as servers do that read it as a URL, whose host is no
 * part of the path, and as those that take all behind `://` for a path. Empty when there is none of them to follow.
 * @throws AppError invalid_argument for one that is too long to be followed.
 */
export function followedUris(uri: string): string[] {
  if (PLAIN.test(uri)) return []
  const plain = decode(uri)
  return DOT_SEGMENT.test(plain) ? follow(checked(plain)) : []
}

/**
 * What servers may take for the same resource, beside the URI itself: without escapes, dots followed, slashes that stand twice as one, scheme and
 * host in small letters, as a browser writes it, and without what is behind the path. @throws AppError invalid_argument for one that is too long.
 */
export function similarUris(uri: string): string[] {
  if (PLAIN.test(uri)) return uri.endsWith('/') ? [uri.slice(0, -1)] : []
  const plain = checked(decode(uri))
  const parsed = URL.parse(plain)?.href
  const readings = [plain, ...follow(plain), ...(parsed === undefined ? [] : [decode(parsed)])]
  const simple = readings.flatMap((reading) => [reading, withSingleSlashes(reading)])
  const all = simple.flatMap((reading) => [reading, withSmallHead(reading)]).flatMap(withLess)
  return [...new Set(all)].filter((reading) => reading !== uri)
}

function checked(uri: string): string {
  if (uri.length > MAX_CHARS) throw new AppError('invalid_argument', `the URI is longer than ${MAX_CHARS} characters`)
  return uri
}

/** Without what parsers of URLs leave out, and with slashes for backslashes, as they take them. */
function decode(uri: string): string {
  let text = trim(uri.replaceAll(/[\t\n\r]/g, ''))
  for (let round = 0; round < MAX_DECODINGS; round++) {
    const next = text.replaceAll(/(?:%[0-9a-f]{2})+/gi, decodeRun)
    if (next === text) break
    text = next
  }
  return text.replaceAll('\\', '/')
}

/** Without white space and control characters at the ends. Not by a regular expression, which takes the square of the time for a long run of them. */
function trim(text: string): string {
  let [start, end] = [0, text.length]
  while (start < end && isBlank(text[start])) start++
  while (end > start && isBlank(text[end - 1])) end--
  return text.slice(start, end)
}

function isBlank(character = ''): boolean {
  return character <= ' ' || character.trim() === ''
}

function decodeRun(run: string): string {
  try {
    return decodeURIComponent(run)
  } catch {
    return run // no UTF-8: nobody reads text in it
  }
}

const PARTS = /^([a-z][a-z\d+.-]*:)(\/\/)?([^]*)$/i

function follow(uri: string): string[] {
  const [, scheme = '', slashes = '', rest = uri] = PARTS.exec(uri) ?? []
  const asPath = followPath(rest).map((path) => `${scheme}${slashes}${path}`)
  const pathAt = rest.indexOf('/')
  if (slashes === '' || pathAt < 0) return asPath
  return [...new Set([...asPath, ...followPath(rest.slice(pathAt)).map((path) => `${scheme}//${rest.slice(0, pathAt)}${path}`)])]
}

/** With a query and a fragment as parts of the path, and behind it. */
function followPath(path: string): string[] {
  const end = path.search(/[?#]/)
  return end < 0 ? [withoutDots(path)] : [withoutDots(path), withoutDots(path.slice(0, end)) + path.slice(end)]
}

function withoutDots(path: string): string {
  const kept: string[] = []
  const root = path.startsWith('/') ? '/' : ''
  const segments = path.slice(root.length).split('/')
  for (const segment of segments) {
    if (segment === '..') kept.pop()
    else if (segment !== '.') kept.push(segment)
  }
  const last = segments.at(-1)
  return `${root}${kept.join('/')}${(last === '.' || last === '..') && kept.length > 0 ? '/' : ''}`
}

function withSingleSlashes(uri: string): string {
  const [, scheme = '', slashes = '', rest = uri] = PARTS.exec(uri) ?? []
  return `${scheme}${slashes}${rest.replaceAll(/\/{2,}/g, '/')}`
}

/** Without its fragment, which is for whoever reads what comes (RFC 3986, 3.5), its query, which many servers pass over, and slashes at the end. */
function withLess(uri: string): string[] {
  const whole = upTo('#', uri)
  const path = upTo('?', whole)
  let end = path.length
  while (path[end - 1] === '/') end--
  return [uri, whole, path, path.slice(0, end)]
}

function upTo(mark: string, text: string): string {
  const at = text.indexOf(mark)
  return at < 0 ? text : text.slice(0, at)
}

function withSmallHead(uri: string): string {
  return uri.replace(/^[a-z][a-z\d+.-]*:(?:\/\/[^/]*)?/i, (head) => head.toLowerCase())
}
