import type { AuditEvent } from '../../audit/event.ts'
import { isConnectorKind } from '../../resources/connector.ts'
import { deleteExpiredApiTokens } from '../../storage/api-tokens.ts'
import { deleteExpiredInvites } from '../../storage/credentials.ts'
import { deleteExpiredLoginFlows } from '../../storage/login-flows.ts'
import { deleteEventsBefore, searchEvents } from '../../storage/events.ts'
import { deleteChangesBefore } from '../../storage/changes.ts'
import type { Executor } from '../../storage/database.ts'
import { deleteExpiredSessions } from '../../storage/mcp-sessions.ts'
import { deleteExpiredOAuthRecords } from '../../storage/oauth.ts'
import { deleteExpired } from '../../storage/resources.ts'
import { deleteExpiredMarks } from '../../storage/shared-marks.ts'
import { deleteExpiredUpstreamRecords } from '../../storage/upstream-records.ts'
import { removeAccount, revokeEnded } from './accounts.ts'
import { CHANGES_KEPT_MS, revoke } from './changes.ts'
import type { AuthContext } from './context.ts'
import type { FileLog } from './file-log.ts'
import { deleteSecrets } from './resource-secrets.ts'
import { dropValue } from './secrets.ts'
import { endUsersOf } from './sso/connector-users.ts'

export interface JobOptions {
  context: AuthContext
  fileLog: FileLog | undefined
  /** Age in ms after which events leave the store; undefined keeps all. */
  retentionMs: number | undefined
  /** How often watchers learn what expired. */
  expireEveryMs: number
  /** How often the store is swept. */
  sweepEveryMs: number
}

/** The one loop of the Auth Service: takes out what has expired. What fails is logged and tried again the next time. */
export function startJobs({ context, fileLog, retentionMs, expireEveryMs, sweepEveryMs }: JobOptions): { close(): Promise<void> } {
  const { live, log } = context
  let running: Promise<void> | undefined
  let sweptAt = context.now()
  const timer = setInterval(() => {
    const now = context.now()
    live.expire(now)
    if (running || now - sweptAt < sweepEveryMs) return
    sweptAt = now
    running = sweep(context, fileLog, retentionMs)
      .catch((cause: unknown) => log.error('sweeping the store failed', { cause }))
      .finally(() => (running = undefined))
  }, expireEveryMs)
  timer.unref()
  return {
    async close() {
      clearInterval(timer)
      await running
    },
  }
}

/** Everything is taken out by one statement that says what it took: of several processes that sweep at once each has work of its own. */
async function sweep(context: AuthContext, fileLog: FileLog | undefined, retentionMs: number | undefined): Promise<void> {
  const { db, now } = context
  await context.journal.commit(async (tx) => {
    const events = await sweepResources(context, tx)
    await revoke(context, tx, 'api_token', await deleteExpiredApiTokens(tx, now()))
    await revoke(context, tx, 'oauth', await deleteExpiredOAuthRecords(tx, now()))
    return { output: undefined, events }
  })
  await deleteExpiredInvites(db, now())
  await deleteExpiredLoginFlows(db, now())
  await deleteExpiredUpstreamRecords(db, now())
  await deleteExpiredMarks(db, now())
  await deleteExpiredSessions(db, now())
  await deleteChangesBefore(db, now() - CHANGES_KEPT_MS)
  await fileLog?.catchUp()
  if (retentionMs === undefined) return
  const kept = await searchEvents(db, { from: now() - retentionMs, order: 'asc', limit: 1 })
  const first = kept.events[0]
  if (first) await deleteEventsBefore(db, first.seq)
}

/** Resources that have expired, and what they leave behind; the events of that. */
async function sweepResources(context: AuthContext, tx: Executor): Promise<AuditEvent[]> {
  const events: AuditEvent[] = []
  for (const { kind, name } of await deleteExpired(tx, context.now())) {
    const gone = { kind, metadata: { name } }
    if (kind === 'secret') await dropValue(tx, name)
    if (kind === 'user') await revokeEnded(context, tx, await removeAccount(tx, name))
    if (!isConnectorKind(kind)) continue
    await deleteSecrets(tx, gone)
    events.push(...(await endUsersOf(context, tx, { identity: undefined, remoteAddress: 'internal' }, gone)))
  }
  return events
}
