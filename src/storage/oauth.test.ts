import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { setAccountId } from './credentials.ts'
import type { Database } from './database.ts'
import {
  consumeOAuthRecord,
  countOAuthRecords,
  deleteExpiredOAuthRecords,
  deleteOAuthGrant,
  deleteOAuthRecordsOf,
  deleteOAuthRecordsOfClient,
  extendOAuthRecord,
  findOAuthGrant,
  findOAuthRecord,
  findOAuthRecordByLookup,
  listOAuthGrants,
  type OAuthRecord,
  upsertOAuthRecord,
} from './oauth.ts'
import { freshLocation, reopen, STORES } from './stores.fixture.ts'

const NOW = 1_801_396_800_000
describe.each(STORES)('on %s', (type) => {
  let db: Database
  let other: Database
  beforeEach(async () => {
    const location = await freshLocation(type)
    db = await reopen(location)
    other = await reopen(location)
  })
  afterEach(async () => {
    await db.close()
    await other.close()
  })

  const record = (kind: string, id: string, more: Partial<OAuthRecord> = {}): Omit<OAuthRecord, 'consumed_at'> => ({
    kind,
    id,
    lookup: null,
    grant_id: null,
    account: null,
    client_id: null,
    document: `sealed ${id}`,
    created_at: NOW,
    expires_at: NOW + 1000,
    ...more,
  })

  test('a code is used up once, whichever process asks, and writing it again does not make it new', async () => {
    await upsertOAuthRecord(db, record('AuthorizationCode', 'code'))
    const answers = await Promise.all([db, other, db, other].map((each) => consumeOAuthRecord(each, 'AuthorizationCode', 'code', NOW + 5)))
    expect(answers.filter(Boolean)).toEqual([true])
    await upsertOAuthRecord(db, record('AuthorizationCode', 'code', { document: 'sealed anew' }))
    expect(await findOAuthRecord(other, 'AuthorizationCode', 'code')).toMatchObject({ consumed_at: NOW + 5, document: 'sealed anew' })
    expect(await consumeOAuthRecord(db, 'AuthorizationCode', 'nothing', NOW)).toBe(false)
    expect(await consumeOAuthRecord(db, 'RefreshToken', 'code', NOW)).toBe(false)
  })

  test('a grant goes with all that came of it, and nothing else', async () => {
    await upsertOAuthRecord(db, record('Grant', 'g', { grant_id: 'grant', account: 'a', client_id: 'c' }))
    await upsertOAuthRecord(db, record('AccessToken', 't', { grant_id: 'grant' }))
    await upsertOAuthRecord(db, record('AccessToken', 'u', { grant_id: 'another' }))
    expect(await deleteOAuthGrant(db, 'grant')).toMatchObject({ kind: 'Grant', account: 'a' })
    expect(await deleteOAuthGrant(db, 'grant')).toBeUndefined()
    expect(await findOAuthRecord(db, 'AccessToken', 't')).toBeUndefined()
    expect(await findOAuthRecord(db, 'AccessToken', 'u')).toMatchObject({ id: 'u' })
  })

  test('what is over is not in force, and is swept with word of its grants', async () => {
    await upsertOAuthRecord(db, record('Grant', 'g', { grant_id: 'grant', account: 'a' }))
    await upsertOAuthRecord(db, record('Client', 'for good', { expires_at: null }))
    await setAccountId(db, 'ana', 'a')
    expect(await listOAuthGrants(db, NOW)).toMatchObject([{ grant_id: 'grant', user: 'ana' }])
    expect(await listOAuthGrants(db, NOW, 'bob')).toEqual([])
    expect(await findOAuthGrant(db, 'grant', NOW + 1000)).toBeUndefined()
    expect(await listOAuthGrants(db, NOW + 1000)).toEqual([])
    expect(await deleteExpiredOAuthRecords(db, NOW + 999)).toEqual([])
    expect(await deleteExpiredOAuthRecords(db, NOW + 1000)).toEqual(['grant'])
    expect(await countOAuthRecords(db, 'Client', NOW + 10_000)).toBe(1)
  })

  test('accounts and clients take their grants along', async () => {
    await upsertOAuthRecord(db, record('Grant', 'g', { grant_id: 'one', account: 'a', client_id: 'c' }))
    await upsertOAuthRecord(db, record('Grant', 'h', { grant_id: 'two', account: 'b', client_id: 'c' }))
    await upsertOAuthRecord(db, record('Session', 's', { account: 'a', lookup: 'uid' }))
    expect(await findOAuthRecordByLookup(db, 'Session', 'uid')).toMatchObject({ id: 's' })
    expect(await deleteOAuthRecordsOf(db, 'a')).toEqual(['one'])
    expect(await findOAuthRecordByLookup(db, 'Session', 'uid')).toBeUndefined()
    expect(await deleteOAuthRecordsOfClient(db, 'c')).toEqual(['two'])
  })

  test('a record lives longer, never shorter', async () => {
    await upsertOAuthRecord(db, record('Client', 'c'))
    await extendOAuthRecord(db, 'Client', 'c', NOW + 5000)
    await extendOAuthRecord(db, 'Client', 'c', NOW + 2000)
    expect(await findOAuthRecord(db, 'Client', 'c')).toMatchObject({ expires_at: NOW + 5000 })
  })
})
