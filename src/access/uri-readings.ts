/** More than servers undo; what is written so often over is meant to get past somebody. */
const MAX_DECODINGS = 3
const DOT_SEGMENT = /(?:^|[/:])\.\.?(?:\/|$)/
/** Longer ones match no pattern anyway. */
const MAX_CHARS = 65_536

/**
 * Where a URI leads once its `.` and `..` are followed (RFC 3986, 5.2.4), escaped ones too: as servers do that read it as a URL, whose host is no
 * part of the path, and as those that take all behind `://` for a path. Empty when there is none of them to follow.
 */
export function followedUris(uri: string): string[] {
  const plain = decode(uri)
  return DOT_SEGMENT.test(plain) ? follow(plain) : []
}

/**
 * What servers may take for the same resource, beside the URI itself: without escapes, dots followed, slashes that stand twice as one, scheme and
 * host in small letters, as a browser writes it.
 */
export function similarUris(uri: string): string[] {
  const plain = decode(uri)
  const parsed = uri.length <= MAX_CHARS ? URL.parse(plain)?.href : undefined
  const readings = [plain, ...follow(plain), ...(parsed === undefined ? [] : [decode(parsed)])]
  const simple = readings.flatMap((reading) => [reading, withSingleSlashes(reading)])
  return [...new Set(simple.flatMap((reading) => [reading, withSmallHead(reading)]))].filter((reading) => reading !== uri)
}

/** Without what parsers of URLs leave out, and with slashes for backslashes, as they take them. */
function decode(uri: string): string {
  let text = uri.replaceAll(/[\t\n\r]/g, '').trim()
  for (let round = 0; round < MAX_DECODINGS; round++) {
    const next = text.replaceAll(/(?:%[0-9a-f]{2})+/gi, decodeRun)
    if (next === text) break
    text = next
  }
  return text.replaceAll('\\', '/')
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
  const asPath = `${scheme}${slashes}${withoutDots(rest)}`
  const pathAt = rest.indexOf('/')
  if (slashes === '' || pathAt < 0) return [asPath]
  return [...new Set([asPath, `${scheme}//${rest.slice(0, pathAt)}${withoutDots(rest.slice(pathAt))}`])]
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

function withSmallHead(uri: string): string {
  return uri.replace(/^[a-z][a-z\d+.-]*:(?:\/\/[^/]*)?/i, (head) => head.toLowerCase())
}
