import { expect, test } from 'vitest'
import { idleMsOf, mcpLimitsSchema } from './limits-schema.ts'

const schema = mcpLimitsSchema('here')

test.each([
  ['no session at all', { sessions: 0 }],
  ['more sessions than a machine has memory for', { sessions: 100_001 }],
  ['no session of a caller', { sessions_per_user: 0 }],
  ['too many of one caller', { sessions_per_user: 10_001 }],
  ['half a session', { sessions: 1.5 }],
  ['a time without a unit', { idle_timeout: '300' }],
  ['no time', { idle_timeout: '0' }],
  ['less than ten seconds', { idle_timeout: '9999ms' }],
  ['more than a day', { idle_timeout: '24h1s' }],
  ['an unknown key', { session: 1 }],
])('%s is a fault', (_, section) => {
  expect(schema.safeParse(section).success).toBe(false)
})

test('what is not said is as many as ten thousand clients need', () => {
  expect(schema.parse(undefined)).toEqual({ sessions: 20_000, sessions_per_user: 64, idle_timeout: '5m' })
})

test('the bounds are within', () => {
  const limits = schema.parse({ sessions: 100_000, sessions_per_user: 10_000, idle_timeout: '24h' })
  expect(idleMsOf(limits)).toBe(86_400_000)
  expect(idleMsOf(schema.parse({ sessions: 1, sessions_per_user: 1, idle_timeout: '10s' }))).toBe(10_000)
})
