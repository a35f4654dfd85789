import { createHash, timingSafeEqual } from 'node:crypto'
import type { join } from '../../../api/join.ts'
import { joinDigest, possessionChallenge } from '../../../api/possession.ts'
import type { ParsedInputOf } from '../../../api/route.ts'
import { lockReason } from '../../../access/locks.ts'
import { buildEvent } from '../../../audit/build-event.ts'
import { parsePublicKey, renderPublicKey, verifyPossession } from '../../../ca/keys.ts'
import type { Token } from '../../../resources/token.ts'
import { upsertResource } from '../../../storage/resources.ts'
import type { Executor } from '../../../storage/database.ts'
import type { AuthContext } from '../context.ts'
import type { Staged } from '../journal.ts'
import { lockMachine } from './lock-machine.ts'
import type { BoundKeyProof, ProvenJoin } from './proven-join.ts'
import { JoinRefusal } from './refusal.ts'

type Status = NonNullable<NonNullable<Token['status']>['bound_keypair']>
type Machine = { hostId: string } | { botInstanceId: string }

/**
 * Whether the key is the one of the token; at the first join, whether it is the one that was named beforehand, or comes with the
 * registration secret. Throws `JoinRefusal`.
 */
export function verifyBoundKey(context: AuthContext, token: Token, input: ParsedInputOf<typeof join>): BoundKeyProof {
  const { proof } = input
  const refuse = (reason: string): never => {
    throw new JoinRefusal(reason, { join_token: token.metadata.name })
  }
  if (proof.method !== 'bound_keypair') return refuse('no proof by a key')
  const key = parsePublicKey(proof.public_key, 'proof.public_key')
  if (!verifyPossession(key, possessionChallenge('bound-keypair', joinDigest(input), input.public_key), proof.possession))
    return refuse('the join is not signed by the key it names')
  const status = token.status?.bound_keypair
  const { onboarding } = settingsOf(token)
  const proven = { publicKeyPem: renderPublicKey(key), state: proof.join_state }
  const known = status?.bound_public_key ?? onboarding.initial_public_key
  if (known !== undefined) return parsePublicKey(known).equals(key) ? proven : refuse('the key is not the one of the token')
  const { must_register_before: end } = onboarding
  if (end !== undefined && Date.parse(end) <= context.now()) return refuse(`it had to register before ${end}`)
  const secret = status?.registration_secret
  if (secret === undefined || !isSame(secret, proof.registration_secret ?? '')) return refuse('the registration secret is wrong')
  return proven
}

export type BoundKeyStep =
  | { refused: Staged<JoinRefusal>; joinState?: never }
  | {
      refused?: never
      joinState: string
      /** The bot's instance from the join before. */
      previousInstance: string | undefined
      /** That instance, when it is taken for one whose join never arrived: it ends. */
      replaced: string | undefined
    }

/**
 * Counts a join by a bound key and gives the next join state, within the transaction of the join; undefined for other methods. A state that
 * was given back before means that the key has been copied: the token is locked. Only the answer that never arrived may be asked for again.
 * Throws `JoinRefusal` when the key has joined as often as it may.
 */
export async function settleBoundKey(
  context: AuthContext,
  tx: Executor,
  proven: ProvenJoin,
  token: Token,
  machine: Machine,
): Promise<BoundKeyStep | undefined> {
  const { bound } = proven
  if (!bound) return undefined
  const { recovery } = settingsOf(token)
  const before: Status = token.status?.bound_keypair ?? { recovery_count: 0 }
  const given = bound.state === undefined ? undefined : hashOf(bound.state)
  const isNext = before.state === given
  const isRepeated = !isNext && before.state !== undefined && before.previous_state === given && isUnused(context, before)
  if (!isNext && !isRepeated && recovery.mode !== 'insecure') return { refused: await lockToken(context, tx, proven, token) }
  const count = before.recovery_count + (isRepeated ? 0 : 1)
  if (recovery.mode === 'standard' && count > recovery.limit)
    throw new JoinRefusal(`the key has joined ${before.recovery_count} times, and recovery.limit is ${recovery.limit}`, {
      join_token: token.metadata.name,
      shown: `this key has joined as often as it may: an administrator can raise spec.bound_keypair.recovery.limit of the join token`,
    })
  const joinState = Buffer.from(context.random(24)).toString('base64url')
  const previous = isRepeated ? before.previous_state : before.state
  const status: Status = {
    bound_public_key: bound.publicKeyPem,
    ...('hostId' in machine ? { bound_host_id: machine.hostId } : { bound_bot_instance_id: machine.botInstanceId }),
    recovery_count: count,
    last_recovered_at: new Date(context.now()).toISOString(),
    state: hashOf(joinState),
    ...(previous !== undefined && { previous_state: previous }),
  }
  await upsertResource(tx, 'token', { ...token, status: { ...token.status, bound_keypair: status } }, context.now())
  const instance = before.bound_bot_instance_id
  return {
    joinState,
    previousInstance: isRepeated ? undefined : instance,
    replaced: isRepeated ? instance : undefined,
  }
}

/** What a token of this method says of keys, with the defaults where it says nothing. */
function settingsOf({ spec }: Token): NonNullable<Token['spec']['bound_keypair']> {
  return spec.bound_keypair ?? { onboarding: {}, recovery: { limit: 1, mode: 'standard' } }
}

/** Whether nobody was seen with the certificate of the last join: then its answer may have been lost. */
function isUnused(context: AuthContext, { bound_bot_instance_id: instanceId, bound_host_id: hostId }: Status): boolean {
  const instance = instanceId === undefined ? undefined : context.live.find('bot_instance', instanceId)
  const host = hostId === undefined ? undefined : context.live.find('host', hostId)
  if (instance) return instance.status.generation === 1 && !instance.status.used
  return host !== undefined && host.status.last_seen === host.status.joined_at
}

async function lockToken(context: AuthContext, tx: Executor, proven: ProvenJoin, token: Token): Promise<Staged<JoinRefusal>> {
  const { name } = token.metadata
  const message =
    'its key pair was used with a join state that was used before, so there is a copy of it: find the copy, remove the join token, ' +
    'and let the machine join with a new one and a new key pair'
  const { lock, event } = await lockMachine(context, tx, { join_token: name }, message)
  const told = { remote_addr: proven.remoteAddress, join_token: name, join_method: 'bound_keypair', success: false }
  const bot = token.spec.bot_name === undefined ? {} : { bot_name: token.spec.bot_name }
  const mismatch = buildEvent('bound_keypair.join_state_mismatch', { ...told, ...bot, error: message }, context.build)
  const output = new JoinRefusal('its join state was used before', { join_token: name, ...bot, shown: lockReason(lock) })
  return { output, events: [mismatch, event] }
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function isSame(a: string, b: string): boolean {
  return timingSafeEqual(Buffer.from(hashOf(a)), Buffer.from(hashOf(b)))
}
