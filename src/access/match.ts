import { RE2JS } from 're2js'
import { AppError } from '../lib/errors.ts'

/** Whether a text matches; throws AppError when that cannot be told. */
export type Matcher = (text: string) => boolean

const MAX_PATTERN_CHARS = 4096
/** Nobody's name, label or URI is longer; longer text is not put through a pattern at all. */
const MAX_TEXT_CHARS = 65_536
const MAX_CACHED = 1000

/**
 * The pattern language of roles. A text that starts with `^` and ends with `$` is a regular expression (RE2, used exactly as it
 * is anchored); any other is a glob: `*` stands for any run of characters, all else for itself, and the whole text has to match.
 * Case counts. Throws `invalid_argument` for a regex that RE2 refuses; so does the matcher for a text over 64 Ki characters.
 */
export function compileMatcher(pattern: string): Matcher {
  return remember(matchers, pattern, () => {
    const matches = isRegex(pattern) ? regexMatcher(pattern) : globMatcher(pattern)
    return pattern === '*' ? matches : (text) => matches(checkLength(text))
  })
}

/** The same, except that a pattern that does not compile throws when it is asked, so that one bad entry cannot hide the others. */
export function compileMatcherLate(pattern: string): Matcher {
  try {
    return compileMatcher(pattern)
  } catch (fault) {
    return () => {
      throw fault
    }
  }
}

/** Whether one of them matches; throws only if none does and at least one could not tell. */
export function matchesAny(matchers: readonly Matcher[], text: string): boolean {
  const faults: unknown[] = []
  for (const matches of matchers) {
    try {
      if (matches(text)) return true
    } catch (fault) {
      faults.push(fault)
    }
  }
  if (faults.length > 0) throw faults[0]
  return false
}

/** Whether the RE2 expression is found anywhere in the text; throws `invalid_argument` like compileMatcher. */
export function searchRegex(pattern: string, text: string): boolean {
  return compileRegex(pattern).test(checkLength(text))
}

/**
 * Every match of an RE2 expression replaced by a template in Go's notation (`$1`, `${name}`, `$$`); undefined when nothing matches.
 * Throws `invalid_argument` like compileMatcher.
 */
export function replaceRegex(pattern: string, text: string, template: string): string | undefined {
  const matcher = compileRegex(pattern).matcher(checkLength(text))
  let replaced = ''
  let end = 0
  let found = false
  while (matcher.find()) {
    found = true
    replaced += text.slice(end, matcher.start())
    replaced += template.replace(
      /\$(?:(\$)|\{(\w+)\}|(\w+))/g,
      (_all, dollar?: string, braced?: string, bare?: string) => dollar ?? groupText(matcher, braced ?? bare ?? ''),
    )
    end = matcher.end()
  }
  return found ? replaced + text.slice(end) : undefined
}

// Both hold only what follows from the pattern alone, are bounded, and nothing can be changed through them:
// two callers cannot see each other. Role sets of many identities share most of their patterns.
const matchers = new Map<string, Matcher>()
const regexes = new Map<string, RE2JS>()

function remember<T>(cache: Map<string, T>, key: string, make: () => T): T {
  const known = cache.get(key)
  if (known !== undefined) return known
  const made = make()
  if (cache.size >= MAX_CACHED) cache.clear()
  cache.set(key, made)
  return made
}

function isRegex(pattern: string): boolean {
  return pattern.length > 1 && pattern.startsWith('^') && pattern.endsWith('$')
}

function regexMatcher(pattern: string): Matcher {
  const regex = compileRegex(pattern)
  return (text) => regex.test(text)
}

function compileRegex(pattern: string): RE2JS {
  checkPatternLength(pattern)
  return remember(regexes, pattern, () => {
    try {
      return RE2JS.compile(pattern)
    } catch (cause) {
      throw new AppError(
        'invalid_argument',
        `${quote(pattern)} is not a regular expression RE2 understands (no lookaround, no backreferences)`,
        { cause },
      )
    }
  })
}

/** The literal pieces between the stars are looked for from left to right; the first and the last are tied to the ends. */
function globMatcher(pattern: string): Matcher {
  checkPatternLength(pattern)
  const pieces = pattern.split('*')
  const first = pieces[0] ?? ''
  const last = pieces.at(-1) ?? ''
  const middle = pieces.slice(1, -1).filter((piece) => piece !== '')
  if (pieces.length === 1) return (text) => text === pattern
  return (text) => {
    if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last)) return false
    let from = first.length
    const until = text.length - last.length
    for (const piece of middle) {
      const at = text.indexOf(piece, from)
      if (at < 0 || at + piece.length > until) return false
      from = at + piece.length
    }
    return true
  }
}

/** An unknown group is empty, as in Go. */
function groupText(matcher: ReturnType<RE2JS['matcher']>, name: string): string {
  const number = /^\d+$/.test(name) ? Number(name) : undefined
  if (number !== undefined) return number <= matcher.groupCount() ? (matcher.group(number) ?? '') : ''
  return Object.hasOwn(matcher.pattern().namedGroups(), name) ? (matcher.group(name) ?? '') : ''
}

function checkPatternLength(pattern: string): void {
  if (pattern.length > MAX_PATTERN_CHARS) throw new AppError('invalid_argument', `pattern is longer than ${MAX_PATTERN_CHARS} characters`)
}

function checkLength(text: string): string {
  if (text.length > MAX_TEXT_CHARS)
    throw new AppError('invalid_argument', `text is longer than ${MAX_TEXT_CHARS} characters and is not matched`)
  return text
}

function quote(text: string): string {
  return JSON.stringify(text.length > 128 ? `${text.slice(0, 128)}…` : text)
}
