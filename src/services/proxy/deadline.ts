import { AppError } from '../../lib/errors.ts'
import type { Timers } from '../../lib/timers.ts'

const ANSWER_MS = 5000

/** The outcome of a question to the Auth Service. @throws AppError unavailable when it has none after five seconds; the question itself goes on. */
export async function answeredSoon<T>(timers: Timers, asked: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const cancel = timers.after(ANSWER_MS, () =>
    reject(new AppError('unavailable', `the Auth Service did not answer within ${ANSWER_MS / 1000} s: try again`)),
  )
  try {
    return await Promise.race([asked, promise])
  } finally {
    cancel()
  }
}
