import { z } from 'zod'
import { REVOCABLES } from '../resources/feed.ts'
import { wireResource } from './resources.ts'
import { streamingRoute } from './route.ts'

const at = z.number().describe('ms since 1970, by the clock of the Auth Service')

/**
 * A line of a watch. First `begin`, then a `delete` for what went in the last hour, a `put` for each resource there is (also for one that went
 * before), a `revoked` for each credential that was ended in the last hour, then `ready`; from there on every change in order. `n` counts the lines: a
 * gap means that something was lost, and only a new watch knows what.
 */
export const watchLine = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('begin'),
    n: z.int(),
    at,
    /** Another one: the Auth Service was started again. */
    epoch: z.string(),
    /** What was revoked before is not told of. */
    known_since: z.number(),
  }),
  /** `at` of one from before `ready`: when it changed last; 0 when that is long ago. */
  z.object({ type: z.literal('put'), n: z.int(), at, kind: z.string(), resource: wireResource }),
  z.object({ type: z.literal('delete'), n: z.int(), at, kind: z.string(), name: z.string() }),
  z.object({ type: z.literal('revoked'), n: z.int(), at, kind: z.enum(REVOCABLES), name: z.string() }),
  z.object({ type: z.literal('ready'), n: z.int(), at }),
  /** Nothing changed. */
  z.object({ type: z.literal('beat'), n: z.int(), at }),
  /** The watch ends here, for this reason. */
  z.object({ type: z.literal('end'), n: z.int(), at, reason: z.string() }),
])
export type WatchLine = z.infer<typeof watchLine>

/** A watch says something at least so often, ms. */
export const WATCH_BEAT_MS = 15_000

export const watchResources = streamingRoute({
  name: 'watchResources',
  method: 'GET',
  path: '/v1/watch',
  access: 'authenticated',
  summary:
    'All resources of these kinds (separated by commas), then every change, as it happens; for services, as far as they may read them. One that falls too far behind is ended.',
  input: z.strictObject({ kinds: z.string().regex(/^[a-z_]{1,40}(?:,[a-z_]{1,40}){0,19}$/, 'must be kinds separated by commas') }),
  output: watchLine,
})
