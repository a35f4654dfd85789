import { z } from 'zod'
import { route } from './route.ts'

/** An event as stored; `chain` ties it to its predecessor (audit/chain.ts). */
const storedEvent = z.looseObject({ event: z.string(), code: z.string(), time: z.string(), uid: z.string() })

export const searchEvents = route({
  name: 'searchEvents',
  method: 'GET',
  path: '/v1/audit/events',
  access: { kind: 'event', verb: 'list' },
  summary: 'Audit events by filter. `lines` are the exact chained JSON texts, in order of the chain unless `order` is desc.',
  input: z.strictObject({
    from: z.string().optional(),
    to: z.string().optional(),
    type: z.string().optional(),
    user: z.string().optional(),
    server: z.string().optional(),
    tool: z.string().optional(),
    outcome: z.string().optional(),
    text: z.string().max(200).optional(),
    order: z.enum(['asc', 'desc']).optional(),
    limit: z.coerce.number().int().min(1).max(1000).optional(),
    /** Continue behind this place in the chain. */
    after: z.coerce.number().int().min(0).optional(),
  }),
  output: z.object({ lines: z.array(z.string()), next: z.number().nullable() }),
})

/** Agents hand over what their spool holds; repeating a batch changes nothing, for every event has its uid. */
export const emitEvents = route({
  name: 'emitEvents',
  method: 'POST',
  path: '/v1/audit/events',
  access: { kind: 'event', verb: 'create' },
  summary: 'Stores events of a service.',
  input: z.strictObject({ events: z.array(storedEvent).max(1000) }),
  output: z.object({ stored: z.number() }),
})
