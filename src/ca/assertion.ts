import { createHash, createPublicKey, randomUUID } from 'node:crypto'
import type { KeyObject, X509Certificate } from 'node:crypto'
import { decodeJwt, decodeProtectedHeader, errors, jwtVerify, SignJWT } from 'jose'
import { z } from 'zod'
import { AppError } from '../lib/errors.ts'
import type { Identity } from '../resources/identity.ts'
import { traitsSchema } from '../resources/user.ts'
import type { Traits } from '../resources/user.ts'

/** A key that signs: `kid` says which public key verifies. EC P-256. */
export interface Signer {
  kid: string
  privateKey: KeyObject
}

export interface VerificationKey {
  kid: string
  publicKey: KeyObject
}

/** Who reaches which MCP server of which cluster. */
export interface AssertionClaims {
  clusterName: string
  /** Name of the MCP server; the assertion is worth nothing to another one. */
  server: string
  /** As verified from the caller's own credential; an assertion is not one. */
  identity: Identity
  /** `thumbprintOf` the certificate that the caller showed: only on connections with it a client may present the assertion. */
  certificate?: string | undefined
}

const TYPE = 'sallyport-route+jwt'
const MAX_LIFETIME_MS = 300_000
const MAX_SKEW_SECONDS = 30
const MAX_CHARACTERS = 65_536
const FORWARDED_LIFETIME_MS = 600_000

const headerSchema = z.strictObject({ alg: z.literal('ES256'), typ: z.literal(TYPE), kid: z.string() })

/** Strict on purpose: a claim that this version does not know may be a restriction. */
const payloadSchema = z.strictObject({
  iss: z.string(),
  aud: z.string(),
  sub: z.string().min(1),
  jti: z.string().min(1),
  /** To the millisecond (RFC 7519 allows fractions): an agent compares it with the moment a user was last changed. */
  iat: z.number(),
  exp: z.int(),
  kind: z.enum(['user', 'bot', 'host']),
  roles: z.array(z.string()),
  granting_roles: z.array(z.string()).optional(),
  traits: traitsSchema,
  cred: z.enum(['certificate', 'api_token', 'oauth', 'jwt', 'local']),
  cred_id: z.string().min(1),
  cred_exp: z.int(),
  mfa: z.boolean(),
  bot_instance_id: z.string().optional(),
  join_token: z.string().optional(),
  join_method: z.string().optional(),
  access_requests: z.array(z.string()).optional(),
  /** RFC 8705 §3.1. For the proxy alone: what reaches an agent came through it. */
  cnf: z.strictObject({ 'x5t#S256': z.string() }).optional(),
})

/**
 * A route assertion: the Auth Service's word to one agent about one caller, as ES256 JWT. It ends after `ttlMs` (1 s to 5 min) or with
 * the caller's credential, whichever is first. `now` is ms since 1970. An expired credential throws `unauthenticated`.
 */
export async function issueAssertion(
  signer: Signer,
  { clusterName, server, identity, certificate }: AssertionClaims,
  options: { now: number; ttlMs: number },
): Promise<string> {
  const { now, ttlMs } = options
  if (!(ttlMs >= 1000 && ttlMs <= MAX_LIFETIME_MS))
    throw new AppError('internal', 'a route assertion lives from one second to five minutes')
  if (identity.servers && !identity.servers.includes(server))
    throw new AppError('permission_denied', `this token is not valid for the server "${server}"`)
  const issuedAt = now / 1000
  const expiresAt = seconds(Math.min(now + ttlMs, identity.tokenExpiresAt ?? identity.expiresAt, identity.expiresAt))
  if (expiresAt <= issuedAt) throw new AppError('unauthenticated', 'the credential has expired: log in again')
  const claims = {
    kind: identity.kind,
    roles: identity.roles,
    granting_roles: identity.grantingRoles,
    traits: identity.traits,
    cred: identity.credential,
    cred_id: identity.credentialId,
    cred_exp: seconds(identity.expiresAt),
    mfa: identity.mfaVerified,
    bot_instance_id: identity.botInstanceId,
    join_token: identity.joinToken,
    join_method: identity.joinMethod,
    access_requests: identity.accessRequests,
    cnf: certificate === undefined ? undefined : { 'x5t#S256': certificate },
  }
  const token = await new SignJWT(claims)
    .setProtectedHeader({ alg: 'ES256', typ: TYPE, kid: signer.kid })
    .setIssuer(clusterName)
    .setAudience(audienceOf(server))
    .setSubject(identity.name)
    .setJti(randomUUID())
    .setIssuedAt(issuedAt)
    .setExpirationTime(expiresAt)
    .sign(signer.privateKey)
  if (token.length > MAX_CHARACTERS)
    throw new AppError('failed_precondition', `the roles and traits of "${identity.name}" are too many for a route assertion`)
  return token
}

/** What an agent learns from an assertion; times in ms since 1970. The identity ends with the original credential, whose kind and id it keeps. */
export interface VerifiedAssertion {
  identity: Identity
  issuedAt: number
  expiresAt: number
}

/** Verifies a route assertion for one server. Everything but an exact, current one throws `unauthenticated`. */
export async function verifyAssertion(
  token: string,
  keys: VerificationKey[],
  { clusterName, server, now }: { clusterName: string; server: string; now: number },
): Promise<VerifiedAssertion> {
  if (token.length > MAX_CHARACTERS) throw refusal('it is too long')
  const { payload, protectedHeader } = await jwtVerify(token, ({ kid }) => keyFor(keys, kid), {
    algorithms: ['ES256'],
    issuer: clusterName,
    audience: audienceOf(server),
    currentDate: new Date(now),
    clockTolerance: 0,
  }).catch((thrown: unknown) => {
    if (thrown instanceof AppError) throw thrown
    throw refusal(thrown instanceof errors.JWTExpired ? 'it has expired' : joseReason(thrown), thrown)
  })
  const header = headerSchema.safeParse(protectedHeader)
  if (!header.success) throw refusal('its header is not that of a route assertion', header.error)
  const parsed = payloadSchema.safeParse(payload)
  if (!parsed.success) throw refusal('its claims are not those of a route assertion', parsed.error)
  const claims = parsed.data
  if (claims.iat > now / 1000 + MAX_SKEW_SECONDS) throw refusal('it was issued in the future: check the clocks')
  if (claims.exp <= claims.iat || claims.exp - claims.iat > MAX_LIFETIME_MS / 1000)
    throw refusal('its lifetime is not one of a route assertion')
  if (claims.cred_exp < claims.exp) throw refusal('it outlives the credential it was issued for')
  return { identity: identityOf(claims), issuedAt: Math.round(claims.iat * 1000), expiresAt: claims.exp * 1000 }
}

/** What an upstream MCP server is told about the caller; see `issueForwardedJwt`. */
export interface ForwardedClaims {
  /** Name of the cluster, or its public URL. */
  issuer: string
  username: string
  roles?: string[]
  traits?: Traits
  /** The URI of the upstream server as configured. */
  audience: string
  /** Milliseconds since 1970. */
  now: number
  /** When the caller's identity ends; the JWT lives ten minutes at most. */
  expiresAt: number
}

/** The JWT for the header `Teleport-Jwt-Assertion`, which upstream servers check against our JWKS; `expiresAt` in ms since 1970. */
export async function issueForwardedJwt(signer: Signer, claims: ForwardedClaims): Promise<{ token: string; expiresAt: number }> {
  const { issuer, username, roles, traits, audience, now } = claims
  const expiresAt = seconds(Math.min(claims.expiresAt, now + FORWARDED_LIFETIME_MS))
  if (expiresAt <= seconds(now)) throw new AppError('unauthenticated', 'the credential has expired: log in again')
  const token = await new SignJWT({ username, roles, traits })
    .setProtectedHeader({ alg: 'ES256', typ: 'JWT', kid: signer.kid })
    .setIssuer(issuer)
    .setAudience(audience)
    .setSubject(username)
    .setJti(randomUUID())
    .setIssuedAt(seconds(now))
    .setNotBefore(seconds(now))
    .setExpirationTime(expiresAt)
    .sign(signer.privateKey)
  return { token, expiresAt: expiresAt * 1000 }
}

/** One public EC P-256 key of a JWKS (RFC 7517). */
export interface PublicJwk {
  kty: 'EC'
  crv: 'P-256'
  x: string
  y: string
  kid: string
  use: 'sig'
  alg: 'ES256'
}

/** The JWKS document of our keys: public members only, whatever is handed in. */
export function jwksOf(keys: VerificationKey[]): { keys: PublicJwk[] } {
  return {
    keys: keys.map(({ kid, publicKey }) => {
      const { crv, x, y } = publicKey.export({ format: 'jwk' })
      if (crv !== 'P-256' || !x || !y) throw new AppError('internal', `the signing key ${kid} is not an EC P-256 key`)
      return { kty: 'EC', crv, x, y, kid, use: 'sig', alg: 'ES256' }
    }),
  }
}

/** Reads a JWKS of ours: EC P-256 keys with an id; entries of other kinds are passed over, a broken one throws `invalid_argument`. */
export function parseJwks(document: { keys: readonly Record<string, unknown>[] }): VerificationKey[] {
  return document.keys.flatMap(({ kty, crv, x, y, kid }) => {
    if (kty !== 'EC' || crv !== 'P-256' || typeof kid !== 'string') return []
    try {
      return [{ kid, publicKey: createPublicKey({ key: { kty, crv, x: String(x), y: String(y) }, format: 'jwk' }) }]
    } catch (cause) {
      throw new AppError('invalid_argument', `the key ${JSON.stringify(kid.slice(0, 80))} of the JWKS cannot be read`, { cause })
    }
  })
}

/** SHA-256 of a certificate, as tokens name the one they are bound to (RFC 8705 §3.1). */
export function thumbprintOf(certificate: X509Certificate): string {
  return createHash('sha256').update(certificate.raw).digest('base64url')
}

/** The certificate that an assertion says it is bound to, not verified: who alters it has no signature. Undefined for one that is bound to none. */
export function findBoundCertificate(token: string): string | undefined {
  try {
    return payloadSchema.shape.cnf.parse(decodeJwt(token)['cnf'])?.['x5t#S256']
  } catch {
    return undefined // an agent would say what is wrong with it; this way it reaches none
  }
}

/** `KIND:NAME` of whom an assertion is about, not verified. Undefined for what is none. */
export function findHolder(token: string): string | undefined {
  try {
    const { kind, sub } = payloadSchema.pick({ kind: true, sub: true }).strip().parse(decodeJwt(token))
    return `${kind}:${sub}`
  } catch {
    return undefined // whoever verifies it says what is wrong with it
  }
}

/** The id of the key that a token says it is signed with: nothing to rely on. Undefined for what is no token. */
export function findKeyId(token: string): string | undefined {
  try {
    return decodeProtectedHeader(token).kid
  } catch {
    return undefined // `verifyAssertion` says what is wrong with it
  }
}

function keyFor(keys: VerificationKey[], kid: string | undefined): KeyObject {
  const key = keys.find((candidate) => candidate.kid === kid)
  if (!key) throw refusal('it is signed with an unknown key')
  return key.publicKey
}

function identityOf(claims: z.infer<typeof payloadSchema>): Identity {
  return {
    kind: claims.kind,
    name: claims.sub,
    roles: claims.roles,
    ...(claims.granting_roles !== undefined && { grantingRoles: claims.granting_roles }),
    traits: claims.traits,
    credential: claims.cred,
    credentialId: claims.cred_id,
    expiresAt: claims.cred_exp * 1000,
    mfaVerified: claims.mfa,
    ...(claims.bot_instance_id !== undefined && { botInstanceId: claims.bot_instance_id }),
    ...(claims.join_token !== undefined && { joinToken: claims.join_token }),
    ...(claims.join_method !== undefined && { joinMethod: claims.join_method }),
    ...(claims.access_requests !== undefined && { accessRequests: claims.access_requests }),
  }
}

function audienceOf(server: string): string {
  return `sallyport:app:${server}`
}

function joseReason(thrown: unknown): string {
  if (thrown instanceof errors.JWTClaimValidationFailed) return `it is not meant for this use (${thrown.claim})`
  return thrown instanceof errors.JWSSignatureVerificationFailed ? 'its signature is wrong' : 'it is malformed'
}

function refusal(reason: string, cause?: unknown): AppError {
  return new AppError('unauthenticated', `the route assertion was refused: ${reason}`, { cause })
}

function seconds(ms: number): number {
  return Math.floor(ms / 1000)
}
