import type { TeamMapping } from '../resources/github.ts'
import type { ClaimMapping } from '../resources/oidc.ts'
import { compileMatcher, replaceRegex } from './match.ts'

/** What an identity provider says of a person, by claim. */
export type Claims = Readonly<Record<string, readonly string[]>>

/** A team of an organization of GitHub, by slug. */
export interface Team {
  organization: string
  team: string
}

/**
 * The roles that claims give, without repetition. Names of claims and values count by case. A mapping that cannot be decided gives nothing.
 */
export function rolesOfClaims(mappings: readonly ClaimMapping[], claims: Claims): string[] {
  const roles = mappings.flatMap((mapping) => {
    const values = Object.hasOwn(claims, mapping.claim) ? (claims[mapping.claim] ?? []) : []
    return values.flatMap((value) => rolesOfValue(mapping, value))
  })
  return [...new Set(roles.filter((role) => role !== ''))]
}

/** The roles that membership of teams gives. GitHub's names do not count by case. */
export function rolesOfTeams(mappings: readonly TeamMapping[], teams: readonly Team[]): string[] {
  const isMember = ({ organization, team }: TeamMapping): boolean =>
    teams.some((held) => isSame(held.organization, organization) && (team === '*' || isSame(held.team, team)))
  return [...new Set(mappings.filter(isMember).flatMap(({ roles }) => roles))]
}

/** Throws `invalid_argument` naming a value that is no pattern. */
export function checkClaimMappings(mappings: readonly ClaimMapping[]): void {
  for (const { value } of mappings) compileMatcher(value)
}

function rolesOfValue({ value: pattern, roles }: ClaimMapping, value: string): string[] {
  try {
    if (!compileMatcher(pattern)(value)) return []
    const regex = toRegex(pattern)
    return roles.map((role) => (regex === undefined || !role.includes('$') ? role : (replaceRegex(regex, value, role) ?? '')))
  } catch {
    // Patterns are checked when they are saved; what is left is a value that is too long.
    return []
  }
}

/** The same with a group for each star; undefined for a pattern without groups. */
function toRegex(pattern: string): string | undefined {
  if (pattern.length > 1 && pattern.startsWith('^') && pattern.endsWith('$')) return pattern
  if (!pattern.includes('*')) return undefined
  return `^(?s:${pattern.split('*').map(quote).join('(.*)')})$`
}

function quote(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
}

function isSame(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase()
}
