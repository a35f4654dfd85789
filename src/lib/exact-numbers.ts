import { AppError } from './errors.ts'

/** Numbers of one document that may be kept as they were written. */
export const MAX_INEXACT = 100_000

/** A JSON text in which each number that JavaScript would print otherwise than written became a mark; `numbers` by their mark. */
export interface MarkedText {
  readonly text: string
  readonly numbers: readonly object[]
}

/**
 * Replaces the numbers of a JSON text that JavaScript would print otherwise than written (`1.0`, `1e3`, `-0`, 20 digits) by the mark
 * `[-0,n]`. Nothing else in the result can look like one: every other `-0` is inside a string or was itself replaced. The result is
 * JSON exactly when the text is. Takes linear time; undefined when there is no such number.
 *
 * @throws SyntaxError when such a number is none of JSON; AppError invalid_argument, details `{rpc: -32600}`, when there are more than
 * `MAX_INEXACT`.
 */
export function markInexact(text: string): MarkedText | undefined {
  if (!MAYBE_INEXACT.test(text)) return undefined
  const numbers: object[] = []
  let marked = ''
  let done = 0
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) at = findClosingQuote(text, at)
    else if (code === MINUS || isDigit(code)) {
      const end = findNumberEnd(text, at)
      if (isInexact(text, at, end)) {
        if (numbers.length === MAX_INEXACT) throw tooMany()
        marked += `${text.slice(done, at)}[-0,${numbers.length}]`
        numbers.push(JSON.rawJSON(text.slice(at, end)))
        done = end
      }
      at = end - 1
    }
  }
  return numbers.length === 0 ? undefined : { text: marked + text.slice(done), numbers }
}

/** What `JSON.parse` made of a marked text, each mark replaced by its number, in place. */
export function restoreInexact(parsed: unknown, numbers: readonly object[]): unknown {
  const root = [parsed]
  const open: Container[] = [root]
  for (let container = open.pop(); container !== undefined; container = open.pop()) restoreWithin(container, numbers, open)
  return root[0]
}

function tooMany(): AppError {
  const rule = `more than ${MAX_INEXACT} numbers are written in a way JavaScript does not write them, such as 1.0: send fewer at a time`
  return new AppError('invalid_argument', rule, { details: { rpc: -32600 } })
}

type Container = unknown[] | Record<string, unknown>

const QUOTE = 0x22
const PLUS = 0x2b
const MINUS = 0x2d
const POINT = 0x2e
const ZERO = 0x30
const UPPER_E = 0x45
const BACKSLASH = 0x5c
const LOWER_E = 0x65

/** What an inexact number has somewhere: a fraction, an exponent, a minus before a zero, more than 15 digits. Text may have it too. */
const MAYBE_INEXACT = /\d[.eE]|-0|\d{16}/
/** An integer of so many digits is printed as it was written. */
const EXACT_DIGITS = 15
/** The longest that JavaScript prints are like `-0.0000012345678901234567`. */
const LONGEST_EXACT = 25

function isInexact(text: string, start: number, end: number): boolean {
  if (end - start > LONGEST_EXACT) return true
  const first = text.charCodeAt(start)
  const isNegativeZero = first === MINUS && text.charCodeAt(start + 1) === ZERO
  if (end - start <= EXACT_DIGITS && !isNegativeZero && !hasFraction(text, start, end)) return false
  const written = text.slice(start, end)
  return String(Number(written)) !== written
}

function hasFraction(text: string, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    const code = text.charCodeAt(at)
    if (code === POINT || code === LOWER_E || code === UPPER_E) return true
  }
  return false
}

/** The end of the run of characters that numbers are made of; whether they make one is judged by `JSON.parse`, or `JSON.rawJSON`. */
function findNumberEnd(text: string, start: number): number {
  let at = start + 1
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (!isDigit(code) && code !== POINT && code !== LOWER_E && code !== UPPER_E && code !== PLUS && code !== MINUS) break
  }
  return at
}

function findClosingQuote(text: string, open: number): number {
  let at = open + 1
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) break
    if (code === BACKSLASH) at++
  }
  return at
}

function isDigit(code: number): boolean {
  return code >= ZERO && code <= 0x39
}

/** Not by recursion: whoever wrote the text chose its depth. A `__proto__` written to is a member of its own already. */
function restoreWithin(container: Container, numbers: readonly object[], open: Container[]): void {
  if (Array.isArray(container)) {
    for (let i = 0; i < container.length; i++) {
      const value = container[i]
      if (!isContainer(value)) continue
      const number = findMarked(value, numbers)
      if (number === undefined) open.push(value)
      else container[i] = number
    }
    return
  }
  for (const name of Object.keys(container)) {
    const value = container[name]
    if (!isContainer(value)) continue
    const number = findMarked(value, numbers)
    if (number === undefined) open.push(value)
    else container[name] = number
  }
}

function findMarked(value: Container, numbers: readonly object[]): object | undefined {
  return Array.isArray(value) && value.length === 2 && Object.is(value[0], -0) ? numbers[Number(value[1])] : undefined
}

function isContainer(value: unknown): value is Container {
  return typeof value === 'object' && value !== null
}
