import type { Resource } from '../resources/envelope.ts'
import type { Rule, Verb } from '../resources/role.ts'
import {
  allowsArguments,
  allowsName,
  allowsServer,
  deniesArguments,
  deniesName,
  deniesServer,
  mfaRequiredAlways,
  mfaSatisfied,
  type Named,
  rulesFor,
  type ServerView,
  settle,
} from './conditions.ts'
import type { Decision, DenialKind, Denied } from './decision.ts'
import { evaluateWhere } from './predicate.ts'
import type { ArgumentRule, CompiledRole, RoleSet } from './role-set.ts'

/** What one identity may do on one MCP server. */
export interface ServerAccess {
  /** Whether it may reach the server at all. */
  readonly decision: Decision
  /**
   * Whether it may see or use what has this name; a missing name is checked as ''.
   * `check('tool', name)` is about being seen in a list: argument rules are left aside. `check('tool', name, args)` is about a
   * call and obeys them, also when `args` is undefined because the call brought none.
   */
  check(what: Named, name: string | undefined, ...call: [args?: unknown]): Decision
  /** The tool patterns of the roles that grant the server, and those denied by any role, as `tsh mcp ls` shows them. */
  allowedTools(): { allowed: string[]; denied: string[] }
}

export interface AccessFacts {
  mfaVerified: boolean
  /** The cluster requires a second factor for every session. */
  requireMfa: boolean
}

const MAX_REMEMBERED = 10_000
const MAX_REMEMBERED_CHARS = 256

/**
 * Decides over one server, once, for every question that follows. In this order: the scope of the token, a second factor required
 * of everybody, then the deny part of every role, then each role by itself: its labels and its patterns have to match together,
 * and a second factor is asked for if a granting role wants one. Nothing granted is denied. What cannot be evaluated neither
 * grants nor stops denying. Answers about names are remembered, so that asking again costs one lookup. Never throws.
 */
export function serverAccess(roleSet: RoleSet, server: ServerView, facts: AccessFacts): ServerAccess {
  const granting = roleSet.roles.filter((role) => allowsServer(role, server, roleSet.identity).holds)
  const view: View = {
    set: roleSet,
    server,
    granting,
    mfa: mfaSatisfied(roleSet.identity, facts.mfaVerified),
    refusal: findRefusal(roleSet, server, facts),
  }
  const decision = decideServer(view)
  const plans = new Map<string, Plan>()
  return {
    decision,
    check: (what, name = '', ...call) => {
      const plan = remembered(plans, `${what} ${name}`, () => makePlan(view, what, name))
      return call.length === 0 || !plan.hasRules ? plan.visible : decideCall(view, plan, name, call[0])
    },
    allowedTools: () => {
      const patternsOf = (role: CompiledRole) => (server.kind === 'db' ? ['*'] : role.allow.tools.patterns)
      const allowed = decision.allow ? granting.flatMap(patternsOf) : []
      const denied = roleSet.roles.flatMap((role) => role.deny.tools.patterns)
      return { allowed: [...new Set(allowed)], denied: [...new Set(denied)] }
    },
  }
}

interface View {
  set: RoleSet
  server: ServerView
  /** The roles whose allow part holds for the server. */
  granting: readonly CompiledRole[]
  /** A second factor was given, or none is asked for. */
  mfa: boolean
  /** What refuses the server as a whole, whatever is asked for on it. */
  refusal: Refusal | undefined
}

interface Refusal {
  kind: DenialKind
  by: string | null
}

/** What is known about a name before any arguments are. */
interface Plan {
  visible: Decision
  grants: { role: CompiledRole; rules: ArgumentRule[] }[]
  denyRules: { role: CompiledRole; rule: ArgumentRule }[]
  /** False: arguments cannot change the decision. */
  hasRules: boolean
}

function findRefusal({ identity, roles }: RoleSet, server: ServerView, facts: AccessFacts): Refusal | undefined {
  if (identity.servers && !identity.servers.includes(server.name)) return { kind: 'token_scope', by: null }
  if (mfaRequiredAlways(roles, facts.requireMfa) && !mfaSatisfied(identity, facts.mfaVerified)) return { kind: 'mfa_required', by: null }
  const denying = roles.find((role) => deniesServer(role, server, identity).holds)
  return denying && { kind: 'deny_rule', by: denying.name }
}

function decideServer(view: View): Decision {
  if (view.refusal) return deny(view, view.refusal)
  if (view.granting.length === 0) return deny(view, nothingGrants(view))
  return conclude(view, view.granting)
}

function makePlan(view: View, what: Named, name: string): Plan {
  const { set, granting } = view
  const refuse = (refusal: Refusal): Plan => ({ visible: deny(view, refusal, what, name), grants: [], denyRules: [], hasRules: false })
  if (view.refusal) return refuse(view.refusal)
  const denying = set.roles.find((role) => deniesName(role, what, name).holds)
  if (denying) return refuse({ kind: 'deny_rule', by: denying.name })
  if (granting.length === 0) return refuse(nothingGrants(view))

  const roles = granting.filter((role) => allowsName(role, view.server, what, name).holds)
  if (roles.length === 0) return refuse({ kind: what === 'method' ? 'unknown_method' : `no_${what}`, by: null })
  const hasArguments = what === 'tool'
  const hasAllowRules = hasArguments && view.server.kind !== 'db'
  const grants = roles.map((role) => ({ role, rules: hasAllowRules ? rulesFor(role.allow, name) : [] }))
  const denyRules = hasArguments ? set.roles.flatMap((role) => rulesFor(role.deny, name).map((rule) => ({ role, rule }))) : []
  const hasRules = denyRules.length > 0 || grants.some(({ rules }) => rules.length > 0)
  return { visible: conclude(view, roles, what, name), grants, denyRules, hasRules }
}

function decideCall(view: View, plan: Plan, tool: string, args: unknown): Decision {
  const { server, set } = view
  const denying = plan.denyRules.find(({ rule }) => deniesArguments(rule, server, set.identity, args).holds)
  if (denying) return deny(view, { kind: 'deny_rule', by: denying.role.name }, 'tool', tool)
  const roles = plan.grants
    .filter(({ rules }) => rules.every((rule) => allowsArguments(rule, tool, server, set.identity, args).holds))
    .map(({ role }) => role)
  return roles.length === 0 ? deny(view, { kind: 'no_argument_rule', by: null }, 'tool', tool) : conclude(view, roles, 'tool', tool)
}

/** These roles grant it; the strictest of them says whether a second factor is needed. */
function conclude(view: View, granting: readonly CompiledRole[], what?: Named, name?: string): Decision {
  const strict = view.mfa ? undefined : granting.find((role) => role.requireMfa)
  if (strict) return deny(view, { kind: 'mfa_required', by: strict.name }, what, name)
  return { allow: true, by: granting[0]?.name ?? '' }
}

function nothingGrants({ set }: View): Refusal {
  return { kind: set.roles.length === 0 ? 'no_role' : 'no_labels', by: null }
}

function deny({ server }: View, { kind, by }: Refusal, what?: Named, name = ''): Denied {
  const place = `MCP server ${quote(server.name)}`
  const target = what ? `${what} ${quote(name)} of ${place}` : place
  return { allow: false, kind, by, reason: `access to ${target} ${WORDS[kind] ?? WORDS.no_role}` }
}

/** Names come from callers: neither many nor long ones may fill the memory. */
function remembered(plans: Map<string, Plan>, key: string, make: () => Plan): Plan {
  const known = plans.get(key)
  if (known) return known
  const plan = make()
  if (plans.size < MAX_REMEMBERED && key.length <= MAX_REMEMBERED_CHARS) plans.set(key, plan)
  return plan
}

/** What a caller is told: enough to know whom to ask for what, nothing of what the rules say. */
const WORDS: Partial<Record<DenialKind, string>> & { no_role: string } = {
  no_role: 'denied: no role allows it; ask your administrator',
  deny_rule: 'denied by a deny rule; ask your administrator',
  no_argument_rule: 'denied: no role allows it with these arguments; ask your administrator',
  unknown_method: 'denied: this gateway does not know it, and no role lets it pass; ask your administrator',
  mfa_required: 'requires MFA: log in again with your second factor',
  token_scope: 'denied: this API token is not made for it; use one that names this server',
}

/**
 * Whether an administrative action is allowed: a deny rule of any role refuses, then an allow rule of any role grants. Which of
 * several matching rules is the most specific plays no part, since the outcome of all is the same. A `where` that cannot be
 * evaluated, for instance because it speaks of the resource and none is given, denies in deny and does not grant in allow: to
 * list under such rules, ask once for each resource. A token that is limited to certain servers administers nothing.
 */
export function checkVerb(roleSet: RoleSet, kind: string, verb: Verb, resource?: Resource): Decision {
  const reason = `access denied to perform action "${verb}" on "${kind}"`
  const { identity, roles } = roleSet
  if (identity.servers) return { allow: false, kind: 'token_scope', by: null, reason }
  const denying = roles.find(({ deny }) =>
    deny.rules.some((rule) => ruleApplies(rule, kind, verb, 'deny') && whereHolds(rule, roleSet, resource, true)),
  )
  if (denying) return { allow: false, kind: 'deny_rule', by: denying.name, reason }
  const grants = (rule: Rule) => ruleApplies(rule, kind, verb, 'allow') && whereHolds(rule, roleSet, resource, false)
  const granting =
    roles.find(({ allow }) => allow.rules.some(grants))?.name ?? (roleSet.hostRules.some(grants) ? identity.roles.join(',') : undefined)
  return granting === undefined ? { allow: false, kind: 'no_role', by: null, reason } : { allow: true, by: granting }
}

/** To read includes to read without secrets; who is denied even that is denied to read. */
function ruleApplies(rule: Rule, kind: string, verb: Verb, part: 'allow' | 'deny'): boolean {
  if (!rule.resources.includes('*') && !rule.resources.includes(kind)) return false
  if (rule.verbs.includes('*') || rule.verbs.includes(verb)) return true
  if (verb === 'readnosecrets') return rule.verbs.includes('read')
  return part === 'deny' && verb === 'read' && rule.verbs.includes('readnosecrets')
}

function whereHolds(rule: Rule, { identity }: RoleSet, resource: Resource | undefined, onError: boolean): boolean {
  if (!rule.where) return true
  return settle(onError, () => evaluateWhere(rule.where ?? '', { identity, resource })).holds
}

function quote(text: string): string {
  return JSON.stringify(text.length > 128 ? `${text.slice(0, 128)}…` : text)
}
