import type { EventFilter } from '../../client/audit.ts'
import type { Invocation } from '../../lib/command-rows.ts'
import { findDuration } from '../../lib/duration.ts'
import { AppError } from '../../lib/errors.ts'

/** What the filter flags of the audit commands ask for. */
export function readFilter(call: Invocation, now: number): EventFilter {
  const named = {
    user: call.text('user'),
    server: call.text('server'),
    tool: call.text('tool'),
    type: call.text('type'),
    outcome: call.text('outcome'),
  }
  return { ...named, from: parseMoment(call.text('from'), now), to: parseMoment(call.text('to'), now) }
}

/** `--limit`; throws `invalid_argument` below 1. */
export function readLimit(call: Invocation): number {
  const text = call.text('limit') ?? ''
  const limit = /^\d{1,7}$/.test(text) ? Number(text) : 0
  if (limit < 1) throw new AppError('invalid_argument', `--limit is a number from 1, not "${text}"`)
  return limit
}

/** RFC 3339, or how long ago. */
function parseMoment(text: string | undefined, now: number): string | undefined {
  if (text === undefined) return undefined
  const ago = findDuration(text)
  const moment = ago === undefined ? (/^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : NaN) : now - ago
  if (Number.isNaN(moment))
    throw new AppError('invalid_argument', `"${text}" is no time: write 2026-11-21T12:00:00Z, or how long ago, such as 24h`)
  return new Date(moment).toISOString()
}
