/** What stands where a secret stood. */
export const REDACTED = '<REDACTED>'

/**
 * Whether a member or header of this name holds a secret, in any case, with `-` or `_` or camel-case: `X-Api-Key`, `clientSecret`; also by its end
 * alone, as in a text: `DATABASE_PASSWORD`.
 */
export function isSecretName(name: string): boolean {
  if (name.length <= LONGEST_NAME && SECRET_NAMES.has(name.replaceAll(NAME_SEPARATORS, '').toLowerCase())) return true
  return SECRET_END.test(name.length <= LONGEST_NAME ? name : name.slice(-LONGEST_NAME))
}

/**
 * The text with everything replaced that looks like a secret by its shape: private keys, JWTs, vendor tokens, credentials in URLs and
 * after `Bearer` or `Basic`, and what is assigned to a name like `password` or `api_key`. Takes linear time whatever the text.
 */
export function redactShapes(text: string): string {
  if (text.length < SHORTEST || !HINT.test(text.toLowerCase())) return text
  const plain = redactJwts(text.replaceAll(PRIVATE_KEY, REDACTED).replaceAll(VENDOR_TOKEN, REDACTED))
    .replaceAll(URL_PASSWORD, `://$1:${REDACTED}@`)
    .replaceAll(BEARER, `$1${REDACTED}`)
    .replaceAll(BASIC, (match, scheme: string, value: string) => (isWord(value) ? match : `${scheme}${REDACTED}`))
  return redactAssigned(redactAssigned(plain, ASSIGNED_LINE, true), ASSIGNED, false)
}

const SECRET_NAMES = new Set(
  (
    'password passwd passphrase secret clientsecret token accesstoken refreshtoken idtoken authtoken xauthtoken bearertoken sessiontoken ' +
    'xamzsecuritytoken apikey xapikey authorization proxyauthorization cookie setcookie privatekey secretkey secretaccesskey ' +
    'awssecretaccesskey credential credentials requeststate'
  ).split(' '),
)
const NAME_SEPARATORS = /[-_]/g
const LONGEST_NAME = 64
/** No shape is shorter than this: `token=a`. */
const SHORTEST = 7

/** What some rule below needs to match at all, in lower case: as fast again as without regard to case. A text without it, the common case, is looked at once. */
const HINT = new RegExp(
  '-----begin|eyj|a[ks]ia|aiza|g[hl][a-z]{1,5}[_-]|xox[a-z]-|xapp-|sk-|[sr]k_(?:live|test)_|whsec_|npm_|spt_|ya29\\.|://|' +
    'bearer|basic|pass(?:w|p|c)|secret|token|key|authoriz|cookie|credential',
)

/** A key without its end line was cut: the rest of the text is key. */
const PRIVATE_KEY = /-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[^]*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|$)/g

// In each rule a fixed beginning is followed by one run of one character class: a try that fails has looked at a bounded number of
// characters, and one that succeeds is not looked at again. That is why no rule can take more than linear time. Runs have an upper
// bound because an unbounded one overflows the stack of the regex engine on a text of many megabytes.
const VENDOR_TOKEN = new RegExp(
  [
    '(?<![A-Z0-9])A[KS]IA[A-Z0-9]{16}(?![A-Z0-9])', // AWS
    'gh[pousr]_[A-Za-z0-9]{16,4096}', // GitHub
    'github_pat_\\w{20,4096}',
    'gl(?:pat|ptt|dt|rt|cbt|ft|soat|agent)-[\\w-]{16,4096}', // GitLab
    'xox[a-z]-[\\w-]{8,4096}', // Slack
    'xapp-[\\w-]{8,4096}',
    '(?<![A-Za-z0-9])sk-[\\w-]{16,4096}', // OpenAI, Anthropic
    'AIza[\\w-]{30,4096}', // Google
    'ya29\\.[\\w-]{20,4096}',
    '[sr]k_(?:live|test)_[A-Za-z0-9]{8,4096}', // Stripe
    'whsec_[A-Za-z0-9+/=]{16,4096}',
    'npm_[A-Za-z0-9]{20,4096}',
    'spt_[\\w-]{8,4096}', // ours
  ].join('|'),
  'g',
)

const URL_PASSWORD = /:\/\/([^\s:/?#"'<>@]{0,1024}):[^\s/?#"'<>]{1,4096}@/g
/** What follows "bearer" in a sentence about it. */
const BEARER_WORD = '(?:tokens?|auth|authentication|authorization|credentials?|scheme|method|header|realm|format)(?![\\w~+/=-]|\\.\\w)'
const BEARER = new RegExp(`((?<![A-Za-z0-9])bearer(?:[ \\t]{1,4}|%20))(?!${BEARER_WORD})[\\w.~+/=:-]{6,16384}`, 'gi')
const BASIC = /((?<![A-Za-z0-9])basic(?:[ \t]{1,4}|%20))([A-Za-z0-9+/=]{6,16384})/gi

function isWord(text: string): boolean {
  return /^[A-Za-z]?[a-z]*$/.test(text)
}

const JWT_RUN = /[\w-]*/y
const JWT_REST = /[\w.-]*/y
const SHORTEST_JWT_HEADER = 10
const SHORTEST_CUT_PAYLOAD = 20

/** Compact JWS and JWE (RFC 7515, RFC 7516): a header that begins with `{"` in base64url, then further parts after dots. */
function redactJwts(text: string): string {
  let out = ''
  let done = 0
  for (let start = text.indexOf('eyJ'); start !== -1;) {
    const headerEnd = skip(JWT_RUN, text, start)
    const payloadEnd = text[headerEnd] === '.' ? skip(JWT_RUN, text, headerEnd + 1) : headerEnd
    // A payload that the end of the text cuts may be of any length.
    const hasMore = text[payloadEnd] === '.' || (payloadEnd === text.length && payloadEnd - headerEnd > SHORTEST_CUT_PAYLOAD)
    const isJwt = headerEnd - start >= SHORTEST_JWT_HEADER && payloadEnd > headerEnd && hasMore
    const next = isJwt ? skip(JWT_REST, text, payloadEnd) : headerEnd
    if (isJwt) {
      out += text.slice(done, start) + REDACTED
      done = next
    }
    start = text.indexOf('eyJ', next)
  }
  return out + text.slice(done)
}

/** Where the run that `sticky` matches from `start` ends. */
function skip(sticky: RegExp, text: string, start: number): number {
  sticky.lastIndex = start
  sticky.test(text)
  return sticky.lastIndex
}

/** After a name: its closing quote, escaped or not, and the sign. */
const SIGN = '\\\\{0,8}["\']?[ \\t]{0,8}[:=]{1,2}>?[ \\t]{0,8}'
const NAME =
  '(?:pass(?:word|wd|phrase|code)|secret(?:[_-]?access)?(?:[_-]?key)?|' +
  '(?:api|access|private|signing|encryption|auth)[ _-]?key|credentials?|' +
  '(?<!(?:page|progress|continuation|next|previous|sync|cancellation)[_-]?)token)'
const SECRET_END = new RegExp(`${NAME}$`, 'i')
/** `name=value`, `"name": "value"`, `--name value`. */
const ASSIGNED = new RegExp(`${NAME}${SIGN}|(?<![\\w-])--[\\w-]{0,40}?${NAME}[ \\t]{1,8}(?!-)`, 'gi')
/** Names whose unquoted value is the rest of the line. */
const ASSIGNED_LINE = new RegExp(`(?:authorization|cookie)${SIGN}`, 'gi')

/** Replaces the values of all assignments whose beginning `head` matches. Values are walked by hand: one can be as long as the text. */
function redactAssigned(text: string, head: RegExp, isLine: boolean): string {
  let out = ''
  let done = 0
  head.lastIndex = 0
  while (head.test(text)) {
    const [start, end] = findValue(text, head.lastIndex, isLine)
    if (end > start) {
      out += text.slice(done, start) + REDACTED
      done = end
      head.lastIndex = end
    }
  }
  return out + text.slice(done)
}

/** Start and end of the value at `at`, without its quotes. */
function findValue(text: string, at: number, isLine: boolean): [number, number] {
  let open = at
  while (text[open] === '\\' && open - at < 8) open++
  const quote = text[open]
  if (quote !== '"' && quote !== "'") return [at, findBareEnd(text, at, isLine)]
  if (open === at) return [at + 1, findQuote(text, at + 1, quote)]
  return [open + 1, findInnerQuote(text, open + 1, quote, open - at)]
}

/**
 * Where a value ends that is quoted inside a quoted text, whose quotes follow this many backslashes: 1 in JSON within JSON, 3 one level deeper. There
 * a backslash of the value is written as one more of them, and a quote of the value follows an odd number of those.
 */
function findInnerQuote(text: string, start: number, quote: string, escapes: number): number {
  for (let close = text.indexOf(quote, start); close !== -1; close = text.indexOf(quote, close + 1)) {
    let from = close
    while (from > start && text[from - 1] === '\\') from--
    if (((close - from - escapes) / (escapes + 1)) % 2 !== 1) return Math.max(from, close - escapes)
  }
  return text.length
}

function findQuote(text: string, start: number, quote: string): number {
  for (let at = start; at < text.length; at++) {
    if (text[at] === '\\') at++
    else if (text[at] === quote) return at
  }
  return text.length
}

const BARE_STOPS = new Set(' \t\r\n\f\v"\'`,;&<>')
const LINE_STOPS = new Set('\r\n"\'')
const NOT_FIRST = new Set('([{<')

function findBareEnd(text: string, start: number, isLine: boolean): number {
  const stops = isLine ? LINE_STOPS : BARE_STOPS
  if (NOT_FIRST.has(text[start] ?? '')) return start
  let at = start
  while (at < text.length && !stops.has(text[at] ?? '')) {
    if (text[at] === '\\' && '"\'nrt'.includes(text[at + 1] ?? '-')) break
    at++
  }
  return at
}
