import { isConnectorKind } from '../../resources/connector.ts'
import type { Kind } from '../../resources/registry.ts'
import { deleteExpiredApiTokens } from '../../storage/api-tokens.ts'
import { deleteExpiredInvites } from '../../storage/credentials.ts'
import { deleteEventsBefore, searchEvents } from '../../storage/events.ts'
import { transact } from '../../storage/database.ts'
import { deleteExpiredOAuthRecords } from '../../storage/oauth.ts'
import { deleteExpired } from '../../storage/resources.ts'
import { deleteExpiredUpstreamRecords } from '../../storage/upstream-records.ts'
import { removeAccount, revokeEnded } from './accounts.ts'
import type { EndedCredentials } from './accounts.ts'
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

async function sweep(context: AuthContext, fileLog: FileLog | undefined, retentionMs: number | undefined): Promise<void> {
  const { db, live, now } = context
  const { ended, connectors } = await transact(db, async (tx) => {
    const gone = await deleteExpired(tx, now())
    for (const { kind, name } of gone) if (kind === 'secret') await dropValue(tx, name)
    const accounts: EndedCredentials[] = []
    for (const { kind, name } of gone) if (kind === 'user') accounts.push(await removeAccount(tx, name))
    return { ended: accounts, connectors: gone.filter(({ kind }) => isConnectorKind(kind)) }
  })
  for (const credentials of ended) revokeEnded(context, credentials)
  for (const { kind, name } of connectors) await endConnector(context, kind, name)
  await deleteExpiredInvites(db, now())
  for (const id of await deleteExpiredApiTokens(db, now())) live.revoke('api_token', id)
  await deleteExpiredUpstreamRecords(db, now())
  for (const id of await deleteExpiredOAuthRecords(db, now())) live.revoke('oauth', id)
  await fileLog?.catchUp()
  if (retentionMs === undefined) return
  const kept = await searchEvents(db, { from: now() - retentionMs, order: 'asc', limit: 1 })
  const first = kept.events[0]
  if (first) await deleteEventsBefore(db, first.seq)
}

/** What a connector that expired leaves behind. */
async function endConnector(context: AuthContext, kind: Kind, name: string): Promise<void> {
  await context.journal.commit(async (tx) => {
    const gone = { kind, metadata: { name } }
    await deleteSecrets(tx, gone)
    const { events, publish } = await endUsersOf(context, tx, { identity: undefined, remoteAddress: 'internal' }, gone)
    return { output: undefined, events, publish }
  })
}
