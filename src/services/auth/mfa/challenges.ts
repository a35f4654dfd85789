import { createHash, timingSafeEqual } from 'node:crypto'
import { z } from 'zod'
import { consumeLoginFlow, createLoginFlow } from '../../../storage/login-flows.ts'
import type { AuthContext } from '../context.ts'
import { networkOf, provenFlow } from '../limits.ts'
import { PasskeyRefusal } from './refusal.ts'

/** What a passkey is asked to sign for. */
const purposeSchema = z.discriminatedUnion('type', [
  /** Anybody, by a passkey alone. */
  z.object({ type: z.literal('sign-in') }),
  /** Somebody whose password was right. */
  z.object({ type: z.literal('second-factor'), user: z.string() }),
  /** A new one, for this user; `alone` when it is to sign in without a password. */
  z.object({ type: z.literal('register'), user: z.string(), alone: z.boolean() }),
])
export type ChallengePurpose = z.infer<typeof purposeSchema>

const challengeSchema = z.object({ purpose: purposeSchema, flow: z.string(), browser: z.string(), rp_id: z.string() })
export type Challenge = z.infer<typeof challengeSchema>

const CHALLENGE_MS = 5 * 60_000
const CHALLENGE_BYTES = 32

/** Where a challenge is good: on one page of one browser, which its cookie tells. */
export interface Place {
  flow: string
  browser: string
}

/** A fresh challenge; any process of the cluster takes it, once. Throws `resource_exhausted` when too many are under way from this address. */
export async function beginChallenge(
  context: AuthContext,
  purpose: ChallengePurpose,
  { flow, browser, rpId, remoteAddress }: Place & { rpId: string; remoteAddress: string },
): Promise<Uint8Array<ArrayBuffer>> {
  const challenge = Uint8Array.from(context.random(CHALLENGE_BYTES))
  const now = context.now()
  const document: Challenge = { purpose, flow, browser: hashOf(browser), rp_id: rpId }
  const whose = purpose.type === 'sign-in' ? { address: networkOf(remoteAddress) } : provenFlow(purpose.user)
  const id = keyOf(Buffer.from(challenge).toString('base64url'))
  await createLoginFlow(context.db, { id, ...whose, document, expires_at: now + CHALLENGE_MS }, now)
  return challenge
}

/** Uses a challenge up, whatever comes of it. Throws PasskeyRefusal for one that is unknown, used, expired, or of another page or browser. */
export async function takeChallenge(context: AuthContext, challenge: string, { flow, browser }: Place): Promise<Challenge> {
  const document = await consumeLoginFlow(context.db, keyOf(challenge), context.now())
  if (document === undefined) throw new PasskeyRefusal('the challenge is not known, was used before or has expired')
  const taken = challengeSchema.parse(document)
  if (!timingSafeEqual(Buffer.from(taken.browser), Buffer.from(hashOf(browser))))
    throw new PasskeyRefusal('the challenge was given to another browser')
  if (taken.flow !== flow) throw new PasskeyRefusal('the challenge was given for another page')
  return taken
}

/** What stands in the store cannot be used by who reads the store. */
function keyOf(challenge: string): string {
  return `passkey:${hashOf(challenge)}`
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
