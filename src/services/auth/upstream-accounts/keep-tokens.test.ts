import type { KyselyPlugin } from 'kysely'
import { expect, test } from 'vitest'
import { AppError } from '../../../lib/errors.ts'
import type { Database, Executor } from '../../../storage/database.ts'
import { freshStore } from '../../../storage/stores.fixture.ts'
import { findUpstreamRecord, type UpstreamRecord, upsertUpstreamRecord } from '../../../storage/upstream-records.ts'
import { keepTokens } from './keep-tokens.ts'

const RECORD: UpstreamRecord = { kind: 'grant', id: 'g', account: 'a', app: 'crm', document: 'old', created_at: 1, expires_at: null }

/** The store, away for the first `times` questions; lost answers are those to questions that it was asked all the same. */
function flaky(db: Database, times: number, { code = 'unavailable', isAsked = false } = {}): Executor {
  let left = times
  const fail = (): void => {
    if (left-- > 0) throw new AppError(code === 'unavailable' ? 'unavailable' : 'internal', 'away')
  }
  const plugin: KyselyPlugin = {
    transformQuery: ({ node }) => {
      if (!isAsked) fail()
      return node
    },
    transformResult: async ({ result }) => {
      if (isAsked) fail()
      return result
    },
  }
  return db.withPlugin(plugin)
}

test('what fails for another reason, or for too long, is told', async () => {
  const db = await freshStore('sqlite')
  await upsertUpstreamRecord(db, RECORD)
  const pauses: number[] = []
  const pause = async (ms: number): Promise<void> => void pauses.push(ms)
  await expect(keepTokens(flaky(db, 1, { code: 'internal' }), RECORD, 'new', pause)).rejects.toMatchObject({ code: 'internal' })
  await expect(keepTokens(flaky(db, 6), RECORD, 'new', pause)).rejects.toMatchObject({ code: 'unavailable' })
  expect(pauses).toEqual([250, 500, 1000, 2000, 4000])
  expect((await findUpstreamRecord(db, 'grant', 'g'))?.document).toBe('old')
  await db.close()
})

test('tokens are kept when the store is back, also when only its answer was lost', async () => {
  const db = await freshStore('sqlite')
  const pause = async (): Promise<void> => {}
  for (const isAsked of [false, true]) {
    await upsertUpstreamRecord(db, RECORD)
    // Of an answer that was lost it is known only that other tokens are there now: they are read.
    expect(await keepTokens(flaky(db, 2, { isAsked }), RECORD, 'new', pause)).toBe(!isAsked)
    expect((await findUpstreamRecord(db, 'grant', 'g'))?.document).toBe('new')
  }
  await db.close()
})
