import { fitsSurely } from './build-event.ts'
import { EVENTS } from './events.ts'
import type { EventColumns, EventText } from './event-text.ts'

const TYPE = 'mcp.session.request'
const { code: CODES } = EVENTS[TYPE]
/** So many texts of sessions are kept with what they say. */
const MAX_SESSIONS = 1000

/** Columns that are the same for all requests of a session. */
type SessionColumns = Pick<EventColumns, 'user' | 'server' | 'sid'>

/** The start of a request, as far as it has to be known to join it with its end. */
export interface RequestStart {
  readonly uid: string
  readonly time: number
  readonly tool: string | null
  readonly session: SessionColumns
  /** Its event's text behind the code, without the last brace: `,"time":"…",…`. */
  readonly rest: string
}

export interface RequestEnd {
  readonly uid: string
  readonly success: boolean
  /** The members that it adds. */
  readonly fields: string
}

/** As `renderStart` writes what `RequestRecords.start` rendered: code, time, uid, tool and the beginning of what is the session's. */
const START =
  /^\{"kind":"start","chars":(\d{1,9}),"event":(\{"event":"mcp\.session\.request","code":"[A-Z0-9]{1,20}")(,"time":"([^"\\]{20,30})","uid":"([^"\\]{1,64})","ei":\d{1,15},(?:"tool":("(?:[^"\\]|\\.)*"),)?)"cluster_name":/
const SESSION_END = ',"message":{'
/** As `renderEnd` writes what `RequestRecords.end` rendered: none of its members is one of a start. */
const END =
  /^\{"kind":"end","uid":"([^"\\]{1,64})","chars":(\d{1,9}),"fields":\{("success":(true|false)(?:,"result_bytes":\d{1,16})?(?:,"latency_ms":[\d.e+-]{1,30})?(?:,"(?:error|answer)":|\}))/

/**
 * Puts the events of MCP requests together from their two lines without taking either apart: nearly all of a journal are these. What has not
 * exactly the form in which `RequestRecords` writes it, or not the length it says, is for `parseRecord` to read.
 */
export class JournalRequests {
  readonly #sessions = new Map<string, SessionColumns>()
  #timeText = ''
  #time = Number.NaN

  readStart(line: string): RequestStart | undefined {
    const found = START.exec(line)
    if (!found) return undefined
    const [whole, chars, head = '', facts = '', timeText = '', uid = '', literal] = found
    const from = whole.length - facts.length - head.length - '"cluster_name":'.length
    if (!isWhole(line, from, Number(chars))) return undefined
    const sessionAt = whole.length - '"cluster_name":'.length
    const sessionEnd = line.indexOf(SESSION_END, sessionAt)
    const session = sessionEnd < 0 ? undefined : this.#sessionOf(line.slice(sessionAt, sessionEnd))
    const time = this.#timeOf(timeText)
    const name = literal === undefined ? null : readText(literal)
    if (!session || name === undefined || Number.isNaN(time)) return undefined
    return { uid, time, tool: name, session, rest: line.slice(from + head.length, -2) }
  }

  readEnd(line: string): RequestEnd | undefined {
    const found = END.exec(line)
    if (!found) return undefined
    const [whole, uid = '', chars, fields = '', success] = found
    const from = whole.length - fields.length
    return isWhole(line, from - 1, Number(chars)) ? { uid, success: success === 'true', fields: line.slice(from, -2) } : undefined
  }

  /** The same event as if both had been parsed; undefined when it may be too large and has to be cut. */
  join({ uid, time, tool, session, rest }: RequestStart, { success, fields }: RequestEnd): EventText | undefined {
    const code = success ? CODES.success : CODES.failure
    const outcome = success ? 'success' : 'failure'
    const text = `{"event":"${TYPE}","code":"${code}"${rest},"outcome":"${outcome}",${fields}}`
    if (!fitsSurely(text.length)) return undefined
    const { user, server, sid } = session
    return { uid, time, type: TYPE, code, user, server, tool, outcome, sid, text }
  }

  #sessionOf(text: string): SessionColumns | undefined {
    const known = this.#sessions.get(text)
    if (known) return known
    const session = readSession(text)
    if (!session) return undefined
    if (this.#sessions.size >= MAX_SESSIONS) this.#sessions.clear()
    this.#sessions.set(text, session)
    return session
  }

  #timeOf(text: string): number {
    if (text !== this.#timeText) {
      this.#timeText = text
      this.#time = Date.parse(text)
    }
    return this.#time
  }
}

/** Whether the object that begins at `from` is as long as it was, followed by the brace that ends its line. */
function isWhole(line: string, from: number, chars: number): boolean {
  return line.length === from + chars + 1 && line.endsWith('}}')
}

/** Undefined unless these are members of an object, with readable names. */
function readSession(members: string): SessionColumns | undefined {
  const found = parse(`{${members}}`)
  if (typeof found !== 'object' || found === null) return undefined
  const { user, server, sid }: { user?: unknown; server?: unknown; sid?: unknown } = found
  return isName(user) && isName(server) && isName(sid) ? { user: user ?? null, server: server ?? null, sid: sid ?? null } : undefined
}

function isName(value: unknown): value is string | undefined {
  return value === undefined || typeof value === 'string'
}

/** A text as JSON writes it; undefined when it does not. */
function readText(literal: string): string | undefined {
  if (!literal.includes('\\')) return literal.slice(1, -1)
  const text = parse(literal)
  return typeof text === 'string' ? text : undefined
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined // the line is read another way
  }
}
