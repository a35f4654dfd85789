import { expect, test } from 'vitest'
import { HealthRecord } from './health.ts'

const START = Date.parse('2027-01-01T00:00:00Z')

function create() {
  const clock = { ms: START }
  const health = new HealthRecord({ now: () => clock.ms, random: () => 0.5 })
  return { health, clock }
}

test('one that fails from the start is failing, and says why', () => {
  const { health, clock } = create()
  expect(health.current(['never shown?'])).toMatchObject({ state: 'unknown', failures: 0 })
  clock.ms += 1000
  health.crashed('exited (code 3): no licence')
  expect(health.current(['booting', 'no licence'])).toEqual({
    state: 'failing',
    since: '2027-01-01T00:00:01.000Z',
    reason: 'exited (code 3): no licence',
    failures: 1,
    restarts: 1,
    stderr: ['booting', 'no licence'],
  })
  expect(health.waitMs()).toBe(0)
})

test('from the third failure of a check in a row on it is left alone, twice as long each time, to five minutes', () => {
  const { health, clock } = create()
  const waits: number[] = []
  for (let n = 0; n < 14; n++) {
    health.failed('no', true)
    waits.push(health.waitMs())
  }
  expect(waits).toEqual([0, 0, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000, 256_000, 300_000, 300_000, 300_000])
  clock.ms += 299_999
  expect(health.waitMs()).toBe(1)
})

test('what fails with clients, however often, keeps it from nobody', () => {
  const { health } = create()
  for (let n = 0; n < 100; n++) health.crashed('exited (code 3)')
  expect(health.current([])).toMatchObject({ state: 'failing', failures: 100, restarts: 100 })
  expect(health.waitMs()).toBe(0)
})

test('one that has worked is degraded until it has failed three times, and one answer makes up for all', () => {
  const { health } = create()
  const states: string[] = []
  let told = 0
  health.subscribe(() => told++)
  const note = (): number => states.push(health.current([]).state)
  for (const step of ['ok', 'ok', 'no', 'no', 'no', 'no', 'ok', 'no']) {
    if (step === 'ok') health.succeeded()
    else health.failed('no')
    note()
  }
  expect(states).toEqual(['healthy', 'healthy', 'degraded', 'degraded', 'failing', 'failing', 'healthy', 'degraded'])
  expect(told).toBe(7)
  health.succeeded()
  expect(health.current(['old words'])).toEqual({ state: 'healthy', since: '2027-01-01T00:00:00.000Z', failures: 0, restarts: 0 })
  expect(health.waitMs()).toBe(0)
})

test('only the last twenty lines of standard error, and four thousand characters of them, are told', () => {
  const { health } = create()
  health.failed('x'.repeat(5000))
  expect(health.current([]).reason).toHaveLength(1024)
  expect(health.current(Array.from({ length: 50 }, (_, n) => `line ${n}`)).stderr).toEqual(
    Array.from({ length: 20 }, (_, n) => `line ${n + 30}`),
  )
  expect(health.current(['a'.repeat(3000), 'b'.repeat(3000), 'c'.repeat(1000)]).stderr).toEqual(['b'.repeat(3000), 'c'.repeat(1000)])
})
