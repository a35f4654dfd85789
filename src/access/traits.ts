import { AppError } from '../lib/errors.ts'
import type { Conditions, Role, Selector } from '../resources/role.ts'
import type { Traits } from '../resources/user.ts'
import { replaceRegex } from './match.ts'
import { type Expression, parseTemplate } from './template.ts'

/**
 * What a text of a role stands for with these traits: a text without template itself; a template one text for each value of the trait,
 * with what stands around the braces; nothing when the trait is missing or empty. Throws `invalid_argument` for a bad template.
 */
export function expandValue(text: string, traits: Traits): string[] {
  const template = parseTemplate(text)
  if (!template) return [text]
  return evaluate(template.expression, traits)
    .filter((value) => value !== '')
    .map((value) => template.prefix + value + template.suffix)
}

/** A list of a role with these traits; entries of missing traits vanish, repetitions too. Throws `invalid_argument`. */
export function expandList(patterns: readonly string[], traits: Traits): string[] {
  return [...new Set(patterns.flatMap((pattern) => expandValue(pattern, traits)))]
}

/**
 * A selector with these traits. A value of a missing trait becomes the empty text, a key takes the first value of its trait (or
 * the empty text): neither finds a resource. Throws `invalid_argument` for a bad template and for two keys that become one, since
 * neither "and" nor "or" could be kept between them.
 */
export function expandSelector(selector: Selector, traits: Traits): Selector {
  const expanded = new Map<string, string[]>()
  for (const [rawKey, rawValues] of Object.entries(selector)) {
    const key = expandValue(rawKey, traits)[0] ?? ''
    if (expanded.has(key)) throw new AppError('invalid_argument', `two keys of a label selector become ${JSON.stringify(key)}`)
    expanded.set(
      key,
      [rawValues].flat().flatMap((value) => expandLabelValue(value, traits)),
    )
  }
  return Object.fromEntries(expanded)
}

/** What is wrong with the templates of a role, one sentence each with the place; empty when all is well. */
export function checkTemplates(role: Role): string[] {
  return [...checkConditions('spec.allow', role.spec.allow), ...checkConditions('spec.deny', role.spec.deny)]
}

function expandLabelValue(value: string, traits: Traits): string[] {
  const values = expandValue(value, traits)
  return values.length > 0 ? values : ['']
}

function evaluate(expression: Expression, traits: Traits): string[] {
  switch (expression.kind) {
    case 'trait':
      return Object.hasOwn(traits, expression.name) ? (traits[expression.name] ?? []) : []
    case 'email_local':
      return evaluate(expression.of, traits).map(emailLocal)
    case 'replace':
      return evaluate(expression.of, traits).map((value) => replaceRegex(expression.pattern, value, expression.replacement) ?? '')
  }
}

/** `ana` of `ana@example.com` or `Ana <ana@example.com>`; empty for what is no address, which makes the value vanish. */
function emailLocal(address: string): string {
  const open = address.indexOf('<')
  const bare = open >= 0 && address.endsWith('>') ? address.slice(open + 1, -1) : address
  const at = bare.lastIndexOf('@')
  return at > 0 && at < bare.length - 1 && !/[\s<>]/.test(bare) ? bare.slice(0, at) : ''
}

function checkConditions(place: string, conditions: Conditions | undefined): string[] {
  const texts: [string, string][] = []
  for (const field of ['app_labels', 'db_labels'] as const) {
    for (const [key, values] of Object.entries(conditions?.[field] ?? {})) {
      for (const text of [key, ...[values].flat()]) texts.push([`${place}.${field}`, text])
    }
  }
  for (const field of ['db_users', 'db_names'] as const) {
    for (const text of conditions?.[field] ?? []) texts.push([`${place}.${field}`, text])
  }
  for (const field of ['tools', 'resources', 'prompts', 'methods'] as const) {
    for (const text of conditions?.mcp?.[field] ?? []) texts.push([`${place}.mcp.${field}`, text])
  }
  for (const rule of conditions?.mcp?.rules ?? []) {
    for (const text of rule.tools) texts.push([`${place}.mcp.rules`, text])
  }
  return texts.flatMap(([where, text]) => findFault(where, text))
}

/** With no traits nothing is matched, so a bad pattern inside a template has to be tried on a text of its own. */
function findFault(place: string, text: string): string[] {
  try {
    const template = parseTemplate(text)
    for (let part = template?.expression; part && part.kind !== 'trait'; part = part.of) {
      if (part.kind === 'replace') replaceRegex(part.pattern, '', part.replacement)
    }
    return []
  } catch (thrown) {
    if (thrown instanceof AppError) return [`${place}: ${thrown.message}`]
    throw thrown
  }
}
