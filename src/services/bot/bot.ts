import { AppError, toAppError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import type { BotService } from './bot-service.ts'
import type { BotCluster, OwnIdentity } from './cluster.ts'
import type { HealthBoard } from './health.ts'
import { isSuspicious } from './open-directory.ts'
import { OwnRefusal } from './own-identity.ts'
import type { OwnKeeper } from './own-identity.ts'
import { Schedule } from './schedule.ts'

export interface BotOptions {
  own: OwnKeeper
  services: readonly BotService[]
  /** How often the bot's own identity is renewed. */
  intervalMs: number
  health: HealthBoard
  log: Logger
  now: () => number
  /** In [0, 1). */
  random: () => number
  cluster: Pick<BotCluster, 'announce' | 'reportDestination'>
  oneshot: boolean
  /** Ends early, without an error, when the signal fires. */
  sleep: (ms: number, signal: AbortSignal) => Promise<void>
}

export const SELF = 'self'
/** The clock is looked at this often: timers stand still while a machine sleeps, and the clock may be set. */
const LOOK_MS = 30_000
const ONESHOT_ATTEMPTS = 4

/** Keeps the bot's own identity and that of its services fresh: one that fails does not hold up another. */
export class Bot {
  readonly #options: BotOptions
  readonly #self: Schedule
  readonly #units: readonly { service: BotService; schedule: Schedule }[]
  #own: OwnIdentity | undefined
  #halted = false
  readonly #startedAt: number
  /** Whether the cluster knows that this process runs. */
  #isAnnounced = false
  #woken = new AbortController()

  constructor(options: BotOptions) {
    this.#options = options
    this.#startedAt = options.now()
    this.#self = new Schedule(options.intervalMs, options.random)
    this.#units = options.services.map((service) => ({ service, schedule: new Schedule(service.intervalMs, options.random) }))
  }

  /** Renews everything now, also what has been refused. */
  renewNow(): void {
    this.#halted = false
    this.#self.wake()
    for (const { schedule } of this.#units) schedule.wake()
    this.#woken.abort()
  }

  /**
   * Renews until the signal fires. Throws when the Auth Service refuses the first join: then there is nothing to keep fresh. A refusal
   * later on leaves it running and unhealthy, so that what it offers can say why.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { now, sleep, services } = this.#options
    await this.#checkBeforeJoin()
    for (const service of services) await service.open?.()
    while (!signal.aborted) {
      await this.#pass()
      if (signal.aborted) return
      // Without an identity of its own there is nothing that the services could do.
      const schedules = [this.#self, ...(this.#own ? this.#units.map(({ schedule }) => schedule) : [])]
      const waitMs = this.#halted ? LOOK_MS : Math.min(LOOK_MS, ...schedules.map((schedule) => schedule.waitMs(now())))
      await sleep(waitMs, AbortSignal.any([signal, this.#woken.signal]))
      this.#woken = new AbortController()
    }
  }

  /** Renews once and writes everything; what fails for good is thrown, the other outputs are written all the same. */
  async runOnce(signal: AbortSignal): Promise<void> {
    await this.#checkBeforeJoin()
    const own = await this.#insist(signal, async () => await this.#options.own.renew()).catch((thrown: unknown) => {
      throw thrown instanceof OwnRefusal ? thrown.error : thrown
    })
    this.#tell('the bot has its identity', own)
    await this.#announce(own)
    const failures: AppError[] = []
    for (const { service } of this.#units) {
      const renewal = this.#insist(signal, async () => {
        const { expiresAt } = await service.renew(own)
        this.#options.log.info('renewed', { service: service.name, expires: new Date(expiresAt).toISOString() })
      })
      await renewal.catch(async (thrown: unknown) => {
        const error = toAppError(thrown)
        await this.#reportSuspicion(service, own, error)
        failures.push(
          new AppError(error.code, `${service.name}: ${error.message}`, {
            cause: thrown,
            ...(error.details && { details: error.details }),
          }),
        )
      })
    }
    const [first, ...more] = failures
    if (!first) return
    if (more.length === 0) throw first
    throw new AppError(first.code, failures.map(({ message }) => message).join('\n'), { cause: first })
  }

  /** Of a bot that has joined already, one output that cannot be written does not hold up the others. */
  async #checkBeforeJoin(): Promise<void> {
    if (await this.#options.own.isKnown()) return
    for (const service of this.#options.services) {
      await service.check?.().catch((thrown: unknown) => {
        if (!isPassing(thrown)) throw thrown
      })
    }
  }

  async #insist<T>(signal: AbortSignal, attempt: () => Promise<T>): Promise<T> {
    const schedule = new Schedule(Infinity, this.#options.random)
    for (let left = ONESHOT_ATTEMPTS; ;) {
      try {
        return await attempt()
      } catch (thrown) {
        if (--left === 0 || !isPassing(thrown) || signal.aborted) throw thrown
        schedule.failed(this.#options.now())
        await this.#options.sleep(schedule.waitMs(this.#options.now()), signal)
      }
    }
  }

  async #pass(): Promise<void> {
    const { now } = this.#options
    if (this.#halted && !(await this.#hasNewToken())) return
    if (this.#halted) this.renewNow()
    if (this.#self.isDue(now())) await this.#renewSelf()
    const own = this.#own
    if (!own || this.#halted) return
    const due = this.#units.filter(({ schedule }) => schedule.isDue(now()))
    await Promise.all(due.map((unit) => this.#renewService(unit, own)))
  }

  async #hasNewToken(): Promise<boolean> {
    return await this.#options.own.hasNewToken().catch(() => false)
  }

  async #renewSelf(): Promise<void> {
    const { own, health, log, now } = this.#options
    try {
      const hadOwn = this.#own !== undefined
      this.#own = await own.renew()
      this.#self.succeeded(now(), this.#own.expiresAt)
      health.succeeded(SELF, this.#own.expiresAt)
      this.#tell(hadOwn ? 'renewed the identity of the bot' : 'the bot has its identity', this.#own)
      await this.#announce(this.#own)
    } catch (thrown) {
      if (thrown instanceof OwnRefusal) await this.#refused(thrown)
      else {
        this.#self.failed(now())
        health.failed(SELF, toAppError(thrown).message)
        log.warn('the identity of the bot could not be renewed; trying again', { error: toAppError(thrown) })
      }
    }
  }

  #tell(message: string, { name, botInstanceId, generation, expiresAt }: OwnIdentity): void {
    const expires = new Date(expiresAt).toISOString()
    this.#options.log.info(message, { bot: name, instance: botInstanceId, generation, expires })
  }

  /** For `tctl bots instances`: nothing depends on it. */
  async #announce(own: OwnIdentity): Promise<void> {
    const { cluster, oneshot, log, now } = this.#options
    const uptimeSeconds = Math.max(0, Math.floor((now() - this.#startedAt) / 1000))
    try {
      await cluster.announce(own, { isStartup: !this.#isAnnounced, oneshot, uptimeSeconds })
      this.#isAnnounced = true
    } catch (thrown) {
      log.debug('the cluster could not be told that this bot is there', { error: toAppError(thrown) })
    }
  }

  /** What somebody may have done to this machine is for the audit log of the cluster too, which says how often that is too often. */
  async #reportSuspicion(service: BotService, own: OwnIdentity, error: AppError): Promise<void> {
    if (!isSuspicious(error)) return
    const refused = { service: service.name, destination: service.destination ?? '', reason: error.message }
    await this.#options.cluster.reportDestination(own, refused).catch((thrown: unknown) => {
      this.#options.log.warn('the refusal could not be reported to the cluster', { service: service.name, error: toAppError(thrown) })
    })
  }

  async #refused({ kind, error }: OwnRefusal): Promise<void> {
    const { own, health, log, now } = this.#options
    if (!(await own.isKnown())) throw error
    const advice =
      kind === 'locked'
        ? `${error.message}\nRenewal has stopped. If the credentials of this bot may have been copied, leave the lock, remove the storage of this bot and join anew ` +
          'with a new token; if not, remove the lock (tctl get locks, tctl rm lock/NAME) and send SIGUSR1 or restart tbot'
        : error.message
    this.#halted = kind === 'locked'
    // Most often the clock, or a certificate authority: these may be mended at any moment.
    if (error.code === 'failed_precondition') this.#self.failed(now())
    else this.#self.refused(now())
    health.failed(SELF, advice)
    for (const { service } of this.#units) if (this.#halted) health.failed(service.name, 'the identity of the bot is refused')
    log.error('the Auth Service refuses this bot', { reason: advice, code: error.code, details: error.details })
  }

  async #renewService({ service, schedule }: { service: BotService; schedule: Schedule }, own: OwnIdentity): Promise<void> {
    const { health, log, now } = this.#options
    try {
      const { expiresAt } = await service.renew(own)
      schedule.succeeded(now(), expiresAt)
      health.succeeded(service.name, expiresAt)
      log.info('renewed', { service: service.name, expires: new Date(expiresAt).toISOString() })
    } catch (thrown) {
      const error = toAppError(thrown)
      const wasWell = health.find(service.name)?.status !== 'unhealthy'
      schedule.failed(now())
      health.failed(service.name, error.message)
      log.warn('could not renew; trying again', { service: service.name, error, fix: error.details?.['fix'] })
      await this.#reportSuspicion(service, own, error)
      // A lock, or an identity that was taken away, is seen here first: the next pass says what it is.
      if (wasWell && (error.code === 'permission_denied' || error.code === 'unauthenticated')) this.#self.wake()
    }
  }
}

function isPassing(thrown: unknown): boolean {
  return thrown instanceof AppError && (thrown.code === 'unavailable' || thrown.code === 'deadline_exceeded')
}
