import { matchLabels } from '../../../access/labels.ts'
import {
  checkWorkloadIdentity,
  fillTemplate,
  fillTemplates,
  renderSpiffeId,
  workloadAttributes,
} from '../../../access/workload-identity.ts'
import type { Denied } from '../../../access/decision.ts'
import type { Attributes, JoinFacts } from '../../../access/workload-identity.ts'
import type { OutputOf, ParsedInputOf } from '../../../api/route.ts'
import type { ROUTES } from '../../../api/routes.ts'
import { buildEvent } from '../../../audit/build-event.ts'
import type { AuditEvent } from '../../../audit/event.ts'
import { jwksOf } from '../../../ca/assertion.ts'
import { issueJwtSvid, issueX509Svid, renderSpiffeBundle, trustDomainOf } from '../../../ca/svid.ts'
import { parseDuration } from '../../../lib/duration.ts'
import { AppError } from '../../../lib/errors.ts'
import type { Identity } from '../../../resources/identity.ts'
import type { WorkloadIdentity } from '../../../resources/workload-identity.ts'
import { RecordedRefusal, roleSetOf } from '../authorize.ts'
import { requiresMfa } from '../context.ts'
import type { AuthContext, KnownCaller } from '../context.ts'
import { callerFields } from '../event-fields.ts'
import { parseProvenKey } from '../issue.ts'
import { commitAsBot, pickRoles } from '../join/as-bot.ts'
import { getMachine } from '../join/bot-instances.ts'
import { findLockReason } from '../join/machine.ts'

type Input = ParsedInputOf<typeof ROUTES.issueSvid>
type Output = OutputOf<typeof ROUTES.issueSvid>

const DEFAULT_TTL_MS = 3_600_000
const ISSUER_PATH = '/workload-identity'

/**
 * An SVID of the workload identity that is named, or of the one with these labels that the caller may have. Each is in the audit log, and so is each
 * refusal: `permission_denied`, or `not_found` where there is none. A selector that fits several throws `invalid_argument` and names them.
 */
export async function issueSvid(context: AuthContext, input: Input, caller: KnownCaller): Promise<Output> {
  const { identity } = caller
  if (identity.credential !== 'certificate' || identity.kind === 'host')
    throw new AppError('permission_denied', 'SVIDs are issued to users and bots that call with their certificate')
  if (identity.internal !== true && identity.allowReissue === false)
    throw new AppError(
      'permission_denied',
      'this identity gets no further certificates: set allow_reissue on the output of tbot that wrote it',
    )
  const outcome = await (identity.internal === true ? issueToBot(context, input, caller) : issueToHolder(context, input, caller))
  if ('refused' in outcome) throw outcome.refused
  return outcome.output
}

/** A refusal has its event in the same place as what is issued. */
type Outcome = { output: Output } | { refused: AppError }
type Told = Outcome & { event: AuditEvent }

async function issueToHolder(context: AuthContext, input: Input, caller: KnownCaller): Promise<Outcome> {
  if (input.roles) throw new AppError('invalid_argument', 'roles: the certificate says which')
  const { event, ...outcome } = await issue(context, input, caller)
  await context.journal.record([event])
  return outcome
}

async function issueToBot(context: AuthContext, input: Input, caller: KnownCaller): Promise<Outcome> {
  return await commitAsBot(context, caller, async ({ bot }) => {
    const identity = { ...caller.identity, roles: pickRoles(bot.spec.roles, input.roles) }
    const locked = findLockReason(context, identity)
    if (locked !== undefined) throw new AppError('permission_denied', locked)
    const { event, ...output } = await issue(context, input, { ...caller, identity })
    return { output, events: [event] }
  })
}

async function issue(context: AuthContext, input: Input, caller: KnownCaller): Promise<Told> {
  const { identity } = caller
  const said = { ...callerFields(caller), svid_type: input.credential.type }
  try {
    const attributes = workloadAttributes(identity, identity.kind === 'bot' ? joinFactsOf(context, caller) : undefined)
    const resource = select(context, input.selector, identity, attributes)
    const spiffeId = renderSpiffeId(trustDomainOf(context.clusterName), resource, attributes)
    const { hint } = resource.spec.spiffe
    const ttlMs = lifetimeOf(context, input, resource, identity)
    const { svid, expiresAt, about } = await sign(context, input.credential, { resource, spiffeId, attributes, ttlMs })
    const expires = new Date(expiresAt).toISOString()
    const { name } = resource.metadata
    const bundle = [context.keys.spiffe.certificatePem]
    const event = { ...said, success: true, name, spiffe_id: spiffeId, hint, ...about, expires }
    return {
      output: { name, spiffe_id: spiffeId, ...(hint !== undefined && { hint }), svid, bundle, expires },
      event: buildEvent('spiffe.svid.issued', event, context.build),
    }
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.code === 'internal') throw thrown
    const { name, labels } = input.selector
    const decision = thrown instanceof NotAllowed ? thrown.decision : undefined
    const error = decision?.reason ?? thrown.message
    const event = { ...said, success: false, error, name: name ?? JSON.stringify(labels), ...(decision && { decision }) }
    // Whoever reads the log is told why; the caller not even whether there is one.
    const refused = thrown instanceof NotAllowed ? new RecordedRefusal(thrown.message) : thrown
    return { refused, event: buildEvent('spiffe.svid.issued', event, context.build) }
  }
}

function lifetimeOf(context: AuthContext, { credential, ttl }: Input, { spec }: WorkloadIdentity, identity: Identity): number {
  const { x509, jwt } = spec.spiffe
  const longest = credential.type === 'x509' ? x509?.maximum_ttl : jwt?.maximum_ttl
  return Math.min(
    ttl === undefined ? DEFAULT_TTL_MS : ttl * 1000,
    longest === undefined ? Infinity : parseDuration(longest),
    // What a certificate is good for ends with it; a bot's own renews itself.
    identity.internal === true ? Infinity : identity.expiresAt - context.now(),
  )
}

/** What the bot's identity provider said of the machine when it joined. */
function joinFactsOf(context: AuthContext, caller: KnownCaller): JoinFacts {
  const { status } = getMachine(context, caller).instance
  return { method: status.join_method, token: status.join_token, claims: status.initial_authentication.attributes ?? {} }
}

class NotAllowed extends AppError {
  readonly decision: Denied | undefined

  constructor(message: string, decision: Denied | undefined) {
    super('permission_denied', message)
    this.decision = decision
  }
}

function select(
  context: AuthContext,
  { name, labels = {} }: Input['selector'],
  identity: Identity,
  attributes: Attributes,
): WorkloadIdentity {
  const roleSet = roleSetOf(context, identity)
  const facts = { mfaVerified: identity.mfaVerified, requireMfa: requiresMfa(context) }
  const found = context.live
    .list('workload_identity')
    .filter(({ metadata }) => (name === undefined ? matchLabels(labels, metadata.labels ?? {}) : metadata.name === name))
  const judged = found.map((resource) => ({ resource, decision: checkWorkloadIdentity(roleSet, resource, attributes, facts) }))
  const [chosen, ...more] = judged.filter(({ decision }) => decision.allow).map(({ resource }) => resource)
  if (chosen && more.length > 0) {
    const names = [chosen, ...more].map(({ metadata }) => metadata.name)
    throw new AppError('invalid_argument', `these labels fit several workload identities (${names.join(', ')}): name one`)
  }
  if (chosen) return chosen
  const decision = judged[0]?.decision
  if (decision && !decision.allow && decision.kind === 'mfa_required') throw new NotAllowed(decision.reason, decision)
  const selected = name === undefined ? `with the labels ${JSON.stringify(labels)}` : JSON.stringify(name)
  throw new NotAllowed(
    `there is no workload identity ${selected} that you may have: your administrator finds the reason in the audit log (spiffe.svid.issued)`,
    decision && !decision.allow ? decision : undefined,
  )
}

interface Wanted {
  resource: WorkloadIdentity
  spiffeId: string
  attributes: Attributes
  ttlMs: number
}

async function sign(context: AuthContext, credential: Input['credential'], { resource, spiffeId, attributes, ttlMs }: Wanted) {
  const { keys } = context
  const { x509, jwt } = resource.spec.spiffe
  const times = { now: context.now(), ttlMs }
  const fill = (text: string): string => fillTemplate(text, attributes)
  if (credential.type === 'jwt') {
    const { audiences } = credential
    const claims = Object.fromEntries(
      Object.entries(jwt?.extra_claims ?? {}).map(([claim, value]) => [claim, fillTemplates(value, attributes)]),
    )
    const issued = await issueJwtSvid(keys.svid, { spiffeId, audiences, issuer: issuerOf(context), claims }, times)
    return { svid: issued.token, expiresAt: issued.expiresAt, about: { jti: issued.id, audiences } }
  }
  const key = parseProvenKey('svid', '', credential)
  const { common_name = resource.metadata.name, organization, organizational_unit } = x509?.subject_template ?? {}
  const subject = {
    commonName: fill(common_name),
    ...(organization !== undefined && { organization: [fill(organization)] }),
    ...(organizational_unit !== undefined && { organizationalUnit: fill(organizational_unit) }),
  }
  const dnsNames = (x509?.dns_sans ?? []).map(fill)
  const issued = issueX509Svid(keys.spiffe, key, { spiffeId, dnsNames, subject }, { ...times, serial: context.random(16) })
  return { svid: issued.certificatePem, expiresAt: issued.expiresAt, about: { serial: issued.serial, dns_sans: dnsNames } }
}

function issuerOf({ publicAddress }: AuthContext): string {
  return `https://${publicAddress()}${ISSUER_PATH}`
}

export async function getSpiffeBundle({ keys }: AuthContext): Promise<OutputOf<typeof ROUTES.getSpiffeBundle>> {
  const { keys: bundle, spiffe_refresh_hint } = renderSpiffeBundle(keys.spiffe.certificatePem, [keys.svid])
  return { keys: bundle.map((key) => ({ ...key })), spiffe_refresh_hint }
}

export async function getSvidJwks({ keys }: AuthContext): Promise<OutputOf<typeof ROUTES.getSvidJwks>> {
  return { keys: jwksOf([keys.svid]).keys.map((key) => ({ ...key })) }
}

export async function getSvidIssuer(context: AuthContext): Promise<OutputOf<typeof ROUTES.getSvidIssuer>> {
  const issuer = issuerOf(context)
  return {
    issuer,
    jwks_uri: `${issuer}/jwt-jwks.json`,
    response_types_supported: ['id_token'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['ES256'],
    claims_supported: ['iss', 'sub', 'aud', 'exp', 'iat', 'jti'],
  }
}
