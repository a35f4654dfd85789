import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { findLock, lockReason } from '../../../access/locks.ts'
import { parsePublicKey } from '../../../ca/keys.ts'
import { hasSecretName, tokenSchema } from '../../../resources/token.ts'
import type { Token } from '../../../resources/token.ts'
import type { AuthContext } from '../context.ts'
import { hasExpired } from '../live-resources.ts'

type Keyed = Pick<AuthContext, 'keys'>

/**
 * What stands for a join token in certificates, events and locks: its name, or where that is the secret, `token-` and 16 hex digits which
 * only this cluster can make of it.
 */
export function safeTokenName(context: Keyed, token: Token): string {
  return hasSecretName(token) ? safeNameOf(context, token.metadata.name) : token.metadata.name
}

/** The same of a secret that may be the name of a token no longer. */
export function safeNameOf({ keys }: Keyed, secret: string): string {
  return `token-${createHmac('sha256', keys.formKey).update(`join-token\0${secret}`).digest('hex').slice(0, 16)}`
}

/** The join token of this name, if it is there and not over. Every token is looked at, so that the time taken tells nothing. */
export function findJoinToken(context: Pick<AuthContext, 'live' | 'now'>, name: string): Token | undefined {
  const wanted = digest(name)
  let found: Token | undefined
  for (const token of context.live.list('token')) if (timingSafeEqual(digest(token.metadata.name), wanted)) found = token
  return found && !hasExpired(found, context.now()) ? found : undefined
}

/** Why nobody may join with a token now; undefined when no lock stands against it alone. */
export function findTokenLock({ live, now }: Pick<AuthContext, 'live' | 'now'>, safeName: string): string | undefined {
  const nobody = {
    kind: 'host' as const,
    name: '',
    roles: [],
    traits: {},
    credential: 'certificate' as const,
    credentialId: '',
    expiresAt: 0,
  }
  const lock = findLock(live.list('lock'), { ...nobody, mfaVerified: false, joinToken: safeName }, now())
  return lock && lockReason(lock)
}

/** A secret that was made for one bot is worth one join. */
export function isEphemeral(token: Token): boolean {
  return hasSecretName(token) && token.spec.bot_name !== undefined
}

/**
 * The target of a lock as it is to be kept: where somebody names a join token by its secret, what stands for it. A secret that is used up
 * is known by the machines that joined with it.
 */
export function safeLockTarget(context: Pick<AuthContext, 'live' | 'keys' | 'now'>, name: string): string {
  const token = context.live.find('token', name)
  if (token) return safeTokenName(context, token)
  const safe = safeNameOf(context, name)
  const isKnown =
    context.live.list('bot_instance').some(({ status }) => status.join_token === safe) ||
    context.live.list('host').some(({ status }) => status.join_token === safe)
  return isKnown ? safe : name
}

/**
 * A token as it is to be saved. What the Auth Service keeps beside it is its own: it stays, whatever the document says. A bound key pair that
 * is to come with a secret gets one.
 */
export function prepareToken(
  context: Pick<AuthContext, 'keys' | 'random'>,
  token: Token,
  existing: { kind: string; status?: unknown } | undefined,
): Token {
  const { status: _, ...rest } = token
  const kept = existing?.kind === 'token' ? tokenSchema.shape.status.parse(existing.status) : undefined
  if (hasSecretName(token)) return { ...rest, status: { safe_name: safeTokenName(context, token) } }
  if (token.spec.join_method !== 'bound_keypair') return rest
  const before = kept?.bound_keypair
  if (before?.bound_public_key !== undefined) return { ...rest, status: { bound_keypair: before } }
  const { initial_public_key: key, registration_secret: given } = token.spec.bound_keypair?.onboarding ?? {}
  if (key !== undefined) {
    parsePublicKey(key, 'spec.bound_keypair.onboarding.initial_public_key')
    return rest
  }
  const secret = given ?? before?.registration_secret ?? Buffer.from(context.random(24)).toString('base64url')
  return { ...withoutSecret(rest), status: { bound_keypair: { registration_secret: secret, recovery_count: 0 } } }
}

/** A secret stands in one place: the one that is not shown. */
function withoutSecret(token: Token): Token {
  const { bound_keypair } = token.spec
  if (!bound_keypair) return token
  const { registration_secret: _, ...onboarding } = bound_keypair.onboarding
  return { ...token, spec: { ...token.spec, bound_keypair: { ...bound_keypair, onboarding } } }
}

/** A token for who may not know what lets in. */
export function withoutSecrets(token: Token): Token {
  const { status } = token
  const plain = withoutSecret(token)
  if (!status?.bound_keypair) return plain
  const { registration_secret: _, ...bound } = status.bound_keypair
  return { ...plain, status: { ...status, bound_keypair: bound } }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
