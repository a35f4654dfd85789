/** A piece of HTML that may be put into a page as it is. Only `html` makes one. */
export interface Html {
  readonly markup: string
}

type Part = string | number | Html | readonly Html[] | undefined | false

const pieces = new WeakSet<Html>()

/** HTML from a template: every value is escaped, unless it is a piece of HTML itself; undefined and false leave nothing. Values belong into text or quoted attributes. */
export function html(strings: TemplateStringsArray, ...values: Part[]): Html {
  const piece = { markup: strings.map((text, index) => text + render(values[index])).join('') }
  pieces.add(piece)
  return piece
}

function render(value: Part): string {
  if (value === undefined || value === false) return ''
  if (typeof value !== 'object') return escape(String(value))
  return isPiece(value) ? value.markup : [...value].map(render).join('')
}

/** Asked of the object itself: something parsed from JSON may look like a piece. */
function isPiece(value: Html | readonly Html[]): value is Html {
  if (Array.isArray(value)) return false
  if (!('markup' in value) || !pieces.has(value)) throw new TypeError('not a piece of HTML')
  return true
}

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

/** Control characters, also those that turn the direction of text, have no place in a page. */
function escape(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => ENTITIES[sign] ?? '').replace(/[\p{Cc}\u{202A}-\u{202E}\u{2066}-\u{2069}]/gu, '\uFFFD')
}
