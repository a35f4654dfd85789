import { toAppError } from '../../lib/errors.ts'
import type { Timers } from '../../lib/timers.ts'
import { type Fields, fieldsOf } from '../message.ts'
import { ask, type Channel, isRefusal } from './channel.ts'
import type { AggregateLimits } from './limits.ts'
import { within } from './waiting.ts'
import type { Member } from './view.ts'

/** Kinds of things that a server said it has; undefined when it said nothing of what it has, and may have anything. */
export type Offers = ReadonlySet<string> | undefined

interface Known {
  owner: string
  offers: Promise<Offers>
  askedAt: number
}

/** The capabilities that matter here; nothing keeps what else a server says. */
const KINDS = ['tools', 'prompts', 'resources', 'logging', 'tasks', 'extensions']
/** A server that is deployed anew may have more than before, and need not tell. */
const RECENT_MS = 60_000
const MAX_KEPT = 5000
const MAX_BYTES = 1024 * 1024

/** @param capabilities of the answer to `initialize` or `server/discover`. */
export function offersOf(capabilities: Fields | undefined): Offers {
  if (!capabilities || Object.keys(capabilities).length === 0) return undefined
  return new Set(KINDS.filter((kind) => capabilities[kind] !== undefined))
}

/** What servers say they have (`server/discover` of 2026-07-28), for each owner by itself, so that nobody is asked for what it has not. */
export class Offered {
  readonly #limits: AggregateLimits
  readonly #timers: Timers
  readonly #now: () => number
  readonly #known = new Map<string, Known>()

  constructor(limits: AggregateLimits, timers: Timers, now: () => number) {
    this.#limits = limits
    this.#timers = timers
    this.#now = now
  }

  /** @throws AppError when the member refuses the caller, or does not answer. */
  async lacks(channel: Channel, member: Member, capability: string): Promise<boolean> {
    const offers = await this.#offersOf(channel, member)
    return offers?.has(capability) === false
  }

  /** Of one owner, of one of its servers, or of all: what was said may be otherwise now. */
  forget(owner?: string, server?: string): void {
    if (owner !== undefined && server !== undefined) this.#known.delete(keyOf(owner, server))
    else for (const [key, known] of this.#known) if (owner === undefined || known.owner === owner) this.#known.delete(key)
  }

  sweep(): void {
    for (const [key, { askedAt }] of this.#known) {
      if (this.#now() - askedAt < RECENT_MS) return
      this.#known.delete(key)
    }
  }

  /** All who ask at once share one question, which goes on without any of them. */
  #offersOf(channel: Channel, member: Member): Promise<Offers> {
    const { owner } = channel
    const key = keyOf(owner, member.name)
    const known = this.#known.get(key)
    if (known && this.#now() - known.askedAt < RECENT_MS) return known.offers
    const offers = within(this.#timers, this.#limits.lateMs, undefined, (signal) => discover(channel, member, signal))
    const asked = { owner, offers, askedAt: this.#now() }
    this.#known.delete(key)
    this.#known.set(key, asked)
    const [oldest] = this.#known.keys()
    if (this.#known.size > MAX_KEPT && oldest !== undefined) this.#known.delete(oldest)
    offers.catch(() => {
      if (this.#known.get(key) === asked) this.#known.delete(key)
    })
    return offers
  }
}

async function discover(channel: Channel, member: Member, signal: AbortSignal): Promise<Offers> {
  try {
    const { result } = await ask(channel, member, 'server/discover', {}, { signal, maxBytes: MAX_BYTES })
    return offersOf(fieldsOf(result['capabilities']))
  } catch (thrown) {
    // What answers, though it does not say, may have anything; what gives no answer has no lists to give either.
    const error = toAppError(thrown)
    if (error.details?.['status'] === undefined || isRefusal(error)) throw error
    return undefined
  }
}

function keyOf(owner: string, server: string): string {
  return JSON.stringify([owner, server])
}
