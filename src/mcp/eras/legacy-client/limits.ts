import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../../../lib/errors.ts'

/** What serving a legacy client from a modern server may take of time. */
export interface LegacyClientLimits {
  /** For the client's answers to the questions of one round. */
  answerMs: number
  /** Questions in one round. */
  maxQuestions: number
  /** Times a request is repeated because the server wants input. */
  maxRounds: number
  /** Before a request is repeated without anything new in it (the servers use it to shed load). */
  paceMs: number
  /** Until a subscription is acknowledged. */
  acknowledgeMs: number
  /** First and longest pause before a broken subscription is opened again; it doubles in between. */
  retryMs: { first: number; longest: number }
  maxSubscribed: number
  /** Of their URIs together. */
  maxSubscribedChars: number
  /** @throws AppError cancelled when `signal` fires. */
  wait(ms: number, signal: AbortSignal): Promise<void>
}

export const LEGACY_CLIENT_LIMITS: LegacyClientLimits = {
  answerMs: 10 * 60_000,
  maxQuestions: 32,
  maxRounds: 10,
  paceMs: 250,
  acknowledgeMs: 30_000,
  retryMs: { first: 1000, longest: 60_000 },
  maxSubscribed: 1000,
  maxSubscribedChars: 256 * 1024,
  async wait(ms, signal) {
    try {
      await sleep(ms, undefined, { signal, ref: false })
    } catch (cause) {
      throw new AppError('cancelled', 'the request was cancelled', { cause })
    }
  },
}
