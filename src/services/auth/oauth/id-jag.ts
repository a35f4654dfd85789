import { decodeJwt, errors, jwtVerify } from 'jose'
import type { JWTPayload } from 'jose'
import { AppError } from '../../../lib/errors.ts'
import type { OidcConnector } from '../../../resources/oidc.ts'
import type { AuthContext } from '../context.ts'
import { ALGORITHMS } from '../join/id-token.ts'
import { maxAgeSeconds } from '../sso/oidc.ts'

const TYPE = 'oauth-id-jag+jwt'
const SKEW_SECONDS = 30
/** From its issue to its end at most: for so long its id is remembered. */
const MAX_LIFE_SECONDS = 30 * 60
const MAX_CHARS = 16 * 1024

/** What an identity provider asserts of a person to one authorization server for one client, verified. */
export interface IdJag {
  connector: OidcConnector
  claims: JWTPayload & { sub: string }
  jti: string
  /** Seconds since 1970, with the tolerance for clocks: when its id need not be remembered any more. */
  forgottenAt: number
  /** The resources it is for; empty: it does not say. */
  resources: string[]
  scope: string | undefined
}

/** Whether MCP clients may bring assertions of the identity provider behind a connector. */
export function vouchesForPeople({ spec }: OidcConnector): boolean {
  return spec.accept_id_jag === true && spec.disabled !== true
}

/**
 * Verifies an Identity Assertion JWT Authorization Grant (draft-ietf-oauth-identity-assertion-authz-grant, section 4.4.1; RFC 7523 section 3).
 * Whether it was used before is not asked here. Throws `unauthenticated` saying what does not hold, `unavailable` when the keys of the identity
 * provider cannot be fetched.
 */
export async function verifyIdJag(context: AuthContext, assertion: string, issuer: string, clientId: string): Promise<IdJag> {
  if (assertion.length > MAX_CHARS) throw refused('it is too long')
  const connector = findConnector(context, assertion)
  const claims = await verify(context, connector, assertion, issuer)
  const { sub, jti, exp = 0, iat = 0, client_id, cnf } = claims
  const now = context.now() / 1000
  if (Array.isArray(claims.aud) && claims.aud.length !== 1) throw refused('it is for several authorization servers')
  if (typeof sub !== 'string' || sub === '' || sub.length > 255) throw refused('it names nobody')
  if (typeof jti !== 'string' || jti === '' || jti.length > 255) throw refused('it has no id')
  if (client_id !== clientId) throw refused('it is for another client')
  // RFC 7800: the client would have to prove that it holds a key, and nothing here asks for the proof.
  if (cnf !== undefined) throw refused('it is bound to a key')
  if (iat > now + SKEW_SECONDS || exp - iat > MAX_LIFE_SECONDS) throw refused('its times are not as they have to be')
  checkSignIn(connector, claims, now)
  const { resource, scope } = claims
  if (scope !== undefined && typeof scope !== 'string') throw refused('its scope is no text')
  return { connector, claims: { ...claims, sub }, jti, forgottenAt: Math.ceil(exp) + SKEW_SECONDS, resources: textsOf(resource), scope }
}

/** By what the assertion says of itself; believed only once the signature was checked with the keys of that issuer. */
function findConnector({ live }: AuthContext, assertion: string): OidcConnector {
  let issuer: string | undefined
  try {
    issuer = decodeJwt(assertion).iss
  } catch (cause) {
    throw refused('it is no JWT', cause)
  }
  const connector = live.list('oidc').find((each) => vouchesForPeople(each) && each.spec.issuer_url === issuer)
  if (!connector) throw refused('its issuer is none that vouches for people here (accept_id_jag of a connector)')
  return connector
}

async function verify(context: AuthContext, { spec }: OidcConnector, assertion: string, issuer: string): Promise<JWTPayload> {
  try {
    const { payload } = await jwtVerify(assertion, context.issuerKeys.of(spec.issuer_url, undefined), {
      typ: TYPE,
      algorithms: ALGORITHMS,
      issuer: spec.issuer_url,
      // Clients have the issuer from a document, and some write every URL with a path.
      audience: [issuer, `${issuer}/`],
      requiredClaims: ['exp', 'iat', 'jti', 'sub', 'client_id'],
      currentDate: new Date(context.now()),
      clockTolerance: SKEW_SECONDS,
    })
    return payload
  } catch (thrown) {
    if (thrown instanceof AppError) throw thrown
    throw refused(describe(thrown), thrown)
  }
}

/** The same as for people who sign in by the connector with a browser. */
function checkSignIn(connector: OidcConnector, { auth_time }: JWTPayload, now: number): void {
  const maxAge = maxAgeSeconds(connector)
  if (maxAge === undefined) return
  if (typeof auth_time !== 'number' || auth_time + maxAge + SKEW_SECONDS < now)
    throw refused('the sign-in at the identity provider is too old, or it does not say when that was (max_age of the connector)')
}

function textsOf(resource: unknown): string[] {
  if (resource === undefined) return []
  const all: unknown[] = Array.isArray(resource) ? resource : [resource]
  const texts = all.filter((each) => typeof each === 'string')
  if (texts.length !== all.length || all.length === 0 || all.length > 20) throw refused('its resource is no URL')
  return texts
}

function describe(thrown: unknown): string {
  if (thrown instanceof errors.JWTExpired) return 'it has expired'
  if (thrown instanceof errors.JWTClaimValidationFailed && thrown.claim === 'typ') return `it is no ID-JAG (typ ${TYPE})`
  if (thrown instanceof errors.JWTClaimValidationFailed && thrown.claim === 'aud') return 'it is for another authorization server'
  if (thrown instanceof errors.JWTClaimValidationFailed) return `its claim ${JSON.stringify(thrown.claim)} is not as it has to be`
  if (thrown instanceof errors.JWKSNoMatchingKey) return 'it is signed with a key that its issuer does not have'
  if (thrown instanceof errors.JOSEAlgNotAllowed) return 'it is signed with an algorithm that is not accepted'
  return 'it is malformed or its signature is wrong'
}

function refused(why: string, cause?: unknown): AppError {
  return new AppError('unauthenticated', `the assertion of the identity provider is not accepted: ${why}`, { cause })
}
