import { errors } from 'oidc-provider'
import type { AccessToken, Provider, TokenEndpointGrantContext } from 'oidc-provider'
import { compileSet } from '../../../access/mcp-set.ts'
import { findMcpEndpoint } from '../../../resources/mcp-endpoint.ts'
import type { McpEndpoint } from '../../../resources/mcp-endpoint.ts'
import type { AuthContext } from '../context.ts'
import { findApps } from '../find-apps.ts'
import { labelsOf } from '../../../resources/app.ts'
import { findAudience } from './issuer.ts'
import { EXCHANGE_GRANT } from './registration.ts'
import { ALL_SCOPE } from './scopes.ts'

const ACCESS_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token'

interface ExchangeParameters {
  subject_token?: string
  subject_token_type?: string
  requested_token_type?: string
  audience?: string
  actor_token?: string
}
const PARAMETERS = ['subject_token', 'subject_token_type', 'requested_token_type', 'audience', 'actor_token', 'scope', 'resource'] as const

/**
 * Token exchange (RFC 8693), for one thing: a client narrows its own token to hand it on, to one endpoint of those that it opens, to fewer
 * scopes. The new token belongs to the same grant and ends with the old one at the latest.
 */
export function addTokenExchange(provider: Provider, context: AuthContext, addresses: readonly string[]): void {
  provider.registerGrantType<ExchangeParameters>(
    EXCHANGE_GRANT,
    async (ctx) => {
      const { client, params } = ctx.oidc
      const subject = await findSubject(provider, ctx)
      const resource = typeof params.resource === 'string' ? params.resource : (params.audience ?? subject.aud)
      const audience = typeof resource === 'string' ? findAudience(resource, provider.issuer, addresses) : undefined
      if (audience === undefined || !contains(context, subject.aud, audience))
        throw new errors.InvalidTarget('the subject token does not open that endpoint')
      const token = new provider.AccessToken({
        client,
        accountId: subject.accountId,
        grantId: subject.grantId,
        gty: 'token_exchange',
        scope: narrowedScope(subject, params.scope),
        aud: audience,
        expiresIn: Math.max(1, subject.remainingTTL),
      })
      ctx.oidc.entity('SubjectToken', subject)
      ctx.oidc.entity('AccessToken', token)
      const value = await token.save()
      ctx.body = {
        access_token: value,
        issued_token_type: ACCESS_TOKEN_TYPE,
        token_type: 'Bearer',
        expires_in: token.remainingTTL,
        scope: token.scope,
      }
    },
    PARAMETERS,
  )
}

async function findSubject(
  provider: Provider,
  { oidc: { client, params } }: TokenEndpointGrantContext<ExchangeParameters>,
): Promise<AccessToken> {
  if (params.subject_token_type !== ACCESS_TOKEN_TYPE || (params.requested_token_type ?? ACCESS_TOKEN_TYPE) !== ACCESS_TOKEN_TYPE)
    throw new errors.InvalidRequest('only access tokens are exchanged, for access tokens')
  if (params.actor_token !== undefined) throw new errors.InvalidRequest('nobody acts for another here: send no actor_token')
  const subject = await provider.AccessToken.find(params.subject_token ?? '')
  const grant = subject && (await provider.Grant.find(subject.grantId))
  if (!subject || !grant || subject.clientId !== client.clientId) throw new errors.InvalidGrant('the subject token is none of this client')
  if (subject.isSenderConstrained()) throw new errors.InvalidGrant('a token that is bound to a key is not exchanged')
  return subject
}

/** @throws InvalidScope when more is asked for than there is; all that there is when nothing is. */
function narrowedScope({ scope = '' }: AccessToken, asked: string | undefined): string {
  if (asked === undefined) return scope
  const held = scope.split(' ')
  const more = asked.split(' ').find((each) => !held.includes(each) && !(held.includes(ALL_SCOPE) && each.startsWith(`${ALL_SCOPE}:`)))
  if (more !== undefined) throw new errors.InvalidScope('the subject token does not have that scope', more)
  return asked
}

/** Whether whoever may call at one audience gets nothing more at the other; both are of this issuer. */
function contains(context: AuthContext, outer: AccessToken['aud'], inner: string): boolean {
  if (outer === inner) return true
  const [all, one] = [outer, inner].map((audience): McpEndpoint | undefined =>
    typeof audience === 'string' ? findMcpEndpoint(new URL(audience).pathname) : undefined,
  )
  if (all?.type === 'all') return one !== undefined
  const set = all?.type === 'set' ? context.live.find('mcp_set', all.name) : undefined
  if (!set || one?.type !== 'app') return false
  const { includesServer, includesTool } = compileSet(set)
  // A set that leaves out tools opens less than the server does.
  return includesTool === undefined && findApps(context, one.name).some((app) => includesServer(one.name, labelsOf(app)))
}
