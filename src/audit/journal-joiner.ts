import { AppError } from '../lib/errors.ts'
import { settleEvent } from './build-event.ts'
import type { AuditEvent } from './event.ts'
import { renderEvent } from './event-text.ts'
import type { EventText } from './event-text.ts'
import { parseRecord } from './journal-record.ts'
import { JournalRequests } from './journal-request.ts'
import type { RequestStart } from './journal-request.ts'

export const NO_RECORD = 'not a journal record'

/** What lines of a journal come to. */
export interface Joined {
  /** Complete, in the order in which they ended. */
  events: EventText[]
  /** What cannot be used. */
  aside: { line: string; reason: string }[]
}

/** A start that has no end yet. All is let go at the end: a Map that was outgrown keeps what was in it until the next full collection. */
interface Started {
  line: string
  request: RequestStart | undefined
  event: AuditEvent | undefined
}

/** Joins the two records of each call, line after line. */
export class JournalJoiner {
  readonly #requests = new JournalRequests()
  readonly #open = new Map<string, Started>()

  /** @param isPlain the line has no byte that no record has, so that its length tells whether it is whole. */
  take(line: string, isPlain: boolean, joined: Joined): void {
    if (isPlain && this.#takeRequest(line, joined)) return
    const record = parseRecord(line)
    if (record?.kind === 'start') this.#open.set(record.event.uid, { line, request: undefined, event: record.event })
    else if (record?.kind === 'point') keep(record.event, line, joined)
    else if (record?.kind === 'opened') this.#interruptAll(joined)
    else if (record?.kind === 'end') {
      const started = this.#end(record.uid)
      if (started) keep(complete(started, { outcome: undefined, ...record.fields }, line.length), line, joined)
      else joined.aside.push({ line, reason: 'an end without its start' })
    } else if (!record && line !== '') joined.aside.push({ line, reason: NO_RECORD })
  }

  forget(): void {
    this.#open.clear()
  }

  /** False when the line has to be looked at more closely. */
  #takeRequest(line: string, { events }: Joined): boolean {
    const request = this.#requests.readStart(line)
    if (request) {
      this.#open.set(request.uid, { line, request, event: undefined })
      return true
    }
    const end = this.#requests.readEnd(line)
    const started = end && this.#open.get(end.uid)?.request
    const event = started && this.#requests.join(started, end)
    if (!event) return false
    this.#end(end.uid)
    events.push(event)
    return true
  }

  #end(uid: string): Started | undefined {
    const started = this.#open.get(uid)
    if (!started) return undefined
    this.#open.delete(uid)
    const ended = { ...started }
    started.line = ''
    started.request = undefined
    started.event = undefined
    return ended
  }

  /** Whoever wrote before is dead. */
  #interruptAll(joined: Joined): void {
    const error = 'the gateway stopped before the answer was known'
    for (const started of this.#open.values())
      keep(complete(started, { success: false, outcome: 'interrupted', error }, 0), started.line, joined)
    this.#open.clear()
  }
}

function complete({ line, event = eventOf(line) }: Started, fields: Partial<AuditEvent>, length: number): AuditEvent | undefined {
  return event && settleEvent({ ...event, ...fields }, line.length + length + SETTLED_CHARS)
}

/** More than settling an event can add to its text. */
const SETTLED_CHARS = 200

function eventOf(line: string): AuditEvent | undefined {
  const record = parseRecord(line)
  return record?.kind === 'start' ? record.event : undefined
}

function keep(event: AuditEvent | undefined, line: string, { events, aside }: Joined): void {
  try {
    if (event) events.push(renderEvent(event))
    else aside.push({ line, reason: NO_RECORD })
  } catch (thrown) {
    if (!(thrown instanceof AppError && thrown.code === 'invalid_argument')) throw thrown
    aside.push({ line, reason: thrown.message })
  }
}
