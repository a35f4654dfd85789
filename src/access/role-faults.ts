import { AppError } from '../lib/errors.ts'
import type { Conditions, Role } from '../resources/role.ts'
import type { ExpressionMode } from './expression.ts'
import { compileMatcher } from './match.ts'
import { checkExpression } from './predicate.ts'
import { checkTemplates } from './traits.ts'

/**
 * Everything in a role that parses but will not work: templates, patterns, expressions. One sentence each with its place; empty
 * when all is well. Such a role can be saved; what is wrong in it grants nothing and keeps denying.
 */
export function findRoleFaults(role: Role): string[] {
  return [
    ...checkTemplates(role),
    ...findConditionFaults('spec.allow', role.spec.allow),
    ...findConditionFaults('spec.deny', role.spec.deny),
  ]
}

/**
 * Patterns over MCP that begin like a regular expression and do not end like one: they would be taken word for word, match nothing, and so leave
 * open what they are to deny. One sentence each with its place.
 */
export function findHalfRegexes({ spec: { allow, deny } }: Role): string[] {
  return [...halfRegexesOf('spec.allow', allow), ...halfRegexesOf('spec.deny', deny)]
}

function halfRegexesOf(place: string, conditions: Conditions | undefined): string[] {
  const { tools, resources, prompts, methods, rules } = conditions?.mcp ?? {}
  const lists = { tools, resources, prompts, methods, rules: rules?.flatMap((rule) => rule.tools) }
  return Object.entries(lists).flatMap(([name, patterns = []]) =>
    patterns
      .filter((pattern) => pattern.startsWith('^') && !pattern.endsWith('$') && !pattern.includes('{{'))
      .map(
        (pattern) =>
          `${place}.mcp.${name}: ${JSON.stringify(pattern)} begins with ^, so it has to end with $: a regular expression has both`,
      ),
  )
}

function findConditionFaults(place: string, conditions: Conditions | undefined): string[] {
  if (!conditions) return []
  const { mcp } = conditions
  return [
    ...findPatternFaults(`${place}.app_labels`, Object.values(conditions.app_labels ?? {}).flat()),
    ...findPatternFaults(`${place}.db_labels`, Object.values(conditions.db_labels ?? {}).flat()),
    ...findPatternFaults(`${place}.workload_identity_labels`, Object.values(conditions.workload_identity_labels ?? {}).flat()),
    ...findPatternFaults(`${place}.db_users`, conditions.db_users ?? []),
    ...findPatternFaults(`${place}.db_names`, conditions.db_names ?? []),
    ...findPatternFaults(`${place}.mcp.tools`, mcp?.tools ?? []),
    ...findPatternFaults(`${place}.mcp.resources`, mcp?.resources ?? []),
    ...findPatternFaults(`${place}.mcp.prompts`, mcp?.prompts ?? []),
    ...findPatternFaults(`${place}.mcp.methods`, mcp?.methods ?? []),
    ...findPatternFaults(
      `${place}.mcp.rules`,
      (mcp?.rules ?? []).flatMap((rule) => rule.tools),
    ),
    ...findExpressionFaults(`${place}.app_labels_expression`, 'labels', [conditions.app_labels_expression]),
    ...findExpressionFaults(`${place}.db_labels_expression`, 'labels', [conditions.db_labels_expression]),
    ...findExpressionFaults(`${place}.workload_identity_labels_expression`, 'labels', [conditions.workload_identity_labels_expression]),
    ...findExpressionFaults(
      `${place}.mcp.rules`,
      'argument',
      (mcp?.rules ?? []).map((rule) => rule.where),
    ),
    ...findExpressionFaults(
      `${place}.rules`,
      'where',
      (conditions.rules ?? []).map((rule) => rule.where),
    ),
  ]
}

/** A template is no pattern until its trait is filled in. */
function findPatternFaults(place: string, patterns: readonly string[]): string[] {
  return patterns.flatMap((pattern) => {
    if (pattern.includes('{{')) return []
    try {
      compileMatcher(pattern)
      return []
    } catch (thrown) {
      if (thrown instanceof AppError) return [`${place}: ${thrown.message}`]
      throw thrown
    }
  })
}

function findExpressionFaults(place: string, mode: ExpressionMode, texts: readonly (string | undefined)[]): string[] {
  return texts.flatMap((text) => {
    const fault = text ? checkExpression(text, mode) : undefined
    return fault ? [`${place}: ${fault}`] : []
  })
}
