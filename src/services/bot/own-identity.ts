import { createHash } from 'node:crypto'
import { generateKeyPair, parsePrivateKey, renderPrivateKey } from '../../ca/keys.ts'
import { AppError, toAppError } from '../../lib/errors.ts'
import type { Code } from '../../lib/errors.ts'
import type { BotCluster, OwnIdentity } from './cluster.ts'
import type { ReadSource } from '../../client/join-source.ts'
import type { BotState, Storage } from './storage.ts'

/** Longer than any credential it makes: so the bot comes through an outage of the Auth Service without a new token. */
const OWN_TTL_SECONDS = 24 * 3600

/** These may be over the next time. */
const PASSING: ReadonlySet<Code> = new Set(['unavailable', 'deadline_exceeded', 'resource_exhausted', 'aborted', 'cancelled', 'internal'])

export type Refusal = 'locked' | 'refused'

/** What the Auth Service said no to; `kind` is `locked` when asking again can only do harm. */
export class OwnRefusal extends Error {
  readonly kind: Refusal
  readonly error: AppError

  constructor(kind: Refusal, error: AppError) {
    super(error.message, { cause: error })
    this.kind = kind
    this.error = error
  }
}

export interface OwnOptions {
  storage: Storage
  cluster: Pick<BotCluster, 'join' | 'renew'>
  readProof: () => Promise<ReadSource>
}

/**
 * The bot's own identity: joins when there is none, when the onboarding token is another one, and when it cannot be renewed; else renews. An
 * answer is stored before it is used, and the Auth Service lets a renewal be repeated until then: so a process killed between any two steps goes on where it was.
 */
export class OwnKeeper {
  readonly #options: OwnOptions

  constructor(options: OwnOptions) {
    this.#options = options
  }

  /** Throws an `OwnRefusal` when the Auth Service refuses, whatever is in the way otherwise. */
  async renew(): Promise<OwnIdentity> {
    const state = await this.#options.storage.load()
    const proof = await this.#findProof(state)
    const isKnown = state.own !== undefined && (proof === undefined || state.token_hash === hashOf(proof.token))
    if (!isKnown || !state.own?.renewable) return await this.#join(isKnown ? state : { bound_key: state.bound_key }, proof)
    try {
      return await this.#renewWith(state, state.own)
    } catch (thrown) {
      // Whether it has ended is for the Auth Service to say: our clock may be wrong.
      if (!(thrown instanceof OwnRefusal) || thrown.error.code !== 'unauthenticated') throw thrown
      return await this.#join(state, proof).catch((again: unknown) => {
        throw again instanceof OwnRefusal ? ended(again, thrown.error, state.own) : again
      })
    }
  }

  /** Whether this bot has ever joined. */
  async isKnown(): Promise<boolean> {
    return (await this.#options.storage.load()).own !== undefined
  }

  /** Whether the onboarding token is another one than the last join used. */
  async hasNewToken(): Promise<boolean> {
    const state = await this.#options.storage.load()
    const proof = await this.#findProof(state)
    return proof !== undefined && state.token_hash !== hashOf(proof.token)
  }

  /** A file that is gone after the first join is no harm as long as the identity can be renewed. */
  async #findProof(state: BotState): Promise<ReadSource | undefined> {
    try {
      return await this.#options.readProof()
    } catch (thrown) {
      if (state.own?.renewable) return undefined
      throw thrown
    }
  }

  async #renewWith(state: BotState, own: OwnIdentity): Promise<OwnIdentity> {
    return await this.#keep(state, await ask('locked', () => this.#options.cluster.renew(own, { ttlSeconds: OWN_TTL_SECONDS })))
  }

  async #join(known: BotState, proof: ReadSource | undefined): Promise<OwnIdentity> {
    const { storage, cluster } = this.#options
    if (!proof) throw new AppError('failed_precondition', 'the onboarding token cannot be read, and the identity of this bot has ended')
    const boundKey = known.bound_key ?? (await newKey())
    const state = { ...known, bound_key: boundKey }
    // Before it is sent: the Auth Service will know this bot by it.
    if (proof.method === 'bound_keypair' && known.bound_key === undefined) await storage.save(state)
    const wanted = { ttlSeconds: OWN_TTL_SECONDS, boundKey: parsePrivateKey(boundKey), joinState: known.own?.joinState }
    const joined = await ask('refused', () => cluster.join(proof, wanted))
    return await this.#keep({ ...state, token_hash: hashOf(proof.token) }, joined)
  }

  async #keep(state: BotState, own: OwnIdentity): Promise<OwnIdentity> {
    const { hostAuthorities, userAuthorities } = own
    const joinState = own.joinState ?? state.own?.joinState
    const kept = { ...own, hostAuthorities: [...hostAuthorities], userAuthorities: [...userAuthorities], joinState }
    await this.#options.storage.save({ ...state, own: kept })
    return own
  }
}

/** The key (PEM) that join method bound_keypair, and an OAuth client, know this bot by; it is made when there is none. */
export async function findBoundKey(storage: Storage): Promise<string> {
  const state = await storage.load()
  const key = state.bound_key ?? (await newKey())
  if (state.bound_key === undefined) await storage.save({ ...state, bound_key: key })
  return key
}

async function newKey(): Promise<string> {
  return renderPrivateKey((await generateKeyPair()).privateKey)
}

function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('hex')
}

/** What the Auth Service refuses, told from what is wrong on this machine or on the way. `denied` is what a denial means here. */
async function ask<T>(denied: Refusal, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (thrown) {
    const error = toAppError(thrown)
    if (PASSING.has(error.code)) throw thrown
    throw new OwnRefusal(error.code === 'permission_denied' ? denied : 'refused', error)
  }
}

function ended({ kind, error }: OwnRefusal, before: AppError, own: OwnIdentity | undefined): OwnRefusal {
  const message =
    `the identity of this bot cannot be renewed (${before.message}), and it could not join again: ${error.message}\n` +
    `Make a new token (tctl bots instances add ${own?.name.replace(/^bot-/, '') ?? 'NAME'}) and put it into onboarding.token`
  return new OwnRefusal(kind, new AppError(error.code, message, { cause: error, ...(error.details && { details: error.details }) }))
}
