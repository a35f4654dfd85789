import { decodeJwt, errors, jwtVerify } from 'jose'
import type { JWTPayload } from 'jose'
import { matchLabels } from '../../access/labels.ts'
import { compileMatcher } from '../../access/match.ts'
import { buildEvent } from '../../audit/build-event.ts'
import { AppError } from '../../lib/errors.ts'
import type { AppAuthConfig } from '../../resources/app-auth-config.ts'
import { labelsOf } from '../../resources/app.ts'
import type { Identity } from '../../resources/identity.ts'
import { findMcpEndpoint } from '../../resources/mcp-endpoint.ts'
import type { AuthContext } from './context.ts'
import { findApps } from './find-apps.ts'
import { ALGORITHMS, claimAt } from './join/id-token.ts'
import { checkIssuerUrl, parseJwks } from './join/issuer-keys.ts'

const SKEW_SECONDS = 10
const SHAPE = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/

/** By its form: a signed JWT (RFC 7519). */
export function isForeignToken(token: string): boolean {
  return SHAPE.test(token)
}

/** Throws `invalid_argument` for a configuration by which no token could be verified. */
export function checkAppAuthConfig({ spec }: AppAuthConfig): void {
  if (spec.jwt.static_jwks !== undefined) parseJwks(spec.jwt.static_jwks)
  if (spec.jwt.jwks_url !== undefined) checkIssuerUrl(spec.jwt.jwks_url)
  for (const values of Object.values(spec.app_labels)) for (const value of [values].flat()) compileMatcher(value)
}

/** What sessions that rest on a configuration go by: another one after each change of it. */
export function foreignCredentialId({ metadata }: AppAuthConfig): string {
  return `${metadata.name}@${metadata.revision ?? ''}`
}

/**
 * The user behind a JWT of another issuer that was presented at `endpoint`, the path of an MCP endpoint; it opens the server of that endpoint and
 * nothing else. Undefined where no configuration is for that server. Both outcomes are in the audit log; failures count against the address.
 * Throws `unauthenticated`, or `unavailable` when the issuer's keys cannot be fetched.
 */
export async function verifyForeignToken(
  context: AuthContext,
  token: string,
  endpoint: string | undefined,
  remoteAddress: string,
): Promise<Identity | undefined> {
  const at = endpoint === undefined ? undefined : findMcpEndpoint(endpoint)
  const configs = at?.type === 'app' ? configsFor(context, at.name) : []
  if (at?.type !== 'app' || configs.length === 0) return undefined
  const about = { remote_addr: remoteAddress, server: at.name }
  const issuer = issuerOf(token)
  const attempts = configs.filter(({ spec }) => spec.jwt.issuer === issuer)
  let failure = new Failure('its issuer is not one that this MCP server accepts')
  for (const config of attempts) {
    try {
      const identity = await identityOf(context, config, token, at.name)
      const event = { ...about, success: true, name: config.metadata.name, user: identity.name, user_kind: 1 }
      await context.journal.record([buildEvent('app_auth_config.verify.success', event, context.build)])
      return identity
    } catch (thrown) {
      if (!(thrown instanceof Failure)) throw thrown
      failure = thrown
    }
  }
  await context.limits.countPublicCall(remoteAddress)
  const [only] = attempts
  const event = { ...about, success: false, error: failure.message, ...(only && { name: only.metadata.name }) }
  await context.journal.record([buildEvent('app_auth_config.verify.failure', event, context.build)])
  throw new AppError('unauthenticated', `the JWT is not accepted: ${failure.message}`, { details: { token: 'foreign' } })
}

/** Why a token is not accepted, in words for whoever has it. */
class Failure extends Error {}

/** As the server is registered; where it is not, as all agents that offer it agree. */
function configsFor(context: AuthContext, server: string): AppAuthConfig[] {
  const registered = context.live.find('app', server)
  const apps = registered ? [registered] : findApps(context, server)
  if (apps.length === 0) return []
  return context.live.list('app_auth_config').filter(({ spec }) => apps.every((app) => matchLabels(spec.app_labels, labelsOf(app))))
}

/** Believed only after the signature was checked with the keys of that issuer. */
function issuerOf(token: string): string | undefined {
  try {
    return decodeJwt(token).iss
  } catch {
    return undefined // no JWT; it is refused as one of an unknown issuer
  }
}

async function identityOf(context: AuthContext, config: AppAuthConfig, token: string, server: string): Promise<Identity> {
  const payload = await verify(context, config, token)
  const { username_claim: claim } = config.spec.jwt
  const name = claimAt(payload, claim)
  if (typeof name !== 'string' || name === '') throw new Failure(`its claim ${JSON.stringify(claim)} names nobody`)
  const user = context.live.find('user', name)
  if (!user) throw new Failure(`the user that its claim ${JSON.stringify(claim)} names does not exist`)
  const ends = [(payload.exp ?? 0) * 1000, ...[config, user].map(({ metadata }) => Date.parse(metadata.expires ?? ''))]
  return {
    kind: 'user',
    name,
    roles: user.spec.roles,
    traits: user.spec.traits ?? {},
    credential: 'jwt',
    credentialId: foreignCredentialId(config),
    expiresAt: Math.min(...ends.filter(Number.isFinite)),
    mfaVerified: false,
    servers: [server],
  }
}

async function verify(context: AuthContext, { spec }: AppAuthConfig, token: string): Promise<JWTPayload> {
  const { issuer, audience, jwks_url, static_jwks } = spec.jwt
  const keys = static_jwks === undefined ? context.issuerKeys.of(issuer, jwks_url) : parseJwks(static_jwks)
  try {
    const { payload } = await jwtVerify(token, keys, {
      algorithms: ALGORITHMS,
      issuer,
      audience,
      requiredClaims: ['exp'],
      currentDate: new Date(context.now()),
      clockTolerance: SKEW_SECONDS,
    })
    return payload
  } catch (thrown) {
    if (thrown instanceof AppError) throw thrown
    throw new Failure(describe(thrown), { cause: thrown })
  }
}

function describe(thrown: unknown): string {
  if (thrown instanceof errors.JWTExpired) return 'it has expired'
  if (thrown instanceof errors.JWTClaimValidationFailed) return `its claim ${JSON.stringify(thrown.claim)} is not as it has to be`
  if (thrown instanceof errors.JWKSNoMatchingKey) return 'it is signed with a key that its issuer does not have'
  if (thrown instanceof errors.JOSEAlgNotAllowed) return 'it is signed with an algorithm that is not accepted'
  return 'it is malformed or its signature is wrong'
}
