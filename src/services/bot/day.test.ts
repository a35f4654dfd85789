import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { parseIdentityFile } from '../../ca/identity-file.ts'
import { AppError } from '../../lib/errors.ts'
import { silentLogger } from '../../lib/log.ts'
import { directoryDependencies, FakeCluster, scratch } from './bot.fixture.ts'
import { Bot, SELF } from './bot.ts'
import { createDirectoryDestination } from './directory-destination.ts'
import type { Destination, DirectoryConfig } from './destination.ts'
import { HealthBoard } from './health.ts'
import { createIdentityService } from './identity-service.ts'
import { createMemoryDestination } from './memory-destination.ts'
import { OwnKeeper } from './own-identity.ts'
import { openStorage } from './storage.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const BEGIN = Date.parse('2027-03-01T00:00:00Z')

let home: Awaited<ReturnType<typeof scratch>>
beforeEach(async () => {
  home = await scratch()
})
afterEach(async () => await home.dispose())

/** A clock that runs as fast as the bot can follow; `at` are the things that happen to it, by minutes since the beginning. */
class FastDay {
  /** What the machine believes; the cluster's own clock is `true`. */
  skew = 0
  trueNow = BEGIN
  readonly end = new AbortController()
  readonly #events: [number, () => void | Promise<void>][]
  readonly #onTick: () => Promise<void>
  readonly #hours: number

  constructor(events: [number, () => void | Promise<void>][], onTick: () => Promise<void>, hours = 24) {
    this.#events = events.toSorted(([a], [b]) => a - b)
    this.#onTick = onTick
    this.#hours = hours
  }

  now = (): number => this.trueNow + this.skew

  sleep = async (ms: number): Promise<void> => {
    this.trueNow += Math.max(1, ms)
    while (this.#events[0] && this.trueNow - BEGIN >= this.#events[0][0] * MINUTE) await this.#events.shift()?.[1]()
    await this.#onTick()
    if (this.trueNow - BEGIN >= this.#hours * HOUR) this.end.abort()
    await new Promise((fulfil) => setImmediate(fulfil))
  }
}

test('a day of outages, a full disk, clock jumps and kills: a reader never sees an invalid identity', async () => {
  const path = join(home.path, 'machine-id')
  const reads = { count: 0, keys: new Set<string>() }
  const cluster = FakeCluster.create(() => day.trueNow, BEGIN)
  let [diskFull, killAt] = [false, '']
  let killed = Promise.withResolvers<void>()
  const outage = (on: boolean) => () => {
    cluster.outage = on ? new AppError('unavailable', 'nothing listens') : undefined
  }
  const kill = (step: string) => () => void (killAt = step)
  const day = new FastDay(
    [
      [70, outage(true)],
      [105, outage(false)],
      [180, () => void (diskFull = true)],
      [215, () => void (diskFull = false)],
      [300, kill('renewed')],
      [330, kill('stored')],
      [390, kill('issued')],
      [450, kill('written')],
      // Back by six hours, and forward by ten minutes: daylight saving by hand, a battery that ran out.
      [600, () => void (day.skew = -6 * HOUR)],
      [700, () => void (day.skew = 10 * MINUTE)],
      [800, () => void (day.skew = 48 * HOUR)],
      [810, () => void (day.skew = 0)],
      [900, outage(true)],
      [935, outage(false)],
      [1200, kill('renewed')],
    ],
    () => readAll(path, reads, day),
  )
  const storageDestination = createMemoryDestination()
  const files: Destination = createDirectoryDestination(directoryOf(path), directoryDependencies(day.now))
  /** A process that is killed does nothing from then on. */
  const dieAt = async (step: string): Promise<void> => {
    if (killAt !== step) return
    killAt = ''
    killed.resolve()
    await new Promise(() => {})
  }
  const health = new HealthBoard([SELF, 'identity'])

  async function life(): Promise<void> {
    const storage = await openStorage(storageDestination, undefined, { pid: 1, now: day.now })
    const own = new OwnKeeper({
      storage: {
        ...storage,
        save: async (state) => {
          await storage.save(state)
          await dieAt('stored')
        },
      },
      cluster: {
        join: (proof, wanted) => cluster.join(proof, wanted),
        renew: async (before, wanted) => {
          const renewed = await cluster.renew(before, wanted)
          await dieAt('renewed')
          return renewed
        },
      },
      readProof: async () => ({ method: 'token', token: 'secret-token' }),
    })
    const destination: Destination = {
      ...files,
      write: async (written) => {
        await dieAt('issued')
        if (diskFull) throw new AppError('failed_precondition', 'there is no space left on its disk')
        await files.write(written)
        await dieAt('written')
      },
    }
    const service = createIdentityService(
      {
        type: 'identity',
        name: 'identity',
        destination: directoryOf(path),
        allow_reissue: true,
        ttlMs: HOUR,
        intervalMs: 20 * MINUTE,
      },
      { cluster, destination },
    )
    const bot = new Bot({
      own,
      services: [service],
      cluster,
      oneshot: false,
      intervalMs: 20 * MINUTE,
      health,
      log: silentLogger,
      now: day.now,
      random: () => 0.5,
      sleep: day.sleep,
    })
    await bot.run(day.end.signal)
  }

  let lives = 0
  while (!day.end.signal.aborted) {
    killed = Promise.withResolvers<void>()
    lives++
    await Promise.race([life(), killed.promise])
  }
  expect(lives).toBe(6)
  expect(cluster.joins).toBe(1)
  expect(cluster.locked).toBeUndefined()
  expect(reads.count).toBeGreaterThan(2000)
  expect(reads.keys.size).toBe(1)
  expect(cluster.outputs).toBeGreaterThan(72)
  expect(health.isReady()).toBe(true)
}, 60_000)

test('an outage of three hours ends the output, not the bot: it goes on without a new token', async () => {
  const path = join(home.path, 'machine-id')
  const cluster = FakeCluster.create(() => day.trueNow, BEGIN)
  const health = new HealthBoard([SELF, 'identity'])
  const seen: boolean[] = []
  const day = new FastDay(
    [
      [30, () => void (cluster.outage = new AppError('unavailable', 'nothing listens'))],
      [200, () => void seen.push(health.isReady())],
      [210, () => (cluster.outage = undefined)],
      [213, () => void seen.push(health.isReady())],
    ],
    async () => {},
    4,
  )
  const storage = await openStorage(createMemoryDestination(), undefined, { pid: 1, now: day.now })
  const readProof = async () => ({ method: 'token' as const, token: 'secret-token' })
  const own = new OwnKeeper({ storage, cluster, readProof })
  const service = createIdentityService(
    { type: 'identity', name: 'identity', destination: directoryOf(path), allow_reissue: true, ttlMs: HOUR, intervalMs: 20 * MINUTE },
    { cluster, destination: createDirectoryDestination(directoryOf(path), directoryDependencies(day.now)) },
  )
  const options = {
    cluster,
    oneshot: false,
    intervalMs: 20 * MINUTE,
    health,
    log: silentLogger,
    now: day.now,
    random: () => 0.5,
    sleep: day.sleep,
  }
  await new Bot({ own, services: [service], ...options }).run(day.end.signal)
  expect(seen).toEqual([false, true])
  expect(cluster.joins).toBe(1)
})

function directoryOf(path: string): DirectoryConfig {
  return { type: 'directory', path, symlinks: 'secure', acls: 'off', readers: [] }
}

/** As a client does that loops over the files: each is whole, valid now, and fits the others. */
async function readAll(path: string, reads: { count: number; keys: Set<string> }, day: FastDay): Promise<void> {
  const text = await readFile(join(path, 'identity'), 'utf8').catch(() => undefined)
  if (text === undefined) return
  const { certificatePem } = parseIdentityFile(text)
  const { validToDate, validFromDate } = new X509Certificate(certificatePem)
  expect(validToDate.getTime()).toBeGreaterThan(day.trueNow)
  expect(validFromDate.getTime()).toBeLessThanOrEqual(day.trueNow)
  const key = await readFile(join(path, 'key'), 'utf8')
  const certificate = await readFile(join(path, 'tlscert'), 'utf8')
  parseIdentityFile(`${key}${certificate}`)
  reads.keys.add(key)
  reads.count++
}
