import { z } from 'zod'
import { auditEventSchema, eventFieldsSchema } from './event.ts'
import type { AuditEvent, EventFields } from './event.ts'

/**
 * One line of the journal.
 * `opened` begins the first segment of a process: whoever wrote before is dead. `continued` begins every further segment and is
 * followed by the starts that are still open, so that a segment can be read without the ones before it.
 */
const recordSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('opened') }),
  z.object({ kind: z.literal('continued') }),
  z.object({ kind: z.literal('start'), event: auditEventSchema }),
  z.object({ kind: z.literal('end'), uid: z.string(), fields: eventFieldsSchema }),
  z.object({ kind: z.literal('point'), event: auditEventSchema }),
])
export type JournalRecord = z.infer<typeof recordSchema>

export const OPENED_LINE = '{"kind":"opened"}\n'
export const CONTINUED_LINE = '{"kind":"continued"}\n'

/** A request that is about to leave: its event without an end, as one line. */
export function renderStart(event: AuditEvent): string {
  return `{"kind":"start","event":${JSON.stringify(event)}}\n`
}

/** What the end of the request `uid` adds to its event. */
export function renderEnd(uid: string, fields: EventFields): string {
  return `{"kind":"end","uid":${JSON.stringify(uid)},"fields":${JSON.stringify(fields)}}\n`
}

/** An event that is whole at once. */
export function renderPoint(event: AuditEvent): string {
  return `{"kind":"point","event":${JSON.stringify(event)}}\n`
}

/**
 * The same lines, looked at less closely: nobody but this program writes here, JSON shows that a line is whole, and the store judges every
 * event by its schema before it keeps it. A long line is judged here as well, since cutting an event down takes its fields for what they say.
 */
const ownEvent = z.custom<AuditEvent>((value) => isObject(value) && typeof value['uid'] === 'string' && typeof value['event'] === 'string')
const ownRecordSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('opened') }),
  z.object({ kind: z.literal('continued') }),
  z.object({ kind: z.literal('start'), event: ownEvent }),
  z.object({ kind: z.literal('end'), uid: z.string(), fields: z.custom<EventFields>(isObject) }),
  z.object({ kind: z.literal('point'), event: ownEvent }),
])
const LONG_LINE = 16 * 1024

/** Undefined for a line that is no record: a damaged disk, a foreign hand. */
export function parseRecord(line: string): JournalRecord | undefined {
  const schema = line.length > LONG_LINE ? recordSchema : ownRecordSchema
  try {
    return schema.safeParse(JSON.parse(line)).data
  } catch {
    return undefined // not JSON; the reader sets the line aside and says so
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const SEGMENT = /^segment-(\d{10})\.jsonl$/

export function segmentName(number: number): string {
  return `segment-${String(number).padStart(10, '0')}.jsonl`
}

/** Numbers of the segments among the names of a directory, ascending. */
export function segmentNumbers(names: string[]): number[] {
  return names
    .map((name) => SEGMENT.exec(name)?.[1])
    .filter((digits) => digits !== undefined)
    .map(Number)
    .sort((a, b) => a - b)
}
