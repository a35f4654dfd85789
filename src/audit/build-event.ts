import { AppError } from '../lib/errors.ts'
import { auditEventSchema } from './event.ts'
import type { AuditEvent, EventFields, Outcome } from './event.ts'
import { eventRow, isEventType } from './events.ts'
import type { EVENTS, EventType, FieldClass } from './events.ts'

export const MAX_EVENT_BYTES = 64 * 1024
const MAX_PARAMS_BYTES = 16 * 1024
export const MAX_SENSITIVE_BYTES = 4 * 1024
const MAX_TEXT = 1024
const MAX_ITEMS = 100

/** Fields that a type may carry, by its row. */
export type FieldsOf<T extends EventType> = Pick<EventFields, keyof (typeof EVENTS)[T]['fields'] & keyof EventFields> & { ei?: number }

export interface BuildOptions {
  ids: { uuidv7(): string }
  /** Milliseconds since 1970. */
  now: () => number
  cluster: string
  redactor: { value(value: unknown, limits: { maxBytes: number }): unknown }
}

/**
 * An event of this type, now, with code, uid and outcome; secret fields left out, sensitive ones redacted, all of it at most
 * `MAX_EVENT_BYTES` of JSON (params 16 KiB, answer 4 KiB).
 */
export function buildEvent<T extends EventType>(type: T, fields: FieldsOf<T>, options: BuildOptions): AuditEvent
export function buildEvent(type: EventType, fields: EventFields & { ei?: number }, options: BuildOptions): AuditEvent {
  const head = {
    event: type,
    code: '',
    time: new Date(options.now()).toISOString(),
    uid: options.ids.uuidv7(),
    ei: fields.ei ?? 0,
    cluster_name: options.cluster,
  }
  return settleEvent({ ...head, ...buildFields(type, fields, options) })
}

/** The fields of an event alone, redacted and capped: what ends a request whose start was recorded before. */
export function buildFields<T extends EventType>(type: T, fields: FieldsOf<T>, options: Pick<BuildOptions, 'redactor'>): EventFields
export function buildFields(type: EventType, fields: EventFields, { redactor }: Pick<BuildOptions, 'redactor'>): EventFields {
  const shaped: Record<string, unknown> = {}
  const ranks = ranksOf(type)
  const complete = addImplied(fields)
  for (const [name, value] of Object.entries(complete)) {
    const rank = ranks.get(name)
    if (rank === 'public') shaped[name] = capPublic(value, 4)
    else if (rank === 'sensitive')
      shaped[name] = name === 'message' ? shapeMessage(fields.message, redactor) : redactor.value(value, { maxBytes: MAX_SENSITIVE_BYTES })
  }
  return asFields(shaped)
}

/** Capping and redacting leave a text a text and a number a number, so what was typed on its way in need not be parsed again. */
function asFields(shaped: Record<string, unknown>): EventFields {
  const fields: EventFields = {}
  return Object.assign(fields, shaped)
}

/**
 * Outcome and code follow from what is known of the event; call it again when a request's end was merged into its start.
 * @param atMost characters that its text cannot exceed, where that is known: a short event need not be measured.
 */
export function settleEvent(event: AuditEvent, atMost = Number.POSITIVE_INFINITY): AuditEvent {
  const fit = fitsSurely(atMost) ? (settled: AuditEvent) => settled : fitEvent
  if (!isEventType(event.event)) return fit(event)
  const { code } = eventRow(event.event)
  const denied = event.decision?.allow === false
  const failed = denied || event.success === false || code.success === undefined
  const derived: Outcome = denied ? 'denied' : failed ? 'failure' : 'success'
  return fit({ ...event, code: (failed ? code.failure : undefined) ?? code.success ?? '', outcome: event.outcome ?? derived })
}

/** An event that another service hands over, without fields its type has not. Throws `invalid_argument` when it is none or too large. */
export function parseEvent(document: unknown): AuditEvent {
  const parsed = auditEventSchema.safeParse(document)
  if (!parsed.success)
    throw new AppError(
      'invalid_argument',
      `not an audit event: ${parsed.error.issues[0]?.path.join('.')}: ${parsed.error.issues[0]?.message}`,
    )
  const { event, code, time, uid, ei, cluster_name, truncated, ...fields } = parsed.data
  if (!isEventType(event)) throw new AppError('invalid_argument', `unknown audit event type "${event.slice(0, 100)}"`)
  if (isTooLarge(parsed.data)) throw new AppError('invalid_argument', `audit event ${uid} is larger than ${MAX_EVENT_BYTES} bytes`)
  const ranks = ranksOf(event)
  const kept: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(fields)) {
    const rank = ranks.get(name)
    if (rank === 'public' || rank === 'sensitive') kept[name] = value
  }
  return { event, code, time, uid, ei, cluster_name, ...(truncated && { truncated }), ...asFields(kept) }
}

/** The classes of a type's fields; made once, for every event asks. */
function ranksOf(type: EventType): ReadonlyMap<string, FieldClass> {
  const known = RANKS.get(type)
  if (known) return known
  const ranks = new Map<string, FieldClass>(Object.entries(eventRow(type).fields))
  RANKS.set(type, ranks)
  return ranks
}

const RANKS = new Map<EventType, ReadonlyMap<string, FieldClass>>()

/** What readers look for under a name of its own: the tool of a call, the server under Teleport's name. */
function addImplied(fields: EventFields): EventFields {
  const tool = fields.tool ?? calledTool(fields.message)
  if (tool === undefined && fields.server === undefined) return fields
  return { ...fields, ...(tool !== undefined && { tool }), ...(fields.server !== undefined && { app_name: fields.server }) }
}

/** The tool that a message calls by name. */
export function calledTool(message: EventFields['message']): string | undefined {
  const params = message?.method === 'tools/call' ? message.params : undefined
  const isNamed = typeof params === 'object' && params !== null && 'name' in params && typeof params.name === 'string'
  return isNamed ? String(params.name) : undefined
}

/** A message as events keep it: redacted and capped. */
export function shapeMessage(message: EventFields['message'], redactor: BuildOptions['redactor']): EventFields['message'] {
  if (!message) return undefined
  const head = { jsonrpc: cutText(message.jsonrpc), method: cutText(message.method), id: cutText(message.id) }
  return message.params === undefined ? head : { ...head, params: redactor.value(message.params, { maxBytes: MAX_PARAMS_BYTES }) }
}

/** A text as public fields keep it: not at any length. */
export function cutText(text: string | undefined): string | undefined {
  return text !== undefined && text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text
}

/** Names, addresses and numbers of the caller's choosing are kept, but not at any length. What is short enough is not copied. */
function capPublic(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return cutText(value)
  if (typeof value !== 'object' || value === null || isShort(value, depth)) return value
  if (depth === 0) return undefined
  if (Array.isArray(value)) return value.slice(0, MAX_ITEMS).map((item) => capPublic(item, depth - 1))
  return Object.fromEntries(
    Object.entries(value)
      .slice(0, MAX_ITEMS)
      .map(([key, item]) => [cutText(key), capPublic(item, depth - 1)]),
  )
}

/** Whether `capPublic` would leave it as it is. */
function isShort(value: unknown, depth: number): boolean {
  if (typeof value === 'string') return value.length <= MAX_TEXT
  if (typeof value !== 'object' || value === null) return true
  if (depth === 0) return false
  if (Array.isArray(value)) return value.length <= MAX_ITEMS && value.every((item) => isShort(item, depth - 1))
  const entries = Object.entries(value)
  return entries.length <= MAX_ITEMS && entries.every(([key, item]) => key.length <= MAX_TEXT && isShort(item, depth - 1))
}

/** One UTF-16 unit is at most three bytes of UTF-8, so that the bytes of a short text need not be counted. */
export function fitsSurely(chars: number): boolean {
  return chars * 3 <= MAX_EVENT_BYTES
}

function isTooLarge(event: AuditEvent): boolean {
  const text = JSON.stringify(event)
  return !fitsSurely(text.length) && Buffer.byteLength(text) > MAX_EVENT_BYTES
}

function sizeOf(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value) ?? '')
}

/** Who, where, when and how it went are never given up; the largest of the rest goes first. */
const LAST_TO_GO = new Set([
  'event',
  'code',
  'time',
  'uid',
  'ei',
  'cluster_name',
  'user',
  'server',
  'sid',
  'tool',
  'success',
  'outcome',
  'decision',
  'truncated',
])

function fitEvent(event: AuditEvent): AuditEvent {
  let fitted = event
  while (isTooLarge(fitted)) {
    const candidates = Object.entries(fitted).filter(([name]) => !LAST_TO_GO.has(name))
    const largest = candidates.toSorted(([, a], [, b]) => sizeOf(b) - sizeOf(a))[0]?.[0]
    if (largest === undefined) break
    const hasParams = largest === 'message' && fitted.message?.params !== undefined
    const { [largest]: _, ...rest }: Record<string, unknown> = fitted
    const replaced = hasParams ? { ...rest, message: { ...fitted.message, params: undefined } } : rest
    fitted = auditEventSchema.parse({ ...replaced, truncated: [...(fitted.truncated ?? []), hasParams ? 'message.params' : largest] })
  }
  return fitted
}
