import { AppError } from '../lib/errors.ts'
import type { Identity } from '../resources/identity.ts'
import type { AttributeCondition, AttributeRule, WorkloadIdentity } from '../resources/workload-identity.ts'
import { allowsServer, deniesServer, mfaSatisfied, settle } from './conditions.ts'
import type { Decision, DenialKind } from './decision.ts'
import { checkExpression, evaluateWorkloadRule } from './predicate.ts'
import type { RoleSet } from './role-set.ts'

/** What is known of a caller: `user` and, of a machine, `join`; see `workloadAttributes`. */
export type Attributes = Readonly<Record<string, unknown>>

/** How a machine joined. */
export interface JoinFacts {
  method: string
  token: string
  /** What its identity provider said of it, as far as it is plain. */
  claims: Readonly<Record<string, unknown>>
}

/**
 * The attributes that rules and templates of workload identities may name: `user.name`, `user.is_bot`, `user.bot_name`, `user.bot_instance_id`,
 * `user.roles`, `user.traits.NAME`; `join.meta.join_method`, `join.meta.join_token_name`, and `join.METHOD.CLAIM`, of kubernetes also
 * `join.kubernetes.service_account.namespace` and `.name`.
 */
export function workloadAttributes({ kind, name, roles, traits, botInstanceId }: Identity, join: JoinFacts | undefined): Attributes {
  const isBot = kind === 'bot'
  const user = {
    name,
    is_bot: isBot,
    ...(isBot && { bot_name: name.replace(/^bot-/, '') }),
    ...(botInstanceId !== undefined && { bot_instance_id: botInstanceId }),
    roles,
    traits,
  }
  if (!join) return { user }
  const meta = { join_method: join.method, join_token_name: join.token }
  return { user, join: { meta, [join.method]: { ...join.claims, ...serviceAccountOf(join) } } }
}

/** As the API server of Kubernetes writes it into a token. */
function serviceAccountOf({ method, claims }: JoinFacts): Record<string, unknown> {
  const [, namespace, name] = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(String(claims['sub'])) ?? []
  return method === 'kubernetes' && namespace !== undefined ? { service_account: { namespace, name } } : {}
}

/**
 * Whether a caller may have a workload identity: the deny labels of every role, then one role whose `workload_identity_labels` match, then the deny
 * rules of the resource, then one of its allow rules where it has any. What cannot be told refuses. Never throws.
 */
export function checkWorkloadIdentity(
  roleSet: RoleSet,
  { metadata, spec }: WorkloadIdentity,
  attributes: Attributes,
  { mfaVerified, requireMfa }: { mfaVerified: boolean; requireMfa: boolean },
): Decision {
  const { identity, roles } = roleSet
  const view = { name: metadata.name, labels: metadata.labels ?? {}, kind: 'workload_identity' as const }
  const refuse = (kind: DenialKind, by: string | null, why: string): Decision => ({
    allow: false,
    kind,
    by,
    reason: `access to workload identity ${JSON.stringify(metadata.name)} denied: ${why}; ask your administrator`,
  })
  const denying = roles.find((role) => deniesServer(role, view, identity).holds)
  if (denying) return refuse('deny_rule', denying.name, 'by a deny rule')
  const granting = roles.filter((role) => allowsServer(role, view, identity).holds)
  const [first] = granting
  if (!first) return refuse('no_labels', null, 'no role has workload_identity_labels for it')
  const strict = granting.find((role) => role.requireMfa)
  if ((requireMfa || strict) && !mfaSatisfied(identity, mfaVerified))
    return refuse('mfa_required', strict?.name ?? null, 'log in again with your second factor')
  const { allow = [], deny = [] } = spec.rules ?? {}
  if (deny.some((rule) => settle(true, () => ruleHolds(rule, attributes, true)).holds))
    return refuse('no_workload_rule', null, 'one of its deny rules fits this workload')
  if (allow.length > 0 && !allow.some((rule) => settle(false, () => ruleHolds(rule, attributes, false)).holds))
    return refuse('no_workload_rule', null, 'none of its allow rules fits this workload')
  return { allow: true, by: first.name }
}

function ruleHolds({ conditions, expression }: AttributeRule, attributes: Attributes, isDeny: boolean): boolean {
  if (expression !== undefined) return evaluateWorkloadRule(expression, attributes)
  return (conditions ?? []).every((condition) => conditionHolds(condition, attributes, isDeny))
}

/** What is not there is not equal to anything: that refuses in a deny rule, and grants nothing in an allow rule. */
function conditionHolds(
  { attribute, eq, not_eq, in: within, not_in }: AttributeCondition,
  attributes: Attributes,
  isDeny: boolean,
): boolean {
  const found = findText(attributes, attribute)
  const wanted = eq ? [eq.value] : not_eq ? [not_eq.value] : (within?.values ?? not_in?.values ?? [])
  const isNegative = not_eq !== undefined || not_in !== undefined
  if (found === undefined) return isNegative && isDeny
  return wanted.includes(found) !== isNegative
}

const TEMPLATE = /\{\{\s*([^{}]*?)\s*\}\}/g
const PATH = /^(?:user|join)(?:\.[A-Za-z_][\w-]*)+$/
const MAX_FILLED = 2048

/** A text with its `{{…}}` filled in. Throws `failed_precondition` for an attribute that the caller does not have, `invalid_argument` for other braces. */
export function fillTemplate(text: string, attributes: Attributes): string {
  const filled = text.replaceAll(TEMPLATE, (_, path: string) => {
    if (!PATH.test(path)) throw notTemplate(text)
    const found = findText(attributes, path)
    if (found === undefined)
      throw new AppError('failed_precondition', `${JSON.stringify(text)} names ${path}, which this workload does not have`)
    return found
  })
  if (/\{\{|\}\}/.test(text.replaceAll(TEMPLATE, ''))) throw notTemplate(text)
  if (filled.length > MAX_FILLED)
    throw new AppError('failed_precondition', `${JSON.stringify(text)} becomes longer than ${MAX_FILLED} characters`)
  return filled
}

/** The same in every text of a JSON value. */
export function fillTemplates(value: unknown, attributes: Attributes): unknown {
  if (typeof value === 'string') return fillTemplate(value, attributes)
  if (Array.isArray(value)) return value.map((item) => fillTemplates(item, attributes))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fillTemplates(item, attributes)]))
}

/** SPIFFE-ID, section 2.2: letters, digits, dots, dashes and underscores; no empty or relative segments, nothing after the last. */
const SPIFFE_PATH = /^(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._-]+)+$/

/** The SPIFFE ID of a workload. Throws `failed_precondition` when what is filled in does not make one. */
export function renderSpiffeId(trustDomain: string, { metadata, spec }: WorkloadIdentity, attributes: Attributes): string {
  const path = fillTemplate(spec.spiffe.id, attributes)
  const id = `spiffe://${trustDomain}${path}`
  if (!SPIFFE_PATH.test(path) || Buffer.byteLength(id) > 2048)
    throw new AppError(
      'failed_precondition',
      `the workload identity "${metadata.name}" gives this workload the path ${JSON.stringify(path)}: a SPIFFE ID has letters, digits, ".", "-" and "_" between its slashes`,
    )
  return id
}

/** What parses but will not work: templates and expressions, one sentence each. */
export function findWorkloadIdentityFaults({ spec }: WorkloadIdentity): string[] {
  const { id, x509, jwt } = spec.spiffe
  const { common_name, organization, organizational_unit } = x509?.subject_template ?? {}
  const named = [common_name, organization, organizational_unit].filter((text) => text !== undefined)
  const texts = [id, ...(x509?.dns_sans ?? []), ...named, ...textsIn(jwt?.extra_claims)]
  const rules = [...(spec.rules?.allow ?? []), ...(spec.rules?.deny ?? [])]
  const faults = rules.flatMap(({ expression }) => (expression === undefined ? [] : (checkExpression(expression, 'workload') ?? [])))
  for (const text of texts)
    for (const [whole, path = ''] of text.matchAll(TEMPLATE))
      if (!PATH.test(path)) faults.push(`${JSON.stringify(whole)} names no attribute: write {{user.NAME}} or {{join.NAME}}`)
  if (!SPIFFE_PATH.test(id.replaceAll(TEMPLATE, 'x'))) faults.push(`spec.spiffe.id: ${JSON.stringify(id)} makes no SPIFFE ID`)
  return faults
}

function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsIn) : []
}

/** A list with one value is that value. */
function findText(attributes: Attributes, path: string): string | undefined {
  const found = path
    .split('.')
    .reduce<unknown>(
      (place, step) => (typeof place === 'object' && place !== null && Object.hasOwn(place, step) ? Reflect.get(place, step) : undefined),
      attributes,
    )
  const value: unknown = Array.isArray(found) && found.length === 1 ? found[0] : found
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined
}

function notTemplate(text: string): AppError {
  return new AppError('invalid_argument', `${JSON.stringify(text)} is not a template: write {{user.NAME}} or {{join.NAME}}`)
}
