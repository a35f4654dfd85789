import { parseDuration } from '../../lib/duration.ts'
import { AppError } from '../../lib/errors.ts'

/** `key=value` words as a map of lists: a key that is repeated has several values. */
export function parsePairs(words: readonly string[]): Record<string, string[]> {
  const pairs = new Map<string, string[]>()
  for (const word of words) {
    const cut = word.indexOf('=')
    if (cut < 1) throw new AppError('invalid_argument', `"${word}" is not key=value`)
    const key = word.slice(0, cut)
    pairs.set(key, [...(pairs.get(key) ?? []), word.slice(cut + 1)])
  }
  return Object.fromEntries(pairs)
}

/** Whole seconds of a duration flag. */
export function parseSeconds(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Math.round(parseDuration(text) / 1000)
}
