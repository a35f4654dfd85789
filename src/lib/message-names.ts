/** The keys that JSON-RPC or MCP gives a meaning at one place of a message. */
export interface KnownNames {
  /** A known name and its folded form → the known name. */
  readonly byText: ReadonlyMap<string, string>
  /** By length in bytes: finds a name without making a string of the key. */
  readonly byLength: readonly (readonly { readonly name: string; readonly bytes: Buffer }[])[]
}

/** Keys of a message (JSON-RPC 2.0, sections 4 and 5). */
export const MESSAGE_NAMES = listNames(['jsonrpc', 'id', 'method', 'params', 'result', 'error'])

/** Keys of `params` that MCP gives a meaning in some method. */
export const PARAMS_NAMES = listNames(
  (
    'name uri arguments _meta cursor ref argument requestId progressToken level inputResponses requestState taskId protocolVersion ' +
    'capabilities clientInfo notifications'
  ).split(' '),
)

/** The known name that a reader who does not mind the case of keys would take this key for; undefined when there is none. */
export function findKnownName(names: KnownNames, key: string): string | undefined {
  return names.byText.get(key) ?? (key.length <= LONGEST_FOLDING_KEY ? names.byText.get(fold(key)) : undefined)
}

/**
 * Whether a JSON text has a key that is one escaped character, other than the backslash. `JSON.parse` takes it for a backslash once it has
 * read such a key after the same others (https://github.com/nodejs/node/issues/63785), so that rules would be asked about another
 * argument than the server gets.
 */
export function hasUnreliableKey(text: string): boolean {
  return text.includes('\\') && ESCAPED_KEY.test(text)
}

/** Not behind a backslash: that quote is one of a longer key. */
const ESCAPED_KEY = /(?<!\\)"\\(?:u(?!005c)[\da-f]{4}|[^u\\])"[ \t\r\n]*:/i

/**
 * The same JSON with its keys of one escaped character written plainly, as `JSON.parse` reads them reliably: programs that escape all but
 * ASCII write such keys. Undefined when one has to be escaped (a control character, a quote, half of a surrogate pair).
 */
export function withPlainKeys(text: string): string | undefined {
  if (!hasUnreliableKey(text)) return text
  const plain = text.replaceAll(
    PLAIN_KEY,
    (_, hex: string | undefined, end: string) => `"${hex ? String.fromCharCode(parseInt(hex, 16)) : '/'}"${end}`,
  )
  return hasUnreliableKey(plain) ? undefined : plain
}

const PLAIN_KEY = /(?<!\\)"\\(?:u(?!00[01]|0022|005c|d[89a-f])([\da-f]{4})|\/)"([ \t\r\n]*:)/gi

/** Longer keys are not folded: the known names have up to 15 letters, and folding does not shorten a name. */
const LONGEST_FOLDING_KEY = 64

/** Whether a reader who does not mind the case of keys takes this key for the name. */
export function isSpelledAs(name: string, key: string): boolean {
  return fold(key) === fold(name)
}

/** Upper case first, so that letters with two lower-case forms (long s, Kelvin sign, dotless i) meet their plain one. */
function fold(name: string): string {
  return name.toUpperCase().toLowerCase()
}

function listNames(names: readonly string[]): KnownNames {
  const byLength = Array.from({ length: 16 }, (_, length) =>
    names.filter((name) => name.length === length).map((name) => ({ name, bytes: Buffer.from(name) })),
  )
  return { byText: new Map(names.flatMap((name) => [[fold(name), name] as const, [name, name] as const])), byLength }
}
