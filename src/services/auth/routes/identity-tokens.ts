import { findLock, lockReason } from '../../../access/locks.ts'
import type { OutputOf, ParsedInputOf } from '../../../api/route.ts'
import type { ROUTES } from '../../../api/routes.ts'
import { buildEvent } from '../../../audit/build-event.ts'
import { issueForwardedJwt, verifyAssertion } from '../../../ca/assertion.ts'
import { AppError } from '../../../lib/errors.ts'
import { isLoopbackHost } from '../../../lib/loopback.ts'
import { type App, audienceOf } from '../../../resources/app.ts'
import type { AuthContext, KnownCaller } from '../context.ts'
import { callerFields } from '../event-fields.ts'
import { listAppOffers } from '../offers.ts'

/**
 * The word to an MCP server about one caller, for the agent that the caller's own assertion was sent to. It is addressed to the server as the
 * cluster knows it: an agent cannot have one made out to somebody else. Throws `permission_denied` for an agent that gives a server of its own
 * configuration the URI of another one that is registered: callers of the one would be spoken for at the other.
 */
export async function issueIdentityToken(
  context: AuthContext,
  { server, assertion, type }: ParsedInputOf<typeof ROUTES.issueIdentityToken>,
  { identity: agent }: KnownCaller,
): Promise<OutputOf<typeof ROUTES.issueIdentityToken>> {
  const { clusterName, keys, live } = context
  const now = context.now()
  const { identity } = await verifyAssertion(assertion, [keys.assertion], { clusterName, server, now })
  const lock = findLock(live.list('lock'), identity, now, { serverId: agent.name })
  if (lock) throw new AppError('permission_denied', lockReason(lock))
  const app = findOffered(context, server, agent.name)
  if (!app) throw new AppError('not_found', `this agent does not offer MCP server "${server}"`)
  const other = findNamesake(context, app)
  if (other)
    throw new AppError(
      'permission_denied',
      `MCP server "${server}" has the URI of the registered app "${other.metadata.name}": register it too (tctl create), or give it another URI`,
    )
  const claims = app.spec.rewrite?.jwt_claims ?? ''
  const isShown = (part: 'roles' | 'traits'): boolean => claims === '' || claims === 'roles-and-traits' || claims === part
  const { token, expiresAt } = await issueForwardedJwt(keys.jwt.signer, {
    issuer: type === 'id_token' ? `https://${context.publicAddress()}` : clusterName,
    username: identity.name,
    ...(isShown('roles') && { roles: identity.roles }),
    ...(isShown('traits') && { traits: identity.traits }),
    audience: audienceOf(app),
    now,
    expiresAt: identity.expiresAt,
  })
  return { token, expires: new Date(expiresAt).toISOString() }
}

/** As it is registered; as the agent describes it only when it has the server from its own configuration. */
function findOffered(context: AuthContext, server: string, hostId: string): App | undefined {
  const offered = listAppOffers(context).find(({ spec }) => spec.host_id === hostId && spec.app.metadata.name === server)
  return offered && (context.live.find('app', server) ?? offered.spec.app)
}

/** The registered app with the URI of one that is not registered; on loopback the same URI is another server on each machine. */
function findNamesake({ live }: AuthContext, app: App): App | undefined {
  const isElsewhere = !isLoopbackHost(URL.parse(app.spec.uri)?.hostname ?? '')
  if (!isElsewhere || live.find('app', app.metadata.name)) return undefined
  const audience = audienceOf(app)
  return live.list('app').find((other) => audienceOf(other) === audience)
}

export async function rotateJwtKey(
  context: AuthContext,
  _input: unknown,
  caller: KnownCaller,
): Promise<OutputOf<typeof ROUTES.rotateJwtKey>> {
  return await context.journal.commit(async (tx) => {
    const { kid, signsFrom } = await context.keys.jwt.rotate(tx)
    const event = { ...callerFields(caller), success: true, name: kid }
    return {
      output: { kid, signs_from: new Date(signsFrom).toISOString() },
      events: [buildEvent('jwt_key.rotate', event, context.build)],
    }
  })
}
