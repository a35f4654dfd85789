import { z } from 'zod'
import { buildEvent } from '../../../audit/build-event.ts'
import { AppError } from '../../../lib/errors.ts'
import { deleteOAuthRecord, listOAuthRecordsOf } from '../../../storage/oauth.ts'
import type { AuthContext } from '../context.ts'
import { openRecord } from './sealed-records.ts'

/** A browser in which somebody is signed in. */
export interface BrowserSession {
  id: string
  uid: string
  /** Milliseconds since 1970. */
  signedInAt: number
  expiresAt: number
  /** How, as RFC 8176 calls it. */
  methods: readonly string[]
}

const KIND = 'Session'

const sessionSchema = z.object({ uid: z.string(), loginTs: z.number().optional(), amr: z.array(z.string()).default([]) })

/** Of one account, the newest first. */
export async function listBrowserSessions(context: AuthContext, account: string): Promise<BrowserSession[]> {
  const records = await listOAuthRecordsOf(context.db, KIND, account, context.now())
  return records.map((record) => {
    const { uid, loginTs, amr } = sessionSchema.parse(openRecord(context, record))
    const signedInAt = loginTs === undefined ? record.created_at : loginTs * 1000
    return { id: record.id, uid, signedInAt, expiresAt: record.expires_at ?? 0, methods: amr }
  })
}

/** Signs a browser out; what MCP clients were allowed in it stays. Throws `not_found`. */
export async function endBrowserSession(
  context: AuthContext,
  { user, account, remoteAddress }: { user: string; account: string; remoteAddress: string },
  id: string,
): Promise<void> {
  await context.journal.commit(async (tx) => {
    const session = (await listOAuthRecordsOf(tx, KIND, account, context.now())).find((record) => record.id === id)
    if (!session) throw new AppError('not_found', 'you are signed in there no longer')
    await deleteOAuthRecord(tx, KIND, id)
    const event = { user, name: user, remote_addr: remoteAddress, success: true }
    return { output: undefined, events: [buildEvent('browser_session.end', event, context.build)] }
  })
}
