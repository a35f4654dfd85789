/** What can be told of a statement without parsing it. */
export interface SqlWords {
  /** The first word, in lower case; empty where the statement does not begin with one. */
  first: string
  /** Names that stand before a parenthesis, as a call of a function does; those without quotes in lower case. */
  calls: string[]
  /** Whether names stand there in a spelling (`U&"\0061"`) that is not read here. */
  hasEncodedNames: boolean
  /** Whether something stands there that versions of PostgreSQL, or a string that goes on in the next line, let be read in two ways. */
  isUnclear: boolean
  /** The words of each statement in order, in lower case: names with and without quotes, and strings in single quotes with these. */
  statements: string[][]
}

const SPACE = /[ \t\n\r\f\v]+/y
const LINE_COMMENT = /--[^\n\r]*/y
/** PostgreSQL reads every byte above ASCII as a letter. */
const WORD = /[A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*/y
const STRING = /'(?:[^']|'')*'/y
const ESCAPED_STRING = /'(?:[^'\\]|''|\\[\s\S])*'/y
const QUOTED_NAME = /"(?:[^"]|"")*"/y
const DOLLAR = /\$(?:[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$/y
const NEXT_PIECE = /(?:[ \t\n\r\f\v]|--[^\n\r]*[\n\r])*'/y
const NUMBER = /\d[\dA-Za-z_.]*/y

/**
 * Reads a statement as PostgreSQL's scanner does (SQL Syntax, "Lexical Structure", with `standard_conforming_strings` on): comments, which
 * nest, strings and dollar quotes are passed over. What never ends makes the rest one piece of it, as the server refuses it anyway.
 */
export function readSqlWords(sql: string): SqlWords {
  const scan: Scan = { sql, at: 0 }
  const calls: string[] = []
  const statements: string[][] = [[]]
  let first: string | undefined
  let name: string | undefined
  let hasEncodedNames = false
  let isUnclear = false
  while (scan.at < sql.length) {
    if (take(scan, SPACE) ?? take(scan, LINE_COMMENT) ?? takeBlockComment(scan)) continue
    const word = take(scan, WORD)
    if (word !== undefined) {
      const encoded = /^u$/i.test(word) && sql[scan.at] === '&' ? sql[scan.at + 1] : undefined
      if (encoded === '"') hasEncodedNames = true
      first ??= word.toLowerCase()
      statements.at(-1)?.push(word.toLowerCase())
      // A prefix of a string is none of a name: E'…', and B'…', X'…', N'…', which hold no backslash escapes.
      if (/^e$/i.test(word) && sql[scan.at] === "'") {
        takeOrEnd(scan, ESCAPED_STRING)
        // The next piece of the same string has escapes too, though nothing at it says so.
        isUnclear ||= isMatch(scan, NEXT_PIECE)
      }
      name = word.toLowerCase()
      continue
    }
    const sign = sql[scan.at] ?? ''
    if (sign === '"') {
      name = takeOrEnd(scan, QUOTED_NAME).slice(1, -1).replaceAll('""', '"')
      first ??= ''
      statements.at(-1)?.push(name.toLowerCase())
      continue
    }
    if (sign === '(' && name !== undefined) calls.push(name)
    name = undefined
    if (sign !== '(') first ??= ''
    if (sign === ';') statements.push([])
    if (sign === "'") statements.at(-1)?.push(takeOrEnd(scan, STRING).toLowerCase())
    else if (!takeDollarQuote(scan)) {
      // Before PostgreSQL 15 `1a$b$` is a number and a name, where another reader sees the beginning of a string.
      if (take(scan, NUMBER) === undefined) scan.at += 1
      else isUnclear ||= sql[scan.at] === '$'
    }
  }
  return { first: first ?? '', calls, hasEncodedNames, isUnclear, statements: statements.filter((words) => words.length > 0) }
}

interface Scan {
  sql: string
  at: number
}

function take(scan: Scan, pattern: RegExp): string | undefined {
  pattern.lastIndex = scan.at
  const found = pattern.exec(scan.sql)?.[0]
  if (found !== undefined) scan.at += found.length
  return found
}

function isMatch({ sql, at }: Scan, pattern: RegExp): boolean {
  pattern.lastIndex = at
  return pattern.test(sql)
}

function takeOrEnd(scan: Scan, pattern: RegExp): string {
  const start = scan.at
  if (take(scan, pattern) === undefined) scan.at = scan.sql.length
  return scan.sql.slice(start, scan.at)
}

function takeBlockComment(scan: Scan): true | undefined {
  const { sql } = scan
  if (!sql.startsWith('/*', scan.at)) return undefined
  let depth = 0
  for (; scan.at < sql.length; scan.at++) {
    if (sql.startsWith('/*', scan.at)) depth += 1
    else if (sql.startsWith('*/', scan.at)) depth -= 1
    else continue
    scan.at += 1
    if (depth === 0) {
      scan.at += 1
      return true
    }
  }
  return true
}

function takeDollarQuote(scan: Scan): boolean {
  const tag = take(scan, DOLLAR)
  if (tag === undefined) return false
  const end = scan.sql.indexOf(tag, scan.at)
  scan.at = end < 0 ? scan.sql.length : end + tag.length
  return true
}
