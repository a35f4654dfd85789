import { AppError } from '../../../lib/errors.ts'
import { fieldsOf } from '../../message.ts'
import { notValid, type Sealer } from '../../sealed.ts'
import { renderInputRequired } from './answers.ts'
import type { Call, CallKeeper } from './call.ts'

/** What a state says when it comes back. */
export type Returned =
  /** The call that waits; nobody else gets it. */
  | { call: Call }
  /** Nothing waits: the request has to be made anew, after so many rounds. */
  | { rounds: number }

/** Calls whose clients are asked something. */
export interface Parked {
  askFor: CallKeeper['askFor']
  /** @throws AppError invalid_argument (-32602) for a state that is not of this owner, server and request, was used, or is too old. */
  take(state: unknown, digest: string): Returned
  /** Whether any call waits. */
  readonly isWaiting: boolean
  /** Ends what has waited for too long. */
  sweep(): void
  close(): void
}

export interface ParkedOptions {
  sealer: Sealer
  /** Who the states are for, and which server they are about. */
  owner: string
  now: () => number
  random: (bytes: number) => Buffer
}

const MAX_PARKED = 32
const PARKED_MS = 10 * 60_000

export function createParked({ sealer, owner, now, random }: ParkedOptions): Parked {
  const calls = new Map<string, { call: Call; expiresAt: number }>()
  const bindingOf = (digest: string): string => JSON.stringify([owner, digest])

  return {
    askFor({ request }, inputs, rounds, facts, parks) {
      const expiresAt = now() + PARKED_MS
      const ticket = random(16).toString('base64url')
      if (parks) {
        if (calls.size >= MAX_PARKED)
          throw new AppError('resource_exhausted', `${MAX_PARKED} calls wait for your answers already: answer some of them first`)
        calls.set(ticket, { call: parks, expiresAt })
      }
      const state = sealer.seal(parks ? { ticket } : { rounds }, bindingOf(request.digest), expiresAt)
      return renderInputRequired(request.id, inputs, state, facts)
    },
    take(state, digest) {
      if (typeof state !== 'string') throw notValid()
      const { ticket, rounds } = fieldsOf(sealer.open(state, bindingOf(digest), now())) ?? {}
      if (typeof rounds === 'number') return { rounds }
      const kept = typeof ticket === 'string' ? calls.get(ticket) : undefined
      if (typeof ticket !== 'string' || !kept || kept.expiresAt <= now()) throw notValid()
      calls.delete(ticket)
      return { call: kept.call }
    },
    get isWaiting() {
      return calls.size > 0
    },
    sweep() {
      for (const [ticket, { call, expiresAt }] of calls) {
        if (expiresAt > now()) continue
        calls.delete(ticket)
        call.abandon()
      }
    },
    close() {
      for (const { call } of calls.values()) call.abandon()
      calls.clear()
    },
  }
}
