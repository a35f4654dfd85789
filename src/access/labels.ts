import type { Labels } from '../resources/envelope.ts'
import type { Selector } from '../resources/role.ts'
import { compileMatcherLate, matchesAny, type Matcher } from './match.ts'

/** Whether a resource with these labels is selected; throws AppError when a bad pattern is what it hangs on. */
export type LabelMatcher = (labels: Labels) => boolean

/**
 * Whether the selector selects a resource with these labels.
 * Every key has to be there with a value that one of its patterns matches. An empty selector selects nothing; `'*': '*'` selects
 * everything, labels or not; a key with `'*'` only has to exist. Throws `invalid_argument` when a bad pattern leaves the answer
 * open.
 */
export function matchLabels(selector: Selector, labels: Labels): boolean {
  return compileSelector(selector)(labels)
}

/** The selector, ready to be asked often. Never throws itself: a bad pattern throws when the answer hangs on it. */
export function compileSelector(selector: Selector): LabelMatcher {
  const keys = Object.entries(selector).map(([key, values]) => compileKey(key, [values].flat()))
  if (keys.length === 0) return () => false
  if (selectsEverything(selector)) return () => true
  return (labels) => matchesAll(keys, labels)
}

interface KeyMatcher {
  key: string
  matchers: Matcher[]
}

function compileKey(key: string, values: string[]): KeyMatcher {
  return { key, matchers: values.map(compileMatcherLate) }
}

function selectsEverything(selector: Selector): boolean {
  const values = Object.hasOwn(selector, '*') ? [selector['*']].flat() : []
  return values.length === 1 && values[0] === '*'
}

/** A key that certainly does not match settles it, whatever faults the others have. */
function matchesAll(keys: KeyMatcher[], labels: Labels): boolean {
  const faults: unknown[] = []
  for (const { key, matchers } of keys) {
    const value = Object.hasOwn(labels, key) ? labels[key] : undefined
    if (value === undefined) return false
    try {
      if (!matchesAny(matchers, value)) return false
    } catch (fault) {
      faults.push(fault)
    }
  }
  if (faults.length > 0) throw faults[0]
  return true
}
