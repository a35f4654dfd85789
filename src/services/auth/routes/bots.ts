import type { ParsedInputOf } from '../../../api/route.ts'
import type { ROUTES } from '../../../api/routes.ts'
import { buildEvent } from '../../../audit/build-event.ts'
import { AppError } from '../../../lib/errors.ts'
import { MAX_AUTHENTICATIONS } from '../../../resources/bot-instance.ts'
import type { Heartbeat } from '../../../resources/bot-instance.ts'
import type { AuthContext, KnownCaller } from '../context.ts'
import { callerFields } from '../event-fields.ts'
import { commitAsBot } from '../join/as-bot.ts'

type Input<N extends keyof typeof ROUTES> = ParsedInputOf<(typeof ROUTES)[N]>

/** More often nothing is written down, unless the process is another one. */
const QUIET_MS = 60_000
/** The same refusal is in the audit log once in so long. */
const REPEAT_MS = 3_600_000

/** A bot says that it is there. A process that starts again and again is not written down more often than the rest. */
export async function announceBot(context: AuthContext, facts: Input<'announceBot'>, caller: KnownCaller): Promise<Record<string, never>> {
  requireOwn(caller)
  return await commitAsBot(context, caller, async ({ instance: { status } }) => {
    const before = status.latest_heartbeats ?? []
    const last = before.at(-1)
    const now = context.now()
    if (last && now - Date.parse(last.recorded_at) < QUIET_MS && last.is_startup === facts.is_startup) return { output: {}, events: [] }
    const heartbeat: Heartbeat = {
      ...facts,
      recorded_at: new Date(now).toISOString(),
      join_method: status.join_method,
      remote_addr: caller.remoteAddress,
    }
    const latest = [...before, heartbeat].slice(-MAX_AUTHENTICATIONS)
    return { output: {}, events: [], status: { initial_heartbeat: status.initial_heartbeat ?? heartbeat, latest_heartbeats: latest } }
  })
}

/** A bot refused to write where somebody else could have turned the path: for whoever watches the cluster, not the machine. */
export async function reportDestination(
  context: AuthContext,
  refused: Input<'reportDestination'>,
  caller: KnownCaller,
): Promise<Record<string, never>> {
  requireOwn(caller)
  return await commitAsBot(context, caller, async ({ instance: { status } }) => {
    const { refused_destination: before } = status
    const now = context.now()
    const age = before ? now - Date.parse(before.reported_at) : Infinity
    const isSame = before?.destination === refused.destination && before.reason === refused.reason
    if (age < (isSame ? REPEAT_MS : QUIET_MS)) return { output: {}, events: [] }
    const reported_at = new Date(now).toISOString()
    const { service, destination, reason } = refused
    const event = { ...callerFields(caller), success: false, name: service, path: destination, error: reason }
    const events = [buildEvent('bot.destination.refused', event, context.build)]
    return { output: {}, events, status: { refused_destination: { ...refused, reported_at } } }
  })
}

function requireOwn({ identity }: KnownCaller): void {
  if (identity.kind !== 'bot' || identity.internal !== true)
    throw new AppError('permission_denied', 'a bot speaks of itself with its own certificate')
}
