import { buildEvent } from '../../../audit/build-event.ts'
import { findLock, lockReason } from '../../../access/locks.ts'
import { AppError } from '../../../lib/errors.ts'
import { originOfUser } from '../../../resources/connector.ts'
import type { OidcConnector } from '../../../resources/oidc.ts'
import type { User } from '../../../resources/user.ts'
import { findAccountId } from '../../../storage/credentials.ts'
import type { AuthContext } from '../context.ts'
import { hasExpired } from '../live-resources.ts'
import { identify } from './identified.ts'
import type { Identified } from './identified.ts'
import { existingRoles, savePerson } from './person.ts'

/** A person for whom an identity provider vouches to a client, without a browser. */
export interface Asserted {
  user: string
  account: string
  mfaVerified: boolean
}

/** About the client and what it may do, not about the person. */
const OF_THE_GRANT: ReadonlySet<string> = new Set(['client_id', 'resource', 'scope', 'act', 'authorization_details'])

/**
 * Lets in the person whom verified claims of an identity provider are about, with an event. Assertions often say less than a sign-in does: of a user
 * who signed in by the same connector before, what they leave out stays as it was then, and for as long as it was to be. Throws `permission_denied`.
 */
export async function admitAsserted(
  context: AuthContext,
  connector: OidcConnector,
  claims: Readonly<Record<string, unknown>> & { sub: string },
  remoteAddress: string,
): Promise<Asserted> {
  const known = findKnown(context, connector, claims.sub)
  const said = Object.fromEntries(Object.entries(claims).filter(([name]) => !OF_THE_GRANT.has(name)))
  const person = identify(connector, known ? { ...known.spec.traits, ...named(connector, said, known) } : said)
  const saved =
    (known && (await findUnchanged(context, known, person))) ?? (await save(context, connector, person, known, said, remoteAddress))
  const event = {
    user: saved.user,
    remote_addr: remoteAddress,
    method: 'id_jag',
    connector: connector.metadata.name,
    success: true,
    with_mfa: person.mfaVerified ? 'idp' : 'none',
  }
  await context.journal.record([buildEvent('user.login', event, context.build)])
  return { ...saved, mfaVerified: person.mfaVerified }
}

/** By what the identity provider calls this person for ever. */
function findKnown(context: AuthContext, connector: OidcConnector, sub: string): User | undefined {
  return context.live.list('user').find((user) => {
    const origin = originOfUser(user)
    return origin?.type === 'oidc' && origin.id === connector.metadata.name && origin.identity === sub && !hasExpired(user, context.now())
  })
}

/** Claims with the name by which the person is known, where they have none; that name's email was verified when it was given. */
function named({ spec }: OidcConnector, claims: Readonly<Record<string, unknown>>, { metadata, spec: { traits } }: User) {
  const email = claims['email'] ?? traits?.['email']?.[0]
  const isVerified = claims['email_verified'] === undefined && typeof email === 'string' && traits?.['email']?.includes(email) === true
  const isUnnamed = claims[spec.username_claim] === undefined
  return {
    ...claims,
    ...(isUnnamed && { [spec.username_claim]: metadata.name }),
    ...(isVerified && { email, email_verified: true }),
  }
}

/** A user of whom nothing new was said is left alone: each change would make everybody look again. */
async function findUnchanged(context: AuthContext, { metadata, spec }: User, person: Identified) {
  const { name } = metadata
  const isSame =
    name === person.user && JSON.stringify([existingRoles(context, person), person.traits]) === JSON.stringify([spec.roles, spec.traits])
  const account = isSame ? await findAccountId(context.db, name) : undefined
  if (account === undefined) return undefined
  const { roles, traits = {} } = spec
  const identity = { kind: 'user', name, roles, traits, credential: 'oauth', credentialId: '', expiresAt: 0, mfaVerified: false } as const
  const lock = findLock(context.live.list('lock'), identity, context.now())
  if (lock) throw new AppError('permission_denied', lockReason(lock))
  return { user: name, account }
}

/** What was not said again does not count for longer than it would have without the assertion. */
async function save(
  context: AuthContext,
  connector: OidcConnector,
  person: Identified,
  known: User | undefined,
  claims: Readonly<Record<string, unknown>>,
  remoteAddress: string,
) {
  const isAllSaid = Object.keys(known?.spec.traits ?? {}).every((name) => claims[name] !== undefined)
  return await savePerson(context, connector, person, remoteAddress, isAllSaid ? undefined : known?.metadata.expires)
}
