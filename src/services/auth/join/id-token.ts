import { errors, jwtVerify } from 'jose'
import type { JWTPayload, JWTVerifyGetKey } from 'jose'
import type { join } from '../../../api/join.ts'
import type { ParsedInputOf } from '../../../api/route.ts'
import { compileMatcherLate, matchesAny } from '../../../access/match.ts'
import { AppError } from '../../../lib/errors.ts'
import type { ClaimRule, Token } from '../../../resources/token.ts'
import type { AuthContext } from '../context.ts'
import { checkIssuerUrl, parseJwks } from './issuer-keys.ts'
import type { JoinFindings } from './proven-join.ts'
import { JoinRefusal } from './refusal.ts'

/** Asymmetric ones only: with a MAC, whoever can read the published key could sign. */
export const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']
const SKEW_SECONDS = 10
const MAX_SHOWN = 30
const MAX_CLAIM_CHARS = 1024

/** What an ID token has to be: every join method of this sort comes down to it. */
export interface Expectations {
  /** Undefined where the keys that are given say it all. */
  issuer: string | undefined
  jwksUrl?: string | undefined
  staticJwks?: string | undefined
  audience: string | undefined
  /** Of which one has to hold, with all its claims. */
  rules: readonly ClaimRule[]
}

/** Where GitHub issues tokens to workflows: for all, for one enterprise, or on a server of one's own. */
const GITHUB = 'https://token.actions.githubusercontent.com'

/** What the settings of a join token ask of an ID token; undefined for other methods. */
export function expectationsOf({ spec }: Token): Expectations | undefined {
  const { join_method: method, oidc, kubernetes, github, gitlab } = spec
  if (method === 'oidc' && oidc)
    return {
      issuer: oidc.issuer,
      jwksUrl: oidc.jwks_url,
      staticJwks: oidc.static_jwks,
      audience: oidc.audience,
      rules: oidc.allow,
    }
  if (method === 'kubernetes' && kubernetes)
    return {
      issuer: kubernetes.type === 'oidc' ? kubernetes.oidc?.issuer : undefined,
      staticJwks: kubernetes.static_jwks?.jwks,
      audience: kubernetes.audience,
      rules: kubernetes.allow.map(({ service_account }) => ({ sub: `system:serviceaccount:${service_account}` })),
    }
  if (method === 'github' && github) {
    const own = github.enterprise_server_host
    const issuer =
      own === undefined ? GITHUB + (github.enterprise_slug ? `/${github.enterprise_slug}` : '') : `https://${own}/_services/token`
    return { issuer, staticJwks: github.static_jwks, audience: github.audience, rules: github.allow }
  }
  if (method === 'gitlab' && gitlab)
    return { issuer: `https://${gitlab.domain}`, staticJwks: gitlab.static_jwks, audience: gitlab.audience, rules: gitlab.allow }
  return undefined
}

/** Throws `invalid_argument` for settings with which no machine could join. */
export function checkExpectations(token: Token): void {
  const expected = expectationsOf(token)
  if (!expected) return
  if (expected.staticJwks !== undefined) parseJwks(expected.staticJwks)
  else checkIssuerUrl(expected.jwksUrl ?? expected.issuer ?? '')
}

/**
 * Verifies the ID token of a workload (OpenID Connect Core 1.0, section 3.1.3.7) against what the join token asks for. Throws `JoinRefusal`;
 * its words for the caller say of the token only what who has it can read in it. `unavailable` when the issuer's keys cannot be fetched.
 */
export async function verifyIdToken(context: AuthContext, token: Token, input: ParsedInputOf<typeof join>): Promise<JoinFindings> {
  const expected = expectationsOf(token)
  const { proof } = input
  const refuse = (reason: string, shown?: string, attributes?: unknown): never => {
    throw new JoinRefusal(reason, {
      join_token: token.metadata.name,
      ...(token.spec.bot_name !== undefined && { bot_name: token.spec.bot_name }),
      ...(shown !== undefined && { shown: `the join was refused: ${shown}` }),
      ...(attributes !== undefined && { attributes }),
    })
  }
  if (!expected || !('id_token' in proof)) return refuse('the token has no settings for its method')
  const payload = await verifySignature(context, expected, proof.id_token).catch((thrown: unknown) => {
    if (thrown instanceof AppError) throw thrown
    const { reason, shown } = describe(thrown, expected.audience ?? context.clusterName)
    return refuse(reason, shown)
  })
  const attributes = shownClaims(payload)
  if (!expected.rules.some((rule) => holds(rule, payload)))
    return refuse('no rule of the token allows these claims', 'no allow rule of the join token fits this workload', attributes)
  return { attributes }
}

async function verifySignature(context: AuthContext, expected: Expectations, idToken: string): Promise<JWTPayload> {
  const { issuer, staticJwks } = expected
  const keys: JWTVerifyGetKey = staticJwks === undefined ? context.issuerKeys.of(issuer ?? '', expected.jwksUrl) : parseJwks(staticJwks)
  const { payload } = await jwtVerify(idToken, keys, {
    algorithms: ALGORITHMS,
    audience: expected.audience ?? context.clusterName,
    ...(issuer !== undefined && { issuer }),
    requiredClaims: ['exp', 'iss', 'sub'],
    currentDate: new Date(context.now()),
    clockTolerance: SKEW_SECONDS,
  })
  return payload
}

function describe(thrown: unknown, audience: string): { reason: string; shown: string | undefined } {
  if (thrown instanceof errors.JWTExpired)
    return { reason: 'the ID token has expired', shown: 'the ID token has expired: get a new one for each join' }
  if (thrown instanceof errors.JWTClaimValidationFailed && thrown.claim === 'aud')
    return {
      reason: `the audience of the ID token is not ${JSON.stringify(audience)}`,
      shown: `the ID token is for another audience: ask its issuer for one with the audience ${JSON.stringify(audience)}`,
    }
  if (thrown instanceof errors.JWTClaimValidationFailed)
    return { reason: `the claim ${thrown.claim} of the ID token is not as it has to be`, shown: undefined }
  if (thrown instanceof errors.JWKSNoMatchingKey)
    return { reason: 'the ID token is signed with a key its issuer does not have', shown: undefined }
  if (thrown instanceof errors.JOSEAlgNotAllowed)
    return { reason: 'the ID token is signed with an algorithm that is not accepted', shown: undefined }
  return { reason: 'the ID token is malformed or its signature is wrong', shown: undefined }
}

/** All claims of a rule have to match; one that is not there matches nothing. */
function holds(rule: ClaimRule, payload: JWTPayload): boolean {
  return Object.entries(rule).every(([name, wanted]) => {
    const found = claimAt(payload, name)
    const values = Array.isArray(found) ? found : [found]
    return values.some((value: unknown) => fits(wanted, value))
  })
}

/** A claim by its name, or where that begins with a slash, by a JSON pointer (RFC 6901). */
export function claimAt(payload: unknown, name: string): unknown {
  const steps = name.startsWith('/')
    ? name
        .slice(1)
        .split('/')
        .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
    : [name]
  return steps.reduce<unknown>(
    (place, step) => (typeof place === 'object' && place !== null && Object.hasOwn(place, step) ? Reflect.get(place, step) : undefined),
    payload,
  )
}

function fits(wanted: ClaimRule[string], value: unknown): boolean {
  if (typeof wanted === 'boolean' || typeof wanted === 'number') return value === wanted || value === String(wanted)
  if (typeof value !== 'string' && typeof value !== 'boolean' && typeof value !== 'number') return false
  const patterns = Array.isArray(wanted) ? wanted : [wanted]
  return matchesAny(patterns.map(compileMatcherLate), String(value))
}

/** Plain claims, for the audit log and for rules of workload identities. */
function shownClaims(payload: JWTPayload): Record<string, unknown> {
  const plain = Object.entries(payload).filter(([, value]) => isPlain(value))
  return Object.fromEntries(plain.slice(0, MAX_SHOWN))
}

function isPlain(value: unknown): boolean {
  return typeof value === 'string' ? value.length <= MAX_CLAIM_CHARS : typeof value === 'number' || typeof value === 'boolean'
}
