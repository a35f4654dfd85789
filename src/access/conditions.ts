import { AppError } from '../lib/errors.ts'
import type { Labels } from '../resources/envelope.ts'
import type { Identity } from '../resources/identity.ts'
import { evaluateArgumentRule, evaluateLabelsExpression } from './predicate.ts'
import type { ArgumentRule, CompiledConditions, CompiledRole, NameList } from './role-set.ts'
import { followedUris, similarUris } from './uri-readings.ts'

/** An MCP server as roles see it. */
export interface ServerView {
  name: string
  labels: Labels
  /** `db`: the MCP server of a database, over which the `db_…` conditions decide; `workload_identity`: no server, see there. Absent: any other, over which `app_labels` do. */
  kind?: 'db' | 'workload_identity'
}

/** What kinds of things on a server have names that roles decide over; `method` is one the gateway knows nothing about. */
export type Named = 'tool' | 'resource' | 'prompt' | 'method'

/** What one part of a role says. `fault` is set when it could not be told and the safe answer was taken; for administrators only. */
export interface Verdict {
  holds: boolean
  fault?: string
}

const YES: Verdict = { holds: true }
const NO: Verdict = { holds: false }

/** Whether a role refuses the whole server: its deny labels or its deny expression match. What cannot be told refuses. */
export function deniesServer({ deny }: CompiledRole, server: ServerView, identity: Identity): Verdict {
  const conditions = labelConditions(deny, server)
  const labels = settle(true, () => conditions.labels?.(server.labels) ?? false)
  if (labels.holds) return labels
  return settle(true, () => expressionHolds(conditions, server, identity) ?? false)
}

/** Whether a role grants the server: labels and expression hold, each where it is set. With neither set it grants none. */
export function allowsServer({ allow }: CompiledRole, server: ServerView, identity: Identity): Verdict {
  const conditions = labelConditions(allow, server)
  if (!conditions.labels && conditions.labelsExpression === undefined) return NO
  const labels = settle(false, () => conditions.labels?.(server.labels) ?? true)
  if (!labels.holds) return labels
  return settle(false, () => expressionHolds(conditions, server, identity) ?? true)
}

/** Whether a role refuses a name, on whatever server; a resource by whatever URI servers may take for the same. What cannot be told refuses. */
export function deniesName({ deny }: CompiledRole, what: Named, name: string): Verdict {
  const names = namesOf(deny, what)
  if (!names) return NO
  return settle(true, () => names.matches(name) || (what === 'resource' && similarUris(name).some((uri) => names.matches(uri))))
}

/**
 * Whether a role that grants the server grants the name. The tools of a database are ours and fixed: what they may do there is decided by
 * `checkDatabase`. Otherwise: tools and methods have to be listed, resources and prompts only where there is a list. A resource has to be granted by
 * where its URI leads, too.
 */
export function allowsName({ allow }: CompiledRole, server: ServerView, what: Named, name: string): Verdict {
  if (server.kind === 'db' && what !== 'method') return YES
  const names = namesOf(allow, what)
  if (!names) return YES
  return settle(false, () => names.matches(name) && (what !== 'resource' || followedUris(name).every((uri) => names.matches(uri))))
}

/** The argument rules that speak of a tool. One that might, because a pattern is bad, is among them. */
export function rulesFor(conditions: CompiledConditions, tool: string): ArgumentRule[] {
  return conditions.argumentRules.filter((rule) => settle(true, () => rule.tools.matches(tool)).holds)
}

/** Whether a deny rule refuses these arguments. What cannot be told refuses. */
export function deniesArguments(rule: ArgumentRule, server: ServerView, identity: Identity, args: unknown): Verdict {
  return settle(true, () => evaluateArgumentRule(rule.where, { args, user: identity, server }))
}

/** Whether an allow rule lets these arguments through. `tool` tells a rule that certainly speaks of it from one that only might. */
export function allowsArguments(rule: ArgumentRule, tool: string, server: ServerView, identity: Identity, args: unknown): Verdict {
  return settle(false, () => rule.tools.matches(tool) && evaluateArgumentRule(rule.where, { args, user: identity, server }))
}

/** Bots have nobody who could answer a second factor; they are bound by their own short-lived credentials instead. */
export function mfaSatisfied(identity: Identity, mfaVerified: boolean): boolean {
  return mfaVerified || identity.kind === 'bot'
}

/** Whether a second factor is needed whatever is asked for: the cluster says so, or every role does. */
export function mfaRequiredAlways(roles: readonly CompiledRole[], requireMfa: boolean): boolean {
  return requireMfa || (roles.length > 0 && roles.every((role) => role.requireMfa))
}

/** The labels of a role that speak of this kind of server. */
function labelConditions(conditions: CompiledConditions, { kind }: ServerView): LabelConditions {
  if (kind === 'workload_identity') return conditions.workloadIdentities
  return kind === 'db' ? conditions.databases : conditions
}

type LabelConditions = Pick<CompiledConditions, 'labels' | 'labelsExpression'>

function namesOf(conditions: CompiledConditions, what: Named): NameList | undefined {
  switch (what) {
    case 'tool':
      return conditions.tools
    case 'method':
      return conditions.methods
    case 'resource':
      return conditions.resources
    case 'prompt':
      return conditions.prompts
  }
}

function expressionHolds(conditions: LabelConditions, server: ServerView, identity: Identity): boolean | undefined {
  if (conditions.labelsExpression === undefined) return undefined
  return evaluateLabelsExpression(conditions.labelsExpression, { labels: server.labels, identity })
}

/** The answer, or the safe one when an AppError says that there is none. */
export function settle(safe: boolean, ask: () => boolean): Verdict {
  try {
    return ask() ? YES : NO
  } catch (thrown) {
    if (thrown instanceof AppError) return { holds: safe, fault: thrown.message }
    throw thrown
  }
}
