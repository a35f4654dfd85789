import type { OutputOf, ParsedInputOf } from '../../../api/route.ts'
import type { ROUTES } from '../../../api/routes.ts'
import { parseEvent } from '../../../audit/build-event.ts'
import type { AuditEvent } from '../../../audit/event.ts'
import { renderChained } from '../../../audit/chain.ts'
import { AppError } from '../../../lib/errors.ts'
import type { Identity } from '../../../resources/identity.ts'
import { searchEvents as search } from '../../../storage/events.ts'
import type { AuthContext, KnownCaller } from '../context.ts'

/** What services tell of. All other events are the Auth Service's own and nobody else may claim that they happened. */
const SERVICE_EVENTS = /^(?:(?:mcp|db)\.session\.[a-z_]+|access\.denied|api_token\.use\.failure)$/

export async function searchEvents(
  context: AuthContext,
  { from, to, ...filter }: ParsedInputOf<typeof ROUTES.searchEvents>,
  _caller: KnownCaller,
): Promise<OutputOf<typeof ROUTES.searchEvents>> {
  const { events, next } = await search(context.db, { ...filter, from: parseTime('from', from), to: parseTime('to', to) })
  return { lines: events.map((event) => renderChained(event.text, event)), next }
}

export async function emitEvents(
  context: AuthContext,
  { events }: ParsedInputOf<typeof ROUTES.emitEvents>,
  caller: KnownCaller,
): Promise<OutputOf<typeof ROUTES.emitEvents>> {
  // A role that may do everything may still not write history.
  if (caller.identity.kind !== 'host') throw new AppError('permission_denied', 'audit events are written by services only')
  const parsed = events.map(parseEvent).map((event) => ofHost(event, caller.identity))
  const foreign = parsed.find((event) => !SERVICE_EVENTS.test(event.event) || event.cluster_name !== context.clusterName)
  if (foreign)
    throw new AppError(
      'invalid_argument',
      `events of type "${foreign.event}" are written by the Auth Service of "${foreign.cluster_name}" only`,
    )
  return { stored: await context.journal.record(parsed) }
}

/** A host on another machine speaks for itself alone: its events carry its id, whatever it says. */
function ofHost(event: AuditEvent, { name, credential }: Identity): AuditEvent {
  if (credential === 'local') return event
  if (event.server_id !== undefined && event.server_id !== name)
    throw new AppError('permission_denied', `event ${event.uid} is of the agent "${event.server_id}", and this is "${name}"`)
  return { ...event, server_id: name }
}

function parseTime(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const ms = Date.parse(text)
  if (!/^\d{4}-\d\d-\d\d(?:T|$)/.test(text) || Number.isNaN(ms))
    throw new AppError('invalid_argument', `${name}: must be an RFC 3339 time such as 2027-01-31T12:00:00Z`)
  return ms
}
