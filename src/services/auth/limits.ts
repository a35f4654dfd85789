import { createHash } from 'node:crypto'
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'
import { AppError } from '../../lib/errors.ts'
import { renderDuration } from '../../lib/duration.ts'
import type { Database } from '../../storage/database.ts'
import { countAttempt, forgetAttempts, uncountAttempt } from '../../storage/shared-marks.ts'

export interface LimitOptions {
  /** Failed sign-ins of one user from one address within a quarter of an hour. */
  failuresPerUser: number
  /** Failed sign-ins from one address within a quarter of an hour. */
  failuresPerAddress: number
  /** Wrong one-time codes of one user, from wherever, within a quarter of an hour: who gives one had the password. */
  wrongCodes: number
  /** Refused joins from one address within a quarter of an hour. */
  failedJoins: number
  /** Calls of public routes from one address within a minute. */
  publicCallsPerMinute: number
  /** Calls of the authorization server from one address within a minute: clients of many people may share one. */
  oauthCallsPerMinute: number
  /** MCP clients that register themselves from one address within an hour. */
  registrationsPerHour: number
  /** Password hashes computed at once; each takes 19 MiB. */
  concurrentHashes: number
}

export const DEFAULT_LIMITS: LimitOptions = {
  failuresPerUser: 10,
  failuresPerAddress: 100,
  wrongCodes: 30,
  failedJoins: 60,
  publicCallsPerMinute: 300,
  oauthCallsPerMinute: 1500,
  registrationsPerHour: 60,
  concurrentHashes: 4,
}

export interface Limits {
  /** Counts a sign-in before its outcome is known, so that parallel tries cannot slip through. Throws `resource_exhausted` with the time to wait. */
  startLogin(user: string, address: string): Promise<void>
  /** Takes this one count back: it was no wrong guess, but not a sign-in either. */
  undoLogin(user: string, address: string): Promise<void>
  /** Forgets the failures of this user from this address: it was the right person. */
  finishLogin(user: string, address: string): Promise<void>
  /** Counts a one-time code before it is looked at; `finishCode` when it was right. */
  startCode(user: string): Promise<void>
  finishCode(user: string): Promise<void>
  /** The same for machines that join. */
  startJoin(address: string): Promise<void>
  undoJoin(address: string): Promise<void>
  countPublicCall(address: string): Promise<void>
  countOAuthCall(address: string): Promise<void>
  /** Throws `resource_exhausted` with the time to wait. */
  countRegistration(address: string): Promise<void>
  /** Runs costly work, a few at once; refuses when too many wait. */
  hash<T>(work: () => Promise<T>): Promise<T>
}

const WINDOW_MS = 15 * 60_000
const MAX_WAITING = 64

/** Counts that all processes of the cluster share: whoever guesses has no more tries for there being more of them. */
export interface Attempts {
  /** One more within a quarter of an hour, which the first began: how many, and how long until they are forgotten. */
  count(key: string): Promise<{ count: number; waitMs: number }>
  uncount(key: string): Promise<void>
  forget(key: string): Promise<void>
}

export function openAttempts(db: Database, now: () => number): Attempts {
  return {
    async count(key) {
      const { count, expiresAt } = await countAttempt(db, key, WINDOW_MS, now())
      return { count, waitMs: expiresAt - now() }
    },
    uncount: (key) => uncountAttempt(db, key),
    forget: (key) => forgetAttempts(db, key),
  }
}

/** What somebody guesses is counted for the whole cluster, what somebody only does too often in each process for itself. */
export function createLimits(options: LimitOptions, attempts: Attempts): Limits {
  const perUser = guesses(attempts, 'user', options.failuresPerUser, 'too many failed sign-ins')
  const perAddress = guesses(attempts, 'address', options.failuresPerAddress, 'too many failed sign-ins from this address')
  const codes = guesses(attempts, 'code', options.wrongCodes, 'too many wrong one-time codes')
  const joins = guesses(attempts, 'join', options.failedJoins, 'too many refused joins from this address')
  const publicCalls = new RateLimiterMemory({ keyPrefix: 'public', points: options.publicCallsPerMinute, duration: 60 })
  const oauthCalls = new RateLimiterMemory({ keyPrefix: 'oauth', points: options.oauthCallsPerMinute, duration: 60 })
  const registrations = new RateLimiterMemory({ keyPrefix: 'registration', points: options.registrationsPerHour, duration: 3600 })
  return {
    async startLogin(user, address) {
      await perAddress.count(networkOf(address))
      await perUser.count(pairOf(user, address))
    },
    async undoLogin(user, address) {
      await perUser.uncount(pairOf(user, address))
      await perAddress.uncount(networkOf(address))
    },
    async finishLogin(user, address) {
      await perUser.forget(pairOf(user, address))
      await perAddress.uncount(networkOf(address))
    },
    startCode: (user) => codes.count(user),
    finishCode: (user) => codes.forget(user),
    startJoin: (address) => joins.count(networkOf(address)),
    undoJoin: (address) => joins.uncount(networkOf(address)),
    countPublicCall: (address) => consume(publicCalls, networkOf(address), 'too many requests from this address'),
    countOAuthCall: (address) => consume(oauthCalls, networkOf(address), 'too many requests from this address'),
    countRegistration: (address) => consume(registrations, networkOf(address), 'too many clients were registered from this address'),
    hash: createTurnstile(options.concurrentHashes),
  }
}

/** Guesses of one sort; `count` throws once there are more than `points` of them within a quarter of an hour. */
function guesses(attempts: Attempts, sort: string, points: number, message: string) {
  // Of a fixed length, whatever a user calls itself.
  const nameOf = (key: string): string => `${sort}:${createHash('sha256').update(key).digest('base64url')}`
  return {
    async count(key: string): Promise<void> {
      const { count, waitMs } = await attempts.count(nameOf(key))
      if (count > points) throw tooMany(message, waitMs)
    },
    uncount: (key: string): Promise<void> => attempts.uncount(nameOf(key)),
    forget: (key: string): Promise<void> => attempts.forget(nameOf(key)),
  }
}

async function consume(limiter: RateLimiterMemory, key: string, message: string): Promise<void> {
  try {
    await limiter.consume(key)
  } catch (thrown) {
    if (!(thrown instanceof RateLimiterRes)) throw thrown
    throw tooMany(message, thrown.msBeforeNext)
  }
}

function tooMany(message: string, ms: number): AppError {
  const waitMs = Math.max(1000, ms)
  return new AppError('resource_exhausted', `${message}: try again in ${renderDuration(waitMs)}`, {
    details: { retry_after_seconds: Math.ceil(waitMs / 1000) },
  })
}

function pairOf(user: string, address: string): string {
  return JSON.stringify([user, networkOf(address)])
}

/** What an address counts as: whoever has one IPv6 address has a whole /64 of them. */
export function networkOf(address: string): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/, '')
  if (!plain.includes(':')) return plain
  const [head = '', tail] = plain.split('::')
  const groups = head === '' ? [] : head.split(':')
  const rest = tail === undefined || tail === '' ? [] : tail.split(':')
  if (tail !== undefined) groups.push(...Array.from({ length: Math.max(0, 8 - groups.length - rest.length) }, () => '0'), ...rest)
  return `${groups.slice(0, 4).join(':')}::/64`
}

/** Of what somebody who has proved who it is begins: not to be pushed out by strangers at the same address. */
export function provenFlow(user: string): { address: string; user: string } {
  return { address: `user:${user}`, user }
}

function createTurnstile(places: number): <T>(work: () => Promise<T>) => Promise<T> {
  let free = places
  const waiting: (() => void)[] = []
  return async (work) => {
    if (free > 0) free -= 1
    else if (waiting.length >= MAX_WAITING)
      throw new AppError('resource_exhausted', 'too many people sign in at once: try again in a few seconds')
    else await new Promise<void>((resolve) => waiting.push(resolve))
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next) next()
      else free += 1
    }
  }
}
