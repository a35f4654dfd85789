import { expect, test } from 'vitest'
import { AppError } from '../lib/errors.ts'
import type { LogFields } from '../lib/log.ts'
import { silentLogger } from '../lib/log.ts'
import { StoreFaults, storeFaultOf } from './store-faults.ts'

function createFaults() {
  const lines: (LogFields | undefined)[] = []
  let ids = 0
  const clock = { now: 0 }
  const log = { ...silentLogger, warn: (_: string, fields?: LogFields) => void lines.push(fields) }
  return { faults: new StoreFaults({ log, now: () => clock.now, createId: () => `id-${++ids}` }), lines, clock }
}

const away = new AppError('unavailable', 'the database cannot be reached: check host and port of conn_string')
const denied = new AppError('failed_precondition', 'the database user may not do this: make it the owner')

test('callers hear neither where the store is nor how it is set up, and the log has the rest', () => {
  const { faults, lines } = createFaults()
  expect(faults.hide(away)).toMatchObject({
    code: 'unavailable',
    message: "the cluster's store cannot be reached: try again (id id-1)",
    details: { error_id: 'id-1' },
  })
  expect(faults.hide(denied)).toMatchObject({
    code: 'failed_precondition',
    message: "the cluster's store has failed: tell an administrator, the log says more (id id-2)",
  })
  expect(lines).toEqual([
    { error_id: 'id-1', error: away },
    { error_id: 'id-2', error: denied },
  ])
})

test('what goes on is said once a minute, however many ask', () => {
  const { faults, lines, clock } = createFaults()
  for (let n = 0; n < 100; n++) faults.hide(away)
  expect(lines).toHaveLength(1)
  clock.now = 60_000
  expect(faults.hide(away).details).toEqual({ error_id: 'id-2' })
  expect(lines).toHaveLength(2)
})

test('a mistake of the caller, and what is hidden already, stay as they are', () => {
  const { faults, lines } = createFaults()
  const own = new AppError('invalid_argument', 'a text contains the character NUL')
  expect(faults.hide(own)).toBe(own)
  const hidden = faults.hide(away)
  expect(faults.hide(hidden)).toBe(hidden)
  expect(lines).toHaveLength(1)
})

test('an operator is told what it is; other errors are what they were', () => {
  const { faults } = createFaults()
  expect(storeFaultOf(faults.hide(away))).toBe(away)
  const other = new AppError('internal', 'internal error (id 1)', { details: { error_id: '1' }, cause: new Error('secret') })
  expect(storeFaultOf(other)).toBe(other)
})
