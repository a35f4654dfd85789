import { buildEvent } from '../../../audit/build-event.ts'
import type { AuditEvent } from '../../../audit/event.ts'
import type { Adapter, AdapterPayload } from 'oidc-provider'
import { errors } from 'oidc-provider'
import {
  consumeOAuthRecord,
  countAnonymousOAuthRecords,
  deleteOAuthGrant,
  deleteOAuthRecord,
  deleteOAuthRecordsOfGrant,
  findOAuthRecord,
  findOAuthRecordByLookup,
  insertOAuthRecord,
  upsertOAuthRecord,
} from '../../../storage/oauth.ts'
import type { OAuthRecord } from '../../../storage/oauth.ts'
import { revoke } from '../changes.ts'
import type { AuthContext } from '../context.ts'
import { findClientDocument } from './clients.ts'
import { hashOf, openRecord, sealContext } from './sealed-records.ts'

/** What remembers the things of one kind for the library: ids are stored as hashes, documents sealed. */
export function createRecords(context: AuthContext, kind: string): Adapter {
  const { db } = context
  const hash = (id: string): string => hashOf(kind, id)
  const open = (record: OAuthRecord | undefined): AdapterPayload | undefined => record && openRecord(context, record)
  return {
    upsert: async (id, payload, expiresIn) => {
      const now = context.now()
      // What belongs to somebody was not made by just anybody.
      if (OPEN_TO_ALL.has(kind) && accountOf(payload) === null && (await countAnonymousOAuthRecords(db, kind, now)) >= MAX_OPEN)
        throw new errors.TemporarilyUnavailable('too many sign-ins are under way: try again in some minutes')
      const key = hash(id)
      const record = {
        kind,
        id: key,
        lookup: lookupOf(kind, payload),
        grant_id: kind === 'Grant' ? id : (payload.grantId ?? null),
        account: accountOf(payload),
        client_id: payload.clientId ?? payload.client_id ?? null,
        document: context.sealer.seal(Buffer.from(JSON.stringify(payload)), sealContext(kind, key)),
        created_at: now,
        expires_at: payload.exp !== undefined ? payload.exp * 1000 : expiresIn === undefined ? null : now + expiresIn * 1000,
      }
      if (kind !== 'ReplayDetection') return await upsertOAuthRecord(db, record)
      // It was looked for, but somebody may have used the same one since.
      if (!(await insertOAuthRecord(db, record))) throw new errors.InvalidRequest(REUSED)
    },
    find: async (id) => {
      if (kind === 'Client') return findClientDocument(context, id)
      return open(await findOAuthRecord(db, kind, hash(id)))
    },
    findByUid: async (uid) => open(await findOAuthRecordByLookup(db, kind, hashOf(`${kind}/uid`, uid))),
    findByUserCode: async (code) => open(await findOAuthRecordByLookup(db, kind, hashOf(`${kind}/code`, code))),
    consume: async (id) => {
      if (await consumeOAuthRecord(db, kind, hash(id), context.now())) return
      // Somebody used it up since it was looked at: the same as finding it used up (RFC 9700 section 4.14.2).
      const record = await findOAuthRecord(db, kind, hash(id))
      if (record?.grant_id) {
        const event = {
          success: true,
          ...(record.client_id !== null && { client_id: record.client_id }),
          grant_id: record.grant_id,
          reason: TWICE,
        }
        await endGrant(context, record.grant_id, [buildEvent('oauth.grant.revoke', event, context.build)])
      }
      throw new errors.InvalidGrant(REUSED)
    },
    destroy: async (id) => {
      if (kind !== 'Grant') return deleteOAuthRecord(db, kind, hash(id))
      await endGrant(context, id, [])
    },
    revokeByGrantId: (grantId) => deleteOAuthRecordsOfGrant(db, kind, grantId),
  }
}

/** Takes out a grant with everything that came of it, and tells everybody. */
async function endGrant(context: AuthContext, id: string, events: AuditEvent[]): Promise<void> {
  await context.journal.commit(async (tx) => {
    await deleteOAuthGrant(tx, id)
    await revoke(context, tx, 'oauth', [id])
    return { output: undefined, events }
  })
}

const REUSED = 'used before'
/** Why a grant ended whose code or refresh token came a second time. */
export const TWICE = 'a code or refresh token was used twice'
/** Anybody may begin a sign-in, so how many are under way is bounded. */
const MAX_OPEN = 10_000
const OPEN_TO_ALL: ReadonlySet<string> = new Set(['Interaction', 'DeviceCode', 'Session'])

function lookupOf(kind: string, { uid, userCode }: AdapterPayload): string | null {
  if (kind === 'Session' && uid !== undefined) return hashOf(`${kind}/uid`, uid)
  return kind === 'DeviceCode' && userCode !== undefined ? hashOf(`${kind}/code`, userCode) : null
}

/** Whose it is, so that it goes with the account. */
function accountOf({ accountId, session, result }: AdapterPayload): string | null {
  return accountId ?? result?.login?.accountId ?? session?.accountId ?? null
}
