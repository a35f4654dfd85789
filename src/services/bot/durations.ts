import { z } from 'zod'
import { findDuration } from '../../lib/duration.ts'

const HOUR_MS = 3_600_000
/** What lives longer is no short-lived credential. */
const MAX_TTL_MS = 24 * HOUR_MS
const DEFAULT_INTERVAL_MS = 20 * 60_000

function durationSchema(minMs: number, maxMs: number) {
  return z.string().transform((text, context) => {
    const ms = findDuration(text)
    const fault =
      ms === undefined
        ? `"${text}" is not a duration: write it like 30m, 12h or 1h30m`
        : ms < minMs
          ? `must be at least ${minMs / 1000}s`
          : ms > maxMs
            ? `must be at most ${maxMs / HOUR_MS}h`
            : undefined
    if (fault === undefined && ms !== undefined) return ms
    context.addIssue({ code: 'custom', message: fault ?? 'is not a duration' })
    return z.NEVER
  })
}

/** The two spans that the bot as a whole and each of its services have; milliseconds when parsed. */
export const spanFields = {
  credential_ttl: durationSchema(60_000, MAX_TTL_MS).optional().describe('How long a credential lives: 1h unless told, at most 24h.'),
  renewal_interval: durationSchema(1000, 7 * MAX_TTL_MS)
    .optional()
    .describe(
      'How often it is renewed: every 20m unless told, or after a third of its life when that is less. Shorter than credential_ttl.',
    ),
} as const

export interface Spans {
  /** Milliseconds. */
  credential_ttl?: number | undefined
  renewal_interval?: number | undefined
}

/** A fault at `renewal_interval` when a credential would end before it is renewed. */
export function findSpanFault({ credential_ttl, renewal_interval }: Spans, inherited: Spans = {}): string | undefined {
  const ttl = credential_ttl ?? inherited.credential_ttl ?? HOUR_MS
  const interval = renewal_interval ?? inherited.renewal_interval
  if (interval === undefined || interval < ttl) return undefined
  return `must be shorter than credential_ttl (${ttl / 60_000}m), or the credential ends before it is renewed`
}

/** The spans of a service: its own, else the bot's, else the defaults. */
export function resolveSpans(own: Spans, inherited: Spans): { ttlMs: number; intervalMs: number } {
  const ttlMs = own.credential_ttl ?? inherited.credential_ttl ?? HOUR_MS
  return { ttlMs, intervalMs: own.renewal_interval ?? inherited.renewal_interval ?? Math.min(DEFAULT_INTERVAL_MS, ttlMs / 3) }
}
