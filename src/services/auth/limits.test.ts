import { expect, test } from 'vitest'
import { openSqlite } from '../../storage/sqlite.ts'
import { createLimits as createShared, DEFAULT_LIMITS, type LimitOptions, openAttempts } from './limits.ts'

const attempts = () => openAttempts(openSqlite(':memory:'), () => 1_000_000)
const createLimits = (options: LimitOptions) => createShared(options, attempts())
const refused = { code: 'resource_exhausted' }

test('failures are counted by user and network; a success forgets those of that user', async () => {
  const limits = createLimits({ ...DEFAULT_LIMITS, failuresPerUser: 2, failuresPerAddress: 100 })
  await limits.startLogin('ana', '2001:db8::1')
  await limits.startLogin('ana', '2001:db8::2:0:0:9')
  await expect(limits.startLogin('ana', '2001:db8:0:0:ffff::3')).rejects.toMatchObject(refused)
  await limits.startLogin('ana', '2001:db8:0:1::3')
  await limits.startLogin('bob', '2001:db8::1')
  await limits.finishLogin('ana', '2001:db8::1')
  await limits.startLogin('ana', '2001:db8::1')
})

test('an IPv4 address is one, however it is written', async () => {
  const limits = createLimits({ ...DEFAULT_LIMITS, publicCallsPerMinute: 1 })
  await limits.countPublicCall('192.0.2.1')
  await limits.countPublicCall('192.0.2.2')
  await expect(limits.countPublicCall('::ffff:192.0.2.1')).rejects.toMatchObject(refused)
})

test('one address cannot try many users; what was no guess is not counted', async () => {
  const limits = createLimits({ ...DEFAULT_LIMITS, failuresPerAddress: 2 })
  await limits.startLogin('a', '192.0.2.1')
  await limits.startLogin('b', '192.0.2.1')
  await expect(limits.startLogin('c', '192.0.2.1')).rejects.toMatchObject(refused)
  const patient = createLimits({ ...DEFAULT_LIMITS, failuresPerUser: 1 })
  for (let i = 0; i < 3; i += 1) {
    await patient.startLogin('a', '192.0.2.1')
    await patient.undoLogin('a', '192.0.2.1')
  }
  await patient.startLogin('a', '192.0.2.1')
  await expect(patient.startLogin('a', '192.0.2.1')).rejects.toMatchObject(refused)
})

test('costly work runs a few at once, and the queue is bounded', async () => {
  const limits = createLimits({ ...DEFAULT_LIMITS, concurrentHashes: 2 })
  const gate = Promise.withResolvers<void>()
  let running = 0
  const all = Array.from({ length: 66 }, () =>
    limits.hash(async () => {
      running += 1
      await gate.promise
    }),
  )
  expect(running).toBe(2)
  await expect(limits.hash(async () => {})).rejects.toMatchObject(refused)
  gate.resolve()
  await Promise.all(all)
  expect(running).toBe(66)
  await limits.hash(async () => {})
})

test('whoever guesses has no more tries for there being two replicas, until the window is over', async () => {
  const clock = { now: 1_000_000 }
  const shared = openAttempts(openSqlite(':memory:'), () => clock.now)
  const [a, b] = [
    createShared({ ...DEFAULT_LIMITS, failuresPerUser: 2 }, shared),
    createShared({ ...DEFAULT_LIMITS, failuresPerUser: 2 }, shared),
  ]
  await a.startLogin('ana', '192.0.2.1')
  await b.startLogin('ana', '192.0.2.1')
  await expect(a.startLogin('ana', '192.0.2.1')).rejects.toMatchObject({ ...refused, details: { retry_after_seconds: 900 } })
  await expect(b.startLogin('ana', '192.0.2.1')).rejects.toMatchObject(refused)
  clock.now += 900_000
  await b.startLogin('ana', '192.0.2.1')
})

test('wrong codes of one user are counted wherever they come from, until one is right', async () => {
  const limits = createLimits({ ...DEFAULT_LIMITS, wrongCodes: 2 })
  await limits.startCode('ana')
  await limits.startCode('ana')
  await expect(limits.startCode('ana')).rejects.toMatchObject(refused)
  await limits.startCode('bob')
  await limits.finishCode('bob')
  await limits.startCode('bob')
})
