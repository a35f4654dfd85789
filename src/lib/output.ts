import { Document, isScalar, visit } from 'yaml'

export type OutputFormat = 'text' | 'json' | 'yaml'

/**
 * A value as text for standard output, ending with one newline (no text at all stays empty): JSON with two spaces, one YAML document,
 * or what `renderText` makes of it. No form can drive a terminal: in text control characters are dropped, in JSON and YAML escaped.
 */
export function renderOutput<T>(format: OutputFormat, value: T, renderText: (value: T) => string): string {
  if (format === 'json') return `${escapeControls(JSON.stringify(value, null, 2) ?? 'null')}\n`
  if (format === 'yaml') return renderYaml(value)
  const text = sanitizeTerminal(renderText(value))
  return text === '' || text.endsWith('\n') ? text : `${text}\n`
}

/** Several YAML documents, separated by `---`. */
export function renderYamlDocuments(values: readonly unknown[]): string {
  return values.map(renderYaml).join('---\n')
}

/** C0 controls but tab and newline, DEL, C1 controls, and the characters that turn or hide the direction of text (Unicode TR 9). */
const TERMINAL_CONTROLS = /(?![\t\n])[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu

/** The text without what could drive a terminal; newlines and tabs stay. */
export function sanitizeTerminal(text: string): string {
  return replaceControls(text, () => '')
}

/** The text with each character that could drive a terminal replaced. */
export function replaceControls(text: string, replacement: (character: string) => string): string {
  return text.replace(TERMINAL_CONTROLS, replacement)
}

/** JSON or double-quoted YAML with those characters as escapes: the same value, harmless to look at. */
export function escapeControls(text: string): string {
  return replaceControls(text, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

function renderYaml(value: unknown): string {
  // compat: what YAML 1.1 readers (Go, Python) would take for a boolean or a number is quoted.
  const document = new Document(value, { version: '1.2', compat: 'yaml-1.1', aliasDuplicateObjects: false })
  visit(document, (_key, node) => {
    // Only a double-quoted scalar may hold escapes.
    if (isScalar(node) && typeof node.value === 'string' && node.value.search(TERMINAL_CONTROLS) >= 0) node.type = 'QUOTE_DOUBLE'
  })
  return escapeControls(document.toString({ lineWidth: 0 }))
}
