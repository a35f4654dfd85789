import { AppError } from '../../lib/errors.ts'
import { renderNearest } from '../../lib/nearest.ts'
import type { AuthContext } from './context.ts'

/** Throws `failed_precondition` naming the first role that does not exist. */
export function checkRolesExist(context: Pick<AuthContext, 'live'>, roles: readonly string[]): void {
  const missing = roles.find((role) => !context.live.find('role', role))
  if (missing === undefined) return
  const names = context.live.list('role').map(({ metadata }) => metadata.name)
  const hint = renderNearest(missing, names)
  throw new AppError('failed_precondition', `role "${missing}" does not exist${hint}: create it first (tctl create role.yaml)`)
}

/** Users and bots, as messages name them. */
export function findHoldersOfRole(context: Pick<AuthContext, 'live'>, role: string): string[] {
  const has = ({ spec }: { spec: { roles: readonly string[] } }) => spec.roles.includes(role)
  const users = context.live.list('user').filter(has)
  const bots = context.live.list('bot').filter(has)
  return [...users.map(({ metadata }) => metadata.name), ...bots.map(({ metadata }) => `bot ${metadata.name}`)]
}
