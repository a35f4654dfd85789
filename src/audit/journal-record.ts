import { AppError } from '../lib/errors.ts'
import { auditEventSchema, eventFieldsSchema } from './event.ts'
import type { AuditEvent, EventFields } from './event.ts'

/**
 * One line of the journal.
 * `opened` begins the first segment of a process: whoever wrote before is dead. `continued` begins every further segment and is
 * followed by the starts that are still open, so that a segment can be read without the ones before it.
 */
export type JournalRecord =
  | { kind: 'opened' }
  | { kind: 'continued' }
  | { kind: 'start'; event: AuditEvent }
  | { kind: 'end'; uid: string; fields: EventFields }
  | { kind: 'point'; event: AuditEvent }

export const OPENED_LINE = '{"kind":"opened"}\n'
export const CONTINUED_LINE = '{"kind":"continued"}\n'

/**
 * A request that is about to leave: its event without an end, as one line. Its length tells whether it is whole without parsing it.
 * @param event its JSON text.
 */
export function renderStart(event: string): string {
  return `{"kind":"start","chars":${event.length},"event":${event}}\n`
}

/** What the end of the request `uid` adds to its event. @param fields their JSON text. */
export function renderEnd(uid: string, fields: string): string {
  return `{"kind":"end","uid":${JSON.stringify(uid)},"chars":${fields.length},"fields":${fields}}\n`
}

/** An event that is whole at once. */
export function renderPoint(event: AuditEvent): string {
  return `{"kind":"point","event":${JSON.stringify(event)}}\n`
}

/** From here on an event may have to be cut down, which takes its fields for what they say: each is judged by the schema then. */
const LONG_LINE = 16 * 1024

/**
 * Undefined for a line that is no record: a damaged disk, a foreign hand. Lines are looked at closely only when they are long: nobody but
 * this program writes here, JSON shows that a line is whole, and the store looks at what it needs of an event.
 */
export function parseRecord(line: string): JournalRecord | undefined {
  const record = parseJson(line)
  if (!isObject(record)) return undefined
  const { kind, event, uid, fields } = record
  const isLong = line.length > LONG_LINE
  if (kind === 'start' || kind === 'point') return isOwnEvent(event) && (!isLong || isJudgedEvent(event)) ? { kind, event } : undefined
  if (kind === 'end') {
    const isEnd = typeof uid === 'string' && isFields(fields) && (!isLong || isJudgedFields(fields))
    return isEnd ? { kind, uid, fields } : undefined
  }
  return kind === 'opened' || kind === 'continued' ? { kind } : undefined
}

/** @param text of an event that came out of the journal. */
export function parseKeptEvent(text: string): AuditEvent {
  const event = parseJson(text)
  if (!isOwnEvent(event)) throw new AppError('internal', 'an event of the audit journal cannot be read')
  return event
}

function isOwnEvent(value: unknown): value is AuditEvent {
  return isObject(value) && typeof value['uid'] === 'string' && typeof value['event'] === 'string'
}

function isJudgedEvent(value: AuditEvent): boolean {
  return auditEventSchema.safeParse(value).success
}

function isFields(value: unknown): value is EventFields {
  return isObject(value)
}

function isJudgedFields(value: EventFields): boolean {
  return eventFieldsSchema.safeParse(value).success
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line)
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
