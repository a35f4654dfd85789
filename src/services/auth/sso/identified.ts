import { rolesOfClaims } from '../../../access/connector-roles.ts'
import { AppError } from '../../../lib/errors.ts'
import type { OidcConnector } from '../../../resources/oidc.ts'

/** Whom an identity provider says a person is. */
export interface Identified {
  user: string
  /** What it calls this person for ever. */
  identity: string
  /** By the mappings of the connector; some of them may not exist. */
  roles: string[]
  traits: Record<string, string[]>
  /** What it said, for a page that says why nothing came of it. */
  claimNames: string[]
  /** Whether it says that more than one factor was asked for (RFC 8176 section 2). */
  mfaVerified: boolean
}

const MAX_CLAIMS = 100
const MAX_VALUES = 1000
const MAX_CHARS = 1024
/** Traits travel in assertions and stand in audit events. */
const MAX_TOTAL_CHARS = 32 * 1024

/** Of the protocol, not of the person (OpenID Connect Core section 2 and 3.1.3.6, RFC 7519 section 4.1). */
const OF_THE_TOKEN = new Set(
  'iss sub aud exp nbf iat jti nonce auth_time acr amr azp at_hash c_hash s_hash sid rh uti ver email_verified __proto__'.split(' '),
)

/**
 * Who somebody is by verified claims. Throws `permission_denied` for an email that was not verified, for a missing user name, and for claims that are
 * more than is kept: with some of them left out, a role that denies by one could be slipped past.
 */
export function identify({ spec }: OidcConnector, raw: Readonly<Record<string, unknown>>): Identified {
  const { username_claim, allow_unverified_email: takesAnyEmail } = spec
  const isVerified = raw['email_verified'] === true || raw['email_verified'] === 'true'
  const mayBeWrong = !takesAnyEmail && !isVerified
  if (mayBeWrong && raw['email'] !== undefined && (username_claim === 'email' || raw['email_verified'] !== undefined))
    throw new AppError(
      'permission_denied',
      'your identity provider does not say that your email address is verified: verify it there, or ask your administrator (allow_unverified_email)',
    )
  const claims = boundedClaims(raw)
  if (mayBeWrong) delete claims['email']
  const user = raw[username_claim]
  if (typeof user !== 'string' || user === '')
    throw new AppError(
      'permission_denied',
      `your identity provider does not send the claim ${JSON.stringify(username_claim)}, by which people are named here: tell your administrator. ${describeClaims(Object.keys(claims))}`,
    )
  const { sub, amr } = raw
  return {
    user,
    identity: typeof sub === 'string' ? sub : '',
    roles: rolesOfClaims(spec.claims_to_roles, claims),
    traits: claims,
    claimNames: Object.keys(claims),
    mfaVerified: Array.isArray(amr) && amr.includes('mfa'),
  }
}

/** Names only: what they say is the person's own. */
export function describeClaims(names: readonly string[]): string {
  if (names.length === 0) return 'It sent no claims of yours.'
  const shown = names.slice(0, 30).map((name) => name.slice(0, 100))
  return `It sent the claims ${shown.join(', ')}${names.length > shown.length ? ` and ${names.length - shown.length} more` : ''}.`
}

/** Texts and lists of texts, by name. */
function boundedClaims(raw: Readonly<Record<string, unknown>>): Record<string, string[]> {
  const claims = new Map<string, string[]>()
  let total = 0
  for (const [name, value] of Object.entries(raw)) {
    const values = OF_THE_TOKEN.has(name) ? [] : textsOf(value)
    if (values.length === 0) continue
    total += values.reduce((sum, text) => sum + text.length, name.length)
    const isTooMuch = values.length > MAX_VALUES || values.some((text) => text.length > MAX_CHARS) || total > MAX_TOTAL_CHARS
    if (isTooMuch || name.length > 255 || claims.size >= MAX_CLAIMS)
      throw new AppError(
        'permission_denied',
        `your identity provider sends more of you than can be kept (at the claim ${JSON.stringify(name.slice(0, 100))}, ${values.length} values): ask your administrator to have it send only the groups that count here`,
      )
    claims.set(name, values)
  }
  return Object.fromEntries(claims)
}

function textsOf(value: unknown): string[] {
  const values: unknown[] = Array.isArray(value) ? value : [value]
  return [...new Set(values.filter((each) => typeof each === 'string').filter((text) => text !== ''))]
}
