import { expect, test } from 'vitest'
import { AppError } from '../../lib/errors.ts'
import { createMetrics } from '../../lib/metrics.ts'
import type { LogFields } from '../../lib/log.ts'
import { FakeCluster } from './bot.fixture.ts'
import { Bot, SELF } from './bot.ts'
import type { BotService } from './bot-service.ts'
import { HealthBoard } from './health.ts'
import { createMemoryDestination } from './memory-destination.ts'
import { OwnKeeper } from './own-identity.ts'
import { openStorage } from './storage.ts'

const MINUTE = 60_000
const BEGIN = Date.parse('2027-03-01T00:00:00Z')

/** A bot over a clock that jumps from wait to wait; `at` tells what happens at which minute. The last ends it. */
async function world(services: BotService[], at: Record<number, (world: World) => void>) {
  let now = BEGIN
  const end = new AbortController()
  const cluster = FakeCluster.create(() => now, BEGIN)
  const metrics = createMetrics()
  const health = new HealthBoard([SELF, ...services.map(({ name }) => name)], metrics)
  const proof = { method: 'token' as const, token: 'secret-token' }
  const storage = await openStorage(createMemoryDestination(), undefined, { pid: 1, now: () => now })
  const errors: string[] = []
  const log = {
    debug: () => {},
    info: () => {},
    warn: (message: string) => void errors.push(message),
    error: (message: string, fields?: LogFields) => void errors.push(`${message}: ${String(fields?.['reason'])}`),
  }
  const pending = Object.entries(at).map(([minute, event]) => ({ at: BEGIN + Number(minute) * MINUTE, event }))
  const sleep = async (ms: number, signal: AbortSignal): Promise<void> => {
    if (signal.aborted) return
    made.sleeps++
    now += Math.max(1, ms)
    while (pending[0] && now >= pending[0].at) pending.shift()?.event(made)
    if (pending.length === 0) end.abort()
  }
  const own = new OwnKeeper({ storage, cluster, readProof: async () => ({ ...proof }) })
  const bot = new Bot({
    own,
    services,
    cluster,
    oneshot: false,
    intervalMs: 20 * MINUTE,
    health,
    log,
    now: () => now,
    random: () => 0,
    sleep,
  })
  const made: World = {
    sleeps: 0,
    bot,
    cluster,
    health,
    proof,
    errors,
    minute: () => Math.round((now - BEGIN) / MINUTE),
    metrics: () => metrics.render(),
  }
  return Object.assign(made, { run: () => bot.run(end.signal), runOnce: () => bot.runOnce(end.signal) })
}

interface World {
  sleeps: number
  bot: Bot
  cluster: FakeCluster
  health: HealthBoard
  proof: { method: 'token'; token: string }
  errors: string[]
  minute(): number
  metrics(): string
}

function service(name: string, renew: () => Promise<void> | void): BotService {
  return {
    name,
    intervalMs: 20 * MINUTE,
    renew: async () => {
      await renew()
      return { expiresAt: BEGIN + 24 * 60 * MINUTE }
    },
  }
}

test('a first join that is refused ends it', async () => {
  const { cluster, run, runOnce } = await world([], { 10: () => {} })
  cluster.tokens.clear()
  await expect(run()).rejects.toMatchObject({ code: 'permission_denied' })
  await expect(runOnce()).rejects.toMatchObject({ code: 'permission_denied' })
})

test('a destination that cannot be written is told before a token is spent', async () => {
  const out = { ...service('out', () => {}), check: () => Promise.reject(new AppError('failed_precondition', '/x is a symbolic link')) }
  const { cluster, run, runOnce } = await world([out], { 10: () => {} })
  await expect(run()).rejects.toThrow('/x is a symbolic link')
  await expect(runOnce()).rejects.toThrow('/x is a symbolic link')
  expect(cluster.joins).toBe(0)
})

test('a first join without an Auth Service is tried again', async () => {
  const events = { 5: (here: World) => (here.cluster.outage = undefined), 7: () => {} }
  const made = await world([service('out', () => {})], events)
  made.cluster.outage = new AppError('unavailable', 'nothing listens')
  await made.run()
  expect([made.cluster.joins, made.health.isReady()]).toEqual([1, true])
  // A wait of a minute at most, looked at twice: not a loop without rest.
  expect(made.sleeps).toBeLessThan(30)
})

test('one service that fails does not hold up another, and is tried again within a minute each', async () => {
  const seen = { good: 0, bad: 0 }
  const bad = service('bad', () => {
    seen.bad++
    throw new AppError('failed_precondition', 'there is no space left on its disk')
  })
  const { run, health, metrics } = await world([bad, service('good', () => void seen.good++)], { 65: () => {} })
  await run()
  expect(seen.good).toBe(4)
  expect(seen.bad).toBeGreaterThan(60)
  expect([health.find('good')?.status, health.find('bad')]).toEqual([
    'healthy',
    { status: 'unhealthy', reason: 'there is no space left on its disk' },
  ])
  expect(metrics()).toContain('tbot_renewals_total{service="good",result="success"} 4\n')
  expect(metrics()).toContain('tbot_ready{service="bad"} 0\n')
})

test('a destination that somebody may have turned is told to the cluster, a full disk is not', async () => {
  const turned = new AppError('failed_precondition', '/out is a symbolic link', { details: { reason: 'symlink', fix: ['write the path'] } })
  const out = { ...service('out', () => Promise.reject(turned)), destination: 'directory /out' }
  const full = service('full', () => Promise.reject(new AppError('failed_precondition', 'there is no space left on its disk')))
  const { run, cluster } = await world([out, full], { 1: () => {} })
  await run()
  expect(cluster.refused[0]).toEqual({ service: 'out', destination: 'directory /out', reason: '/out is a symbolic link' })
  expect(new Set(cluster.refused.map(({ service: name }) => name))).toEqual(new Set(['out']))
})

test('it says that it is there: at the start, and with each renewal of its identity', async () => {
  const { run, cluster } = await world([], { 45: () => {} })
  await run()
  expect(cluster.announced).toEqual([
    { isStartup: true, oneshot: false, uptimeSeconds: 0 },
    { isStartup: false, oneshot: false, uptimeSeconds: 1200 },
    { isStartup: false, oneshot: false, uptimeSeconds: 2400 },
  ])
})

test('a lock stops all renewals until somebody says otherwise, and it says what happened', async () => {
  const renewals: number[] = []
  const locked = new AppError('permission_denied', 'lock of instance i1: there is a copy of it')
  const events = {
    30: (here: World) => (here.cluster.locked = locked),
    // Halted: minutes later nothing was asked.
    100: (here: World) => {
      expect(here.health.list().map(([, { status }]) => status)).toEqual(['unhealthy', 'unhealthy'])
      expect(here.health.find(SELF)?.reason).toContain('there is a copy of it\nRenewal has stopped.')
      here.cluster.locked = undefined
      here.bot.renewNow()
    },
    101: () => {},
  }
  const { run, health, errors, minute } = await world([service('out', () => void renewals.push(minuteOf()))], events)
  const minuteOf = minute
  await run()
  expect(renewals).toEqual([0, 20, 100])
  expect(errors.filter((line) => line.startsWith('the Auth Service refuses this bot'))).toHaveLength(1)
  expect(health.isReady()).toBe(true)
})

test('another onboarding token means a fresh join, also while it is locked out', async () => {
  const events = {
    30: (here: World) => (here.cluster.locked = new AppError('permission_denied', 'locked')),
    60: (here: World) => {
      here.cluster.locked = undefined
      here.cluster.tokens.add('another-token')
      here.proof.token = 'another-token'
    },
    62: () => {},
  }
  const { run, cluster, health } = await world([], events)
  await run()
  expect([cluster.joins, health.isReady()]).toEqual([2, true])
})

test('an identity that has ended joins again; with a token that is used up it says what to do, and goes on asking', async () => {
  const gone = new AppError('unauthenticated', 'this instance was removed')
  const events = {
    30: (here: World) => (here.cluster.locked = gone),
    41: (here: World) => {
      here.cluster.locked = undefined
      here.cluster.tokens.add('secret-token')
    },
    90: () => {},
  }
  const { run, errors, health } = await world([], events)
  await run()
  expect(errors[0]).toContain('the identity of this bot cannot be renewed (this instance was removed), and it could not join again')
  expect(health.isReady()).toBe(true)
})

test('oneshot writes what can be written, and fails with what cannot', async () => {
  const written: string[] = []
  const bad = service('bad', () => {
    throw new AppError('permission_denied', 'the bot does not have the role "x"')
  })
  const { runOnce } = await world([bad, service('good', () => void written.push('good'))], { 10: () => {} })
  await expect(runOnce()).rejects.toMatchObject({ code: 'permission_denied', message: 'bad: the bot does not have the role "x"' })
  expect(written).toEqual(['good'])
})
