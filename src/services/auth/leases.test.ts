import { expect, test } from 'vitest'
import { AppError } from '../../lib/errors.ts'
import { type LogFields, silentLogger } from '../../lib/log.ts'
import type { Database } from '../../storage/database.ts'
import { openSqlite } from '../../storage/sqlite.ts'
import { alone } from './leases.ts'

/** One process of the cluster; each has another `byte` in its random numbers. */
function processOn(db: Database, byte = 1) {
  const warnings: (LogFields | undefined)[] = []
  const log = { ...silentLogger, warn: (_: string, fields?: LogFields) => void warnings.push(fields) }
  return { context: { db, now: () => 1000, random: (bytes: number) => new Uint8Array(bytes).fill(byte), log }, warnings }
}

const nothing = async (): Promise<undefined> => undefined

test('what failed says why, also where the store goes away meanwhile', async () => {
  const db = openSqlite(':memory:')
  const { context, warnings } = processOn(db)
  const work = alone(context, 'a', nothing, async () => {
    await db.close()
    throw new AppError('permission_denied', 'refused')
  })
  await expect(work).rejects.toMatchObject({ code: 'permission_denied', message: 'refused' })
  expect(warnings).toMatchObject([{ lease: 'a' }])
})

test('what was done counts, also where the store goes away meanwhile', async () => {
  const db = openSqlite(':memory:')
  const { context, warnings } = processOn(db)
  expect(
    await alone(context, 'a', nothing, async () => {
      await db.close()
      return 'done'
    }),
  ).toBe('done')
  expect(warnings).toMatchObject([{ lease: 'a' }])
})

test('who comes after has the lease at once', async () => {
  const db = openSqlite(':memory:')
  const [one, other] = [processOn(db, 1), processOn(db, 2)]
  expect(await alone(one.context, 'a', nothing, async () => 'first')).toBe('first')
  expect(await alone(other.context, 'a', nothing, async () => 'second')).toBe('second')
  expect([...one.warnings, ...other.warnings]).toEqual([])
  await db.close()
})
