import { AppError } from './errors.ts'

const UNIT_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const PART = /(\d+(?:\.\d+)?)(ms|s|m|h|d)/gy

/**
 * Milliseconds of a Go-style duration such as `12h`, `30h0m0s`, `1.5h` or `250ms`; `d` (24 h) is accepted too.
 * A bare number, a sign or an unknown unit throws `invalid_argument`.
 */
export function parseDuration(text: string): number {
  const ms = findDuration(text)
  if (ms === undefined) throw new AppError('invalid_argument', `"${text}" is not a duration: write it like 30m, 12h or 1h30m`)
  return ms
}

/** The same, or undefined when the text is no duration. */
export function findDuration(text: string): number | undefined {
  if (text === '0') return 0
  let total = 0
  let end = 0
  for (const part of text.matchAll(PART)) {
    total += Number(part[1]) * (UNIT_MS[part[2] ?? ''] ?? 0)
    end = part.index + part[0].length
  }
  return end > 0 && end === text.length ? total : undefined
}

/** `[1h2m3s]` style text of a span in milliseconds, whole seconds, largest unit first. */
export function renderDuration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  const h = Math.floor(seconds / 3600)
  const m = Math.floor((seconds % 3600) / 60)
  const s = seconds % 60
  if (h > 0) return `${h}h${m}m`
  return m > 0 ? `${m}m${s}s` : `${s}s`
}
