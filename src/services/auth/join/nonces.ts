import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { AppError } from '../../../lib/errors.ts'

export interface Nonces {
  issue(): string
  /** Uses it up. Throws `aborted` for one that is not ours, too old or used before. */
  use(nonce: string): Promise<void>
}

export interface NoncesOptions {
  /** The same in every process of the cluster: what one issues another takes. */
  key: Buffer
  random: (bytes: number) => Uint8Array
  /** Milliseconds since 1970. */
  now: () => number
  /** Whether an id is used for the first time, in whichever process; it is remembered until `expiresAt`, ms since 1970. */
  useOnce: (id: string, expiresAt: number) => Promise<boolean>
}

const LIFETIME_MS = 2 * 60_000
const RANDOM_BYTES = 18

/** Nonces that are kept only once they were used: a stranger who asks for many costs nothing. */
export function createNonces({ key, random, now, useOnce }: NoncesOptions): Nonces {
  const tag = (body: string): string => createHmac('sha256', key).update(`join nonce ${body}`).digest('base64url')
  return {
    issue() {
      const body = `${(now() + LIFETIME_MS).toString(36)}.${Buffer.from(random(RANDOM_BYTES)).toString('base64url')}`
      return `${body}.${tag(body)}`
    },
    async use(nonce) {
      const cut = nonce.lastIndexOf('.')
      const body = nonce.slice(0, Math.max(0, cut))
      const [given, wanted] = [Buffer.from(nonce.slice(cut + 1)), Buffer.from(tag(body))]
      const endsAt = Number.parseInt(body, 36)
      const isOurs = given.length === wanted.length && timingSafeEqual(given, wanted)
      if (!isOurs || endsAt <= now() || !(await useOnce(`nonce:${hashOf(body)}`, endsAt)))
        throw new AppError('aborted', 'the challenge of this join is over: begin again')
    },
  }
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('base64url')
}
