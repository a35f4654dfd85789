import { createHmac, timingSafeEqual } from 'node:crypto'
import { AppError } from '../../../lib/errors.ts'

export interface Nonces {
  issue(): string
  /** Uses it up. Throws `aborted` for one that is not ours, too old or used before. */
  use(nonce: string): void
}

const LIFETIME_MS = 2 * 60_000
const RANDOM_BYTES = 18
/** Far more joins than that would be refused for their number before. */
const MAX_USED = 100_000

/**
 * Nonces that are kept only once they were used: a stranger who asks for many costs nothing. They end with the process, since the key does.
 * @param now milliseconds since 1970
 */
export function createNonces(random: (bytes: number) => Uint8Array, now: () => number): Nonces {
  const key = Buffer.from(random(32))
  /** Nonce → its end; oldest first. */
  const used = new Map<string, number>()
  const tag = (body: string): string => createHmac('sha256', key).update(body).digest('base64url')
  return {
    issue() {
      const body = `${(now() + LIFETIME_MS).toString(36)}.${Buffer.from(random(RANDOM_BYTES)).toString('base64url')}`
      return `${body}.${tag(body)}`
    },
    use(nonce) {
      const cut = nonce.lastIndexOf('.')
      const body = nonce.slice(0, Math.max(0, cut))
      const [given, wanted] = [Buffer.from(nonce.slice(cut + 1)), Buffer.from(tag(body))]
      const endsAt = Number.parseInt(body, 36)
      const isOurs = given.length === wanted.length && timingSafeEqual(given, wanted)
      if (!isOurs || endsAt <= now() || used.has(nonce)) throw new AppError('aborted', 'the challenge of this join is over: begin again')
      for (const [oldest, at] of used) {
        if (at > now() && used.size < MAX_USED) break
        used.delete(oldest)
      }
      used.set(nonce, endsAt)
    },
  }
}
