import { AppError } from '../lib/errors.ts'

/** One `{{…}}` of a role: what stands around it and what it asks for. */
export interface Template {
  prefix: string
  expression: Expression
  suffix: string
}

export type Expression =
  | { kind: 'trait'; source: 'internal' | 'external'; name: string }
  | { kind: 'email_local'; of: Expression }
  | { kind: 'replace'; of: Expression; pattern: string; replacement: string }

/** What `{{internal.X}}` may name. `{{external.X}}` may name any trait. */
const INTERNAL_TRAITS = new Set([
  'logins',
  'windows_logins',
  'kubernetes_groups',
  'kubernetes_users',
  'db_names',
  'db_users',
  'db_roles',
  'aws_role_arns',
  'azure_identities',
  'gcp_service_accounts',
  'jwt',
  'github_orgs',
  'mcp_tools',
])

const MAX_CHARS = 4096
const MAX_DEPTH = 8
const MAX_TOKENS = 100
const TOKEN = /\s*([A-Za-z_][\w-]*|[.,()[\]]|"(?:[^"\\]|\\.)*"|`[^`]*`)/y

/**
 * The template in a text of a role, or undefined when it is a plain text. There is at most one `{{…}}` in a text:
 * `internal.NAME`, `external.NAME`, `external["NAME"]`, `email.local(…)` or `regexp.replace(…, "pattern", "replacement")`.
 * Throws `invalid_argument` for braces that hold anything else and for an `internal` name that does not exist.
 */
export function parseTemplate(text: string): Template | undefined {
  const open = text.indexOf('{{')
  const close = text.lastIndexOf('}}')
  if (open < 0 && close < 0) return undefined
  if (open < 0 || close < open + 2 || text.length > MAX_CHARS) throw fault(text)
  const cursor: Cursor = { text, tokens: tokenize(text, text.slice(open + 2, close)), at: 0 }
  const expression = readExpression(cursor, 0)
  if (cursor.at < cursor.tokens.length) throw fault(text)
  return { prefix: text.slice(0, open).trimStart(), expression, suffix: text.slice(close + 2).trimEnd() }
}

interface Cursor {
  text: string
  tokens: string[]
  at: number
}

function readExpression(cursor: Cursor, depth: number): Expression {
  const word = next(cursor)
  if (depth > MAX_DEPTH) throw fault(cursor.text)
  if (word === 'internal' || word === 'external') return readTrait(cursor, word)
  expect(cursor, '.')
  const name = next(cursor)
  expect(cursor, '(')
  const of = readExpression(cursor, depth + 1)
  if (word === 'email' && name === 'local') {
    expect(cursor, ')')
    return { kind: 'email_local', of }
  }
  if (word !== 'regexp' || name !== 'replace') throw fault(cursor.text)
  expect(cursor, ',')
  const pattern = nextString(cursor)
  expect(cursor, ',')
  const replacement = nextString(cursor)
  expect(cursor, ')')
  return { kind: 'replace', of, pattern, replacement }
}

function readTrait(cursor: Cursor, source: 'internal' | 'external'): Expression {
  const name = readTraitName(cursor)
  if (source === 'internal' && !INTERNAL_TRAITS.has(name))
    throw new AppError(
      'invalid_argument',
      `unsupported variable "internal.${name}": use one of ${[...INTERNAL_TRAITS].join(', ')}, or external.${name}`,
    )
  return { kind: 'trait', source, name }
}

/** `.NAME` or `["NAME"]`; the second also for names that are no words, such as the URLs some identity providers use. */
function readTraitName(cursor: Cursor): string {
  if (next(cursor) === '[') {
    const name = nextString(cursor)
    expect(cursor, ']')
    return name
  }
  cursor.at -= 1
  expect(cursor, '.')
  const name = next(cursor)
  if (!/^[\w-]+$/.test(name)) throw fault(cursor.text)
  return name
}

function tokenize(whole: string, text: string): string[] {
  const tokens: string[] = []
  let at = 0
  while (text.slice(at).trim() !== '') {
    TOKEN.lastIndex = at
    const token = TOKEN.exec(text)?.[1]
    if (token === undefined || tokens.length >= MAX_TOKENS) throw fault(whole)
    tokens.push(token)
    at = TOKEN.lastIndex
  }
  return tokens
}

function next(cursor: Cursor): string {
  const token = cursor.tokens[cursor.at]
  if (token === undefined) throw fault(cursor.text)
  cursor.at += 1
  return token
}

function nextString(cursor: Cursor): string {
  const token = next(cursor)
  if (token.startsWith('`')) return token.slice(1, -1)
  if (!token.startsWith('"')) throw fault(cursor.text)
  // A regex in double quotes is commonly written with single backslashes; only \" and \\ are escapes here.
  return token.slice(1, -1).replace(/\\(["\\])/g, '$1')
}

function expect(cursor: Cursor, sign: string): void {
  if (next(cursor) !== sign) throw fault(cursor.text)
}

function fault(text: string): AppError {
  const shown = JSON.stringify(text.length > 128 ? `${text.slice(0, 128)}…` : text)
  return new AppError(
    'invalid_argument',
    `${shown} is not a template: write {{internal.NAME}}, {{external.NAME}}, {{email.local(…)}} or {{regexp.replace(…)}}`,
  )
}
