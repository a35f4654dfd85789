import type { Identity } from '../resources/identity.ts'
import type { Conditions, Role, Rule, Selector } from '../resources/role.ts'
import { requiresSessionMfa } from '../resources/session-mfa.ts'
import { type LabelMatcher, compileSelector } from './labels.ts'
import { compileMatcherLate, type Matcher, matchesAny } from './match.ts'
import { systemRules } from './system-roles.ts'
import { expandSelector, expandValue } from './traits.ts'

/** The roles of one identity, with its traits filled in and every pattern compiled. Immutable: made once, asked for every request. */
export interface RoleSet {
  readonly identity: Identity
  readonly roles: readonly CompiledRole[]
  /** What the system roles of a host allow; empty for everybody else. */
  readonly hostRules: readonly Rule[]
}

export interface CompiledRole {
  readonly name: string
  readonly requireMfa: boolean
  readonly allow: CompiledConditions
  readonly deny: CompiledConditions
}

/** Fields a role does not set are undefined, apart from lists that mean the same empty. */
export interface CompiledConditions {
  readonly labels: LabelMatcher | undefined
  /** As it stands in the role, for explanations. */
  readonly selector: Selector | undefined
  readonly labelsExpression: string | undefined
  readonly tools: NameList
  readonly resources: NameList | undefined
  readonly prompts: NameList | undefined
  readonly methods: NameList
  readonly argumentRules: readonly ArgumentRule[]
  readonly databases: CompiledDatabases
  readonly workloadIdentities: Pick<CompiledDatabases, 'labels' | 'labelsExpression'>
  readonly rules: readonly Rule[]
}

/** What a role says about databases. */
export interface CompiledDatabases {
  readonly labels: LabelMatcher | undefined
  /** As it stands in the role, for explanations. */
  readonly selector: Selector | undefined
  readonly labelsExpression: string | undefined
  readonly users: NameList
  readonly names: NameList
}

export interface NameList {
  /** As they stand after traits are filled in; entries that could not be are left out. */
  readonly patterns: readonly string[]
  /** Throws AppError when none matches and a bad entry leaves the answer open. */
  readonly matches: Matcher
}

export interface ArgumentRule {
  readonly tools: NameList
  readonly where: string
}

/**
 * Compiles the roles of an identity; `roles` are the resources of exactly the roles it bears. Never throws: what is wrong in a role
 * (a bad pattern, template or expression) refuses when it is asked, so that it cannot hide the deny rules beside it.
 * A role that a token was not made for keeps its deny part: leaving it out must not open what it closes.
 */
export function compileRoles(roles: readonly Role[], identity: Identity): RoleSet {
  const compiled = roles.map((role) => compileRole(role, identity))
  return { identity, roles: compiled, hostRules: identity.kind === 'host' ? systemRules(identity.roles) : [] }
}

function compileRole(role: Role, identity: Identity): CompiledRole {
  const grants = identity.grantingRoles?.includes(role.metadata.name) ?? true
  return {
    name: role.metadata.name,
    requireMfa: requiresSessionMfa(role.spec.options?.require_session_mfa),
    allow: compileConditions(grants ? role.spec.allow : undefined, identity),
    deny: compileConditions(role.spec.deny, identity),
  }
}

function compileConditions(conditions: Conditions | undefined, identity: Identity): CompiledConditions {
  const mcp = conditions?.mcp
  return {
    labels: compileLabels(conditions?.app_labels, identity),
    selector: conditions?.app_labels,
    // As with labels, an empty expression is one that is not set.
    labelsExpression: conditions?.app_labels_expression || undefined,
    tools: compileNames(mcp?.tools ?? [], identity),
    resources: mcp?.resources && compileNames(mcp.resources, identity),
    prompts: mcp?.prompts && compileNames(mcp.prompts, identity),
    methods: compileNames(mcp?.methods ?? [], identity),
    argumentRules: (mcp?.rules ?? []).map((rule) => ({ tools: compileNames(rule.tools, identity), where: rule.where })),
    databases: {
      labels: compileLabels(conditions?.db_labels, identity),
      selector: conditions?.db_labels,
      labelsExpression: conditions?.db_labels_expression || undefined,
      users: compileNames(conditions?.db_users ?? [], identity),
      names: compileNames(conditions?.db_names ?? [], identity),
    },
    workloadIdentities: {
      labels: compileLabels(conditions?.workload_identity_labels, identity),
      labelsExpression: conditions?.workload_identity_labels_expression || undefined,
    },
    rules: conditions?.rules ?? [],
  }
}

function compileLabels(selector: Selector | undefined, identity: Identity): LabelMatcher | undefined {
  if (!selector || Object.keys(selector).length === 0) return undefined
  try {
    return compileSelector(expandSelector(selector, identity.traits))
  } catch (fault) {
    return throws(fault)
  }
}

function compileNames(entries: readonly string[], identity: Identity): NameList {
  const patterns = new Set<string>()
  const faults: Matcher[] = []
  for (const entry of entries) {
    try {
      for (const pattern of expandValue(entry, identity.traits)) patterns.add(pattern)
    } catch (fault) {
      faults.push(throws(fault))
    }
  }
  const matchers = [...[...patterns].map(compileMatcherLate), ...faults]
  return { patterns: [...patterns], matches: (name) => matchesAny(matchers, name) }
}

function throws(fault: unknown): () => never {
  return () => {
    throw fault
  }
}
