import { type AccessFacts, serverAccess } from './check.ts'
import { allowsServer, mfaSatisfied, type ServerView, settle } from './conditions.ts'
import type { Decision, DenialKind } from './decision.ts'
import type { CompiledRole, RoleSet } from './role-set.ts'

/** As whom somebody wants to connect to which database of a database server. */
export interface DatabaseSession {
  user: string
  name: string
}

/**
 * Whether an identity may connect so: everything that `serverAccess` asks of the server, then the deny part of every role, in which one
 * user or name is enough, then one role whose labels, `db_users` and `db_names` all match. Never throws.
 */
export function checkDatabase(roleSet: RoleSet, server: ServerView, session: DatabaseSession, facts: AccessFacts): Decision {
  const { decision } = serverAccess(roleSet, server, facts)
  if (!decision.allow) return decision
  const denying = roleSet.roles.find((role) => denies(role, session))
  if (denying) return refuse(session, 'deny_rule', denying.name, 'by a deny rule')
  const labelled = roleSet.roles.filter((role) => allowsServer(role, server, roleSet.identity).holds)
  const withUser = labelled.filter((role) => settle(false, () => role.allow.databases.users.matches(session.user)).holds)
  if (withUser.length === 0) return refuse(session, 'no_db_user', null, 'no role lists this user in db_users')
  const granting = withUser.filter((role) => settle(false, () => role.allow.databases.names.matches(session.name)).holds)
  if (granting.length === 0) return refuse(session, 'no_db_name', null, 'no role that lists this user lists the database in db_names')
  const strict = mfaSatisfied(roleSet.identity, facts.mfaVerified) ? undefined : granting.find((role) => role.requireMfa)
  if (strict) return refuse(session, 'mfa_required', strict.name, 'log in again with your second factor')
  return { allow: true, by: granting[0]?.name ?? '' }
}

/** The users and names that roles list for a database, as `tsh db ls` shows them; a denied one is in both lists. */
export function databasePatterns(roleSet: RoleSet, server: ServerView): Record<'users' | 'names', { allowed: string[]; denied: string[] }> {
  const granting = roleSet.roles.filter((role) => allowsServer(role, server, roleSet.identity).holds)
  const patterns = (what: 'users' | 'names') => ({
    allowed: [...new Set(granting.flatMap((role) => role.allow.databases[what].patterns))],
    denied: [...new Set(roleSet.roles.flatMap((role) => role.deny.databases[what].patterns))],
  })
  return { users: patterns('users'), names: patterns('names') }
}

/** What cannot be told refuses. */
function denies({ deny }: CompiledRole, { user, name }: DatabaseSession): boolean {
  return settle(true, () => deny.databases.users.matches(user)).holds || settle(true, () => deny.databases.names.matches(name)).holds
}

function refuse({ user, name }: DatabaseSession, kind: DenialKind, by: string | null, why: string): Decision {
  const target = `database ${quote(name)} as user ${quote(user)}`
  return { allow: false, kind, by, reason: `access to ${target} denied: ${why}; ask your administrator` }
}

function quote(text: string): string {
  return JSON.stringify(text.length > 128 ? `${text.slice(0, 128)}…` : text)
}
