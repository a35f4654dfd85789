import { AppError } from '../../lib/errors.ts'
import type { User } from '../../resources/user.ts'
import type { AuthContext } from './context.ts'

/** Throws `failed_precondition` naming the first role that does not exist. */
export function checkRolesExist(context: Pick<AuthContext, 'live'>, roles: readonly string[]): void {
  const missing = roles.find((role) => !context.live.find('role', role))
  if (missing !== undefined)
    throw new AppError('failed_precondition', `role "${missing}" does not exist: create it first (tctl create role.yaml)`)
}

export function findUsersWithRole(context: Pick<AuthContext, 'live'>, role: string): string[] {
  return context.live
    .list('user')
    .filter((user: User) => user.spec.roles.includes(role))
    .map((user) => user.metadata.name)
}
