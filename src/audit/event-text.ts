import { AppError } from '../lib/errors.ts'
import type { AuditEvent } from './event.ts'

/** What a store finds an event by. */
export interface EventColumns {
  uid: string
  /** Milliseconds since 1970. */
  time: number
  type: string
  code: string
  user: string | null
  server: string | null
  tool: string | null
  outcome: string | null
  sid: string | null
}

/** An event on its way into a store. */
export interface EventText extends EventColumns {
  /** Its JSON, as it is hashed and kept. */
  text: string
}

/** @throws AppError invalid_argument for an event that no search could find. */
export function renderEvent(event: AuditEvent): EventText {
  return { ...columnsOf(event), text: JSON.stringify(event) }
}

function columnsOf(event: AuditEvent): EventColumns {
  const { uid, code, event: type } = event
  const time = Date.parse(event.time)
  const named = [event.user, event.server, event.tool, event.outcome, event.sid]
  const isSound = typeof code === 'string' && !Number.isNaN(time) && named.every((one) => one === undefined || typeof one === 'string')
  if (!isSound) throw new AppError('invalid_argument', `audit event ${uid} has no readable time, code or names`)
  const [user = null, server = null, tool = null, outcome = null, sid = null] = named
  return { uid, time, type, code, user, server, tool, outcome, sid }
}
