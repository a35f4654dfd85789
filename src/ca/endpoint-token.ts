import { createHash, randomUUID } from 'node:crypto'
import { errors, jwtVerify, SignJWT } from 'jose'
import { z } from 'zod'
import { AppError } from '../lib/errors.ts'
import type { Signer, VerificationKey } from './assertion.ts'
import type { IdentityFields } from './identity-uris.ts'

/** Who calls at which MCP endpoint of which cluster. */
export interface EndpointClaims {
  clusterName: string
  /** Path of the endpoint, as `renderMcpEndpoint` writes it. */
  endpoint: string
  /** As a certificate proved them. */
  fields: IdentityFields
  /** How the holder proved who it is: by a certificate, to which the token is bound, or by a bot's own, for a token that it hands to a client. */
  credential: 'certificate' | 'oauth'
  credentialId: string
  /** Milliseconds since 1970: the token does not outlive what it rests on. */
  credentialExpiresAt: number
  /** `thumbprintOf` the certificate that whoever presents the token has to show; absent: whoever has the token may use it. */
  certificate?: string | undefined
}

export interface VerifiedEndpointToken extends Omit<EndpointClaims, 'clusterName' | 'endpoint' | 'certificate'> {
  /** The same for all tokens of one certificate, and of those that replace it. */
  holder: string
  /** Milliseconds since 1970. */
  expiresAt: number
}

const PREFIX = 'spe_'
const TYPE = 'sallyport-endpoint+jwt'
const MAX_LIFETIME_MS = 3_600_000
const MAX_CHARACTERS = 65_536

const headerSchema = z.strictObject({ alg: z.literal('ES256'), typ: z.literal(TYPE), kid: z.string() })

const bindingSchema = z.strictObject({ 'x5t#S256': z.string() })

/** Strict on purpose: a claim that this version does not know may be a restriction. */
const payloadSchema = z.strictObject({
  iss: z.string(),
  aud: z.string(),
  sub: z.string().min(1),
  jti: z.string().min(1),
  iat: z.int(),
  exp: z.int(),
  kind: z.enum(['user', 'bot']),
  roles: z.array(z.string()),
  mfa: z.boolean(),
  account: z.string().optional(),
  bot_instance_id: z.string().optional(),
  join_token: z.string().optional(),
  join_method: z.string().optional(),
  cred: z.enum(['certificate', 'oauth']),
  cred_id: z.string().min(1),
  cred_exp: z.int(),
  /** RFC 8705 §3.1. */
  cnf: bindingSchema.optional(),
})

/** Whether a bearer token is one of these, by its form. */
export function isEndpointToken(token: string): boolean {
  return token.startsWith(PREFIX)
}

/**
 * The Auth Service's word about one caller at one MCP endpoint, for the endpoints of several servers, where an assertion for one is not enough, and for
 * clients that speak HTTP only. The proxy gives it back to the Auth Service, which asks anew who the caller is now; it is worth nothing anywhere else.
 * It ends after `ttlMs` (1 s to 1 h) or with the credential. An expired credential throws `unauthenticated`.
 */
export async function issueEndpointToken(
  signer: Signer,
  { clusterName, endpoint, fields, credential, credentialId, credentialExpiresAt, certificate }: EndpointClaims,
  { now, ttlMs }: { now: number; ttlMs: number },
): Promise<{ token: string; expiresAt: number }> {
  if (!(ttlMs >= 1000 && ttlMs <= MAX_LIFETIME_MS)) throw new AppError('internal', 'an endpoint token lives from one second to an hour')
  const expiresAt = seconds(Math.min(now + ttlMs, credentialExpiresAt))
  if (expiresAt <= seconds(now)) throw new AppError('unauthenticated', 'the credential has expired: log in again')
  const claims = {
    kind: fields.kind,
    roles: fields.roles,
    mfa: fields.mfaVerified,
    account: fields.account,
    bot_instance_id: fields.botInstanceId,
    join_token: fields.joinToken,
    join_method: fields.joinMethod,
    cred: credential,
    cred_id: credentialId,
    cred_exp: seconds(credentialExpiresAt),
    ...(certificate !== undefined && { cnf: { 'x5t#S256': certificate } }),
  }
  const token = await new SignJWT(claims)
    .setProtectedHeader({ alg: 'ES256', typ: TYPE, kid: signer.kid })
    .setIssuer(clusterName)
    .setAudience(audienceOf(endpoint))
    .setSubject(fields.name)
    .setJti(randomUUID())
    .setIssuedAt(seconds(now))
    .setExpirationTime(expiresAt)
    .sign(signer.privateKey)
  if (token.length > MAX_CHARACTERS) throw new AppError('failed_precondition', `the roles of "${fields.name}" are too many for a token`)
  return { token: PREFIX + token, expiresAt: expiresAt * 1000 }
}

/**
 * Verifies a token that was presented at `endpoint` by who showed the certificate with the thumbprint `shown`. Everything but an exact, current one
 * throws `unauthenticated`.
 */
export async function verifyEndpointToken(
  token: string,
  keys: VerificationKey[],
  { clusterName, endpoint, shown, now }: { clusterName: string; endpoint: string | undefined; shown: string | undefined; now: number },
): Promise<VerifiedEndpointToken> {
  if (!isEndpointToken(token) || token.length > MAX_CHARACTERS || endpoint === undefined) throw refusal('is good at its MCP endpoint only')
  const { payload, protectedHeader } = await jwtVerify(token.slice(PREFIX.length), ({ kid }) => keyFor(keys, kid), {
    algorithms: ['ES256'],
    issuer: clusterName,
    currentDate: new Date(now),
    clockTolerance: 0,
  }).catch((thrown: unknown) => {
    if (thrown instanceof AppError) throw thrown
    // The signature is judged before the time.
    const late = thrown instanceof errors.JWTExpired ? payloadSchema.safeParse(thrown.payload).data : undefined
    throw new EndpointTokenRefusal(late ? 'has expired' : 'is not valid', late && fieldsOf(late), thrown)
  })
  const header = headerSchema.safeParse(protectedHeader)
  const parsed = payloadSchema.safeParse(payload)
  if (!header.success || !parsed.success) throw refusal('is not valid')
  const claims = parsed.data
  const fields = fieldsOf(claims)
  if (claims.aud !== audienceOf(endpoint))
    throw new EndpointTokenRefusal('is for another endpoint: ask for one for the URL you call', fields)
  if (claims.cnf && claims.cnf['x5t#S256'] !== shown)
    throw new EndpointTokenRefusal(
      'is good only with the certificate that it was issued for, over TLS: whoever presents it has taken it from somebody',
      fields,
    )
  return {
    fields,
    credential: claims.cred,
    credentialId: claims.cred_id,
    credentialExpiresAt: claims.cred_exp * 1000,
    holder: holderOf(claims),
    expiresAt: claims.exp * 1000,
  }
}

/** A token of ours that was presented where it is worth nothing: whose it is, is for the audit log. */
export class EndpointTokenRefusal extends AppError {
  readonly fields: IdentityFields | undefined

  constructor(what: string, fields: IdentityFields | undefined, cause?: unknown) {
    super('unauthenticated', `the endpoint token ${what}`, { cause })
    this.fields = fields
  }
}

function fieldsOf(claims: z.infer<typeof payloadSchema>): IdentityFields {
  return {
    kind: claims.kind,
    name: claims.sub,
    roles: claims.roles,
    mfaVerified: claims.mfa,
    ...(claims.account !== undefined && { account: claims.account }),
    ...(claims.bot_instance_id !== undefined && { botInstanceId: claims.bot_instance_id }),
    ...(claims.join_token !== undefined && { joinToken: claims.join_token }),
    ...(claims.join_method !== undefined && { joinMethod: claims.join_method }),
  }
}

/** Two outputs of one bot may have different roles: what one has seen is not for the other. */
function holderOf({ roles, bot_instance_id }: z.infer<typeof payloadSchema>): string {
  const hash = createHash('sha256').update(JSON.stringify(roles.toSorted())).digest('base64url').slice(0, 12)
  return bot_instance_id === undefined ? hash : `${hash}:${bot_instance_id}`
}

function keyFor(keys: VerificationKey[], kid: string | undefined) {
  const key = keys.find((candidate) => candidate.kid === kid)
  if (!key) throw refusal('is signed with an unknown key')
  return key.publicKey
}

function refusal(what: string, cause?: unknown): AppError {
  return new EndpointTokenRefusal(what, undefined, cause)
}

function audienceOf(endpoint: string): string {
  return `sallyport:endpoint:${endpoint}`
}

function seconds(ms: number): number {
  return Math.floor(ms / 1000)
}
