import { maxSessionTtlMs } from '../../../access/session-limits.ts'
import type { OutputOf, ParsedInputOf } from '../../../api/route.ts'
import type { ROUTES } from '../../../api/routes.ts'
import { buildEvent } from '../../../audit/build-event.ts'
import { thumbprintOf } from '../../../ca/assertion.ts'
import { issueEndpointToken as issueToken } from '../../../ca/endpoint-token.ts'
import { verifyIdentityCertificate } from '../../../ca/identity-certificate.ts'
import type { IdentityFields } from '../../../ca/identity-uris.ts'
import { parseDuration } from '../../../lib/duration.ts'
import { AppError } from '../../../lib/errors.ts'
import { findMcpEndpoint, renderMcpEndpoint } from '../../../resources/mcp-endpoint.ts'
import { rolesOf } from '../authorize.ts'
import type { AuthContext, KnownCaller } from '../context.ts'
import { callerFields } from '../event-fields.ts'
import { commitAsBot, pickRoles } from '../join/as-bot.ts'
import { findLockReason } from '../join/machine.ts'

type Input = ParsedInputOf<typeof ROUTES.issueEndpointToken>
type Output = OutputOf<typeof ROUTES.issueEndpointToken>

const LIFETIME_MS = 3_600_000

/**
 * A token for one MCP endpoint. Who calls with a certificate gets one that works on connections with that certificate alone; a bot that calls with
 * its own gets one for a client of its, which is in the audit log. What may be done there is decided there.
 */
export async function issueEndpointToken(context: AuthContext, input: Input, caller: KnownCaller): Promise<Output> {
  const { identity } = caller
  if (identity.credential !== 'certificate' || identity.kind === 'host')
    throw new AppError('permission_denied', 'endpoint tokens are issued to users and bots that call with their certificate')
  const endpoint = parseEndpoint(context, input.endpoint)
  if (identity.internal === true) return await issueForClient(context, endpoint, input, caller)
  if (input.roles) throw new AppError('invalid_argument', 'roles: the certificate says which')
  return await issueBound(context, endpoint, input, caller)
}

/** @throws AppError not_found for a set that does not exist: better now than at the first message. */
function parseEndpoint({ live }: AuthContext, path: string): string {
  const at = findMcpEndpoint(path)
  if (!at) throw new AppError('invalid_argument', 'endpoint: must be /mcp, /mcp/sets/NAME or /mcp/apps/NAME')
  if (at.type === 'set' && !live.find('mcp_set', at.name)) throw new AppError('not_found', `MCP set "${at.name}" not found`)
  return renderMcpEndpoint(at)
}

async function issueBound(context: AuthContext, endpoint: string, { ttl }: Input, { identity, certificate }: KnownCaller): Promise<Output> {
  if (!certificate) throw new AppError('permission_denied', 'call with the certificate that the token is to be good with')
  const { clusterName, keys } = context
  const now = context.now()
  const facts = verifyIdentityCertificate(certificate, [keys.user.certificatePem], { clusterName, now })
  const issued = await issueToken(
    keys.assertion,
    {
      clusterName,
      endpoint,
      // The roles of a person are those of the moment, whatever an older certificate says.
      fields: { ...facts, roles: facts.kind === 'bot' ? facts.roles : [] },
      credential: 'certificate',
      credentialId: identity.credentialId,
      credentialExpiresAt: identity.expiresAt,
      certificate: thumbprintOf(certificate),
    },
    { now, ttlMs: lifetimeOf(ttl) },
  )
  return render(issued)
}

async function issueForClient(context: AuthContext, endpoint: string, { roles: wanted, ttl }: Input, caller: KnownCaller): Promise<Output> {
  const { name, joinToken, joinMethod } = caller.identity
  return await commitAsBot(context, caller, async ({ bot, instance }) => {
    const roles = pickRoles(bot.spec.roles, wanted)
    const fields: IdentityFields = {
      kind: 'bot',
      name,
      roles,
      mfaVerified: false,
      botInstanceId: instance.metadata.name,
      ...(joinToken !== undefined && { joinToken }),
      ...(joinMethod !== undefined && { joinMethod }),
    }
    const locked = findLockReason(context, fields)
    if (locked !== undefined) throw new AppError('permission_denied', locked)
    const now = context.now()
    const ttlMs = maxSessionTtlMs(rolesOf(context, roles), lifetimeOf(ttl), parseDuration(bot.spec.max_session_ttl))
    const { clusterName, keys } = context
    const issued = await issueToken(
      keys.assertion,
      { clusterName, endpoint, fields, credential: 'oauth', credentialId: instance.metadata.name, credentialExpiresAt: now + ttlMs },
      { now, ttlMs: Math.min(ttlMs, LIFETIME_MS) },
    )
    const output = render(issued)
    const event = { ...callerFields(caller), success: true, name, resource: endpoint, expires: output.expires }
    return { output, events: [buildEvent('oauth.token.issue', event, context.build)] }
  })
}

function lifetimeOf(ttlSeconds: number | undefined): number {
  return ttlSeconds === undefined ? LIFETIME_MS : ttlSeconds * 1000
}

function render({ token, expiresAt }: { token: string; expiresAt: number }): Output {
  return { token, expires: new Date(expiresAt).toISOString() }
}
