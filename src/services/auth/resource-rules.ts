import { findSetFaults } from '../../access/mcp-set.ts'
import { findWorkloadIdentityFaults } from '../../access/workload-identity.ts'
import { findHalfRegexes, findRoleFaults } from '../../access/role-faults.ts'
import { buildEvent } from '../../audit/build-event.ts'
import type { AuditEvent } from '../../audit/event.ts'
import { AppError } from '../../lib/errors.ts'
import { type App, isDatabase } from '../../resources/app.ts'
import { findDatabaseName } from '../../resources/db-app.ts'
import type { Resource } from '../../resources/envelope.ts'
import type { Identity } from '../../resources/identity.ts'
import { kindRow } from '../../resources/registry.ts'
import type { Kind, ResourceOf } from '../../resources/registry.ts'
import { botNameOf, botUserName } from '../../resources/bot.ts'
import type { Bot } from '../../resources/bot.ts'
import type { Role } from '../../resources/role.ts'
import type { Token } from '../../resources/token.ts'
import { LOCAL_ADMINISTRATOR } from './context.ts'
import type { AuthContext, KnownCaller } from './context.ts'
import { callerFields } from './event-fields.ts'
import { checkAppAuthConfig } from './foreign-tokens.ts'
import { checkExpectations } from './join/id-token.ts'
import { prepareToken, safeLockTarget, safeTokenName } from './join/join-tokens.ts'
import { findFault } from './offers.ts'
import { checkRelyingParty } from './mfa/relying-party.ts'
import { checkConnector } from './sso/connectors.ts'
import { checkRolesExist, findHoldersOfRole } from './user-rules.ts'

const INTERNAL_LABELS = 'teleport.internal/'
const ORIGIN_LABEL = 'teleport.dev/origin'

export type AnyResource = ResourceOf<Kind>

/** What a kind asks of a resource before it is saved; throws what is wrong and returns what is to be saved. */
export function prepareResource(
  context: AuthContext,
  caller: KnownCaller,
  resource: AnyResource,
  existing: AnyResource | undefined,
): AnyResource {
  const { name } = resource.metadata
  const row = kindRow(resource.kind)
  if (row.singleton !== undefined && row.singleton !== name)
    throw new AppError('invalid_argument', `the only ${resource.kind} is called "${row.singleton}"`)
  if (row.recorded)
    throw new AppError('permission_denied', `a ${resource.kind} is written by the Auth Service itself: it can be read and deleted`)
  if (row.heartbeat) {
    checkHeartbeat(caller.identity, resource)
    if (existing) checkHeartbeat(caller.identity, existing)
    else checkOffers(context, resource)
    checkMayOffer(context, resource)
  }
  if (caller.identity.kind !== 'host') checkInternalLabels(resource, existing)
  if (resource.kind === 'user') {
    if (name === LOCAL_ADMINISTRATOR)
      throw new AppError(
        'invalid_argument',
        `"${name}" is what the audit log calls the administrator on the machine of the Auth Service: choose another name`,
      )
    if (name === botUserName(botNameOf(name)) && context.live.find('bot', botNameOf(name)))
      throw new AppError('invalid_argument', `"${name}" is what the bot "${botNameOf(name)}" is called: choose another name`)
    checkRolesExist(context, resource.spec.roles)
  }
  if (resource.kind === 'oidc' || resource.kind === 'github')
    checkConnector(context, resource, existing?.kind === 'oidc' || existing?.kind === 'github' ? existing : undefined)
  if (resource.kind === 'role') checkPatterns(resource)
  if (resource.kind === 'cluster_auth_preference') checkRelyingParty(context, resource)
  if (resource.kind === 'bot') return prepareBot(context, resource)
  if (resource.kind === 'token') {
    checkExpectations(resource)
    return prepareToken(context, resource, existing)
  }
  if (resource.kind === 'lock') {
    // Who made it and when is nothing a caller says of itself.
    const { created_at = new Date(context.now()).toISOString(), created_by = caller.identity.name } =
      existing?.kind === 'lock' ? existing.spec : {}
    const { join_token } = resource.spec.target
    const target = { ...resource.spec.target, ...(join_token !== undefined && { join_token: safeLockTarget(context, join_token) }) }
    return { ...resource, spec: { ...resource.spec, target, created_at, created_by } }
  }
  if (resource.kind === 'secret' && !existing && resource.spec.value === undefined)
    throw new AppError('invalid_argument', 'spec.value: is needed for a new secret; what is shown of one never has it')
  if (resource.kind === 'app_auth_config') checkAppAuthConfig(resource)
  if (resource.kind === 'app_server') checkServerName(resource.spec.app)
  if (resource.kind === 'app') checkServerName(resource)
  return resource.kind === 'app' || resource.kind === 'db' ? withOrigin(resource) : resource
}

function checkPatterns(role: Role): void {
  const faults = findHalfRegexes(role)
  if (faults.length > 0) throw new AppError('invalid_argument', faults.join('\n'), { details: { faults } })
}

/** What does not stop a save but will not work. */
export function findWarnings(resource: AnyResource): string[] {
  if (resource.kind === 'mcp_set') return findSetFaults(resource)
  if (resource.kind === 'workload_identity') return findWorkloadIdentityFaults(resource)
  return resource.kind === 'role' ? findRoleFaults(resource) : []
}

/** Throws `failed_precondition` when something still needs the resource. */
export function checkDeletable(context: AuthContext, caller: KnownCaller, resource: AnyResource): void {
  if (kindRow(resource.kind).heartbeat) checkHeartbeat(caller.identity, resource)
  if (resource.kind !== 'role') return
  const users = findHoldersOfRole(context, resource.metadata.name)
  if (users.length === 0) return
  const named = users.length > 5 ? `${users.slice(0, 5).join(', ')} and ${users.length - 5} more` : users.join(', ')
  throw new AppError('failed_precondition', `role "${resource.metadata.name}" is in use by ${named}: take it from them first`)
}

export type Action = 'create' | 'update' | 'delete'

const ROLE_EVENTS = { create: 'role.created', update: 'role.updated', delete: 'role.deleted' } as const
const CONNECTOR_EVENTS = { create: 'created', update: 'updated', delete: 'deleted' } as const
const LOCK_EVENTS = { create: 'lock.created', update: 'lock.created', delete: 'lock.deleted' } as const

/** The event of a change; heartbeats have none, there are too many of them. */
export function resourceEvent(context: AuthContext, caller: KnownCaller, action: Action, resource: AnyResource): AuditEvent | undefined {
  const { name, expires, labels } = resource.metadata
  const by = { ...callerFields(caller), success: true, ...(expires !== undefined && { expires }) }
  const named = { ...by, name, ...(labels && { labels }) }
  const { build } = context
  switch (resource.kind) {
    case 'app':
      return action === 'delete'
        ? buildEvent('app.delete', named, build)
        : buildEvent(`app.${action}`, { ...named, app_uri: resource.spec.uri }, build)
    case 'db':
      return action === 'delete'
        ? buildEvent('db.delete', named, build)
        : buildEvent(`db.${action}`, { ...named, db_protocol: resource.spec.protocol, db_uri: resource.spec.uri }, build)
    case 'role':
      return buildEvent(ROLE_EVENTS[action], named, build)
    case 'user':
      return buildEvent(`user.${action}`, { ...named, roles: resource.spec.roles }, build)
    case 'token':
      return buildEvent(`join_token.${action}`, { ...by, ...tokenFields(context, resource) }, build)
    case 'bot':
      return buildEvent(`bot.${action}`, { ...named, roles: resource.spec.roles }, build)
    case 'lock':
      return buildEvent(
        LOCK_EVENTS[action],
        { ...named, target: targetOf(resource.spec.target), ...(resource.spec.message && { reason: resource.spec.message }) },
        build,
      )
    case 'oidc':
    case 'github':
      return buildEvent(`${resource.kind}.${CONNECTOR_EVENTS[action]}`, named, build)
    case 'cluster_auth_preference':
      return buildEvent('auth_preference.update', named, build)
    default:
      return kindRow(resource.kind).heartbeat ? undefined : buildEvent(`resource.${action}`, { ...named, kind: resource.kind }, build)
  }
}

function tokenFields(context: AuthContext, token: Token) {
  const { roles, join_method, bot_name } = token.spec
  return { roles, join_method, join_token: safeTokenName(context, token), ...(bot_name !== undefined && { bot_name }) }
}

function prepareBot(context: AuthContext, bot: Bot): Bot {
  const name = botUserName(bot.metadata.name)
  if (name.length > 255) throw new AppError('invalid_argument', 'metadata.name: must be at most 251 characters')
  if (context.live.find('user', name)) throw new AppError('invalid_argument', `there is a user called "${name}": choose another name`)
  checkRolesExist(context, bot.spec.roles)
  return { ...bot, status: { user_name: name, role_name: name } }
}

function targetOf(target: Record<string, string | undefined>): Record<string, string> {
  return Object.fromEntries(Object.entries(target).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])))
}

/** The names of the MCP servers of databases are not for anybody to give. */
function checkServerName(app: App): void {
  if (findDatabaseName(app.metadata.name) !== undefined || isDatabase(app))
    throw new AppError('invalid_argument', `"${app.metadata.name}" would be the MCP server of a database: register the database as kind db`)
}

/** Only services say what they offer, and an agent only for itself. */
function checkHeartbeat(identity: Identity, resource: AnyResource): void {
  if (identity.kind !== 'host') throw new AppError('permission_denied', `a ${resource.kind} is written by agents only`)
  if (identity.roles.includes('Admin')) return
  if (resource.kind !== 'app_server' && resource.kind !== 'db_server' && resource.kind !== 'proxy') return
  if (resource.spec.host_id !== identity.name)
    throw new AppError('permission_denied', `host_id "${resource.spec.host_id}" is not that of the host "${identity.name}"`)
  if (resource.kind === 'proxy' && resource.metadata.name !== identity.name)
    throw new AppError('permission_denied', `a proxy is called by its host id, "${identity.name}"`)
}

function checkMayOffer(context: AuthContext, resource: AnyResource): void {
  const fault = resource.kind === 'app_server' || resource.kind === 'db_server' ? findFault(context, resource) : undefined
  if (fault !== undefined) throw new AppError('permission_denied', `"${resource.metadata.name}" may not be offered: ${fault}`)
}

/** Of one kind by one agent. Everybody who watches keeps them, the proxy and its pages too: one agent must not fill their memory. */
const MAX_OFFERS = 10_000

function checkOffers({ live }: Pick<AuthContext, 'live'>, resource: AnyResource): void {
  if (resource.kind !== 'app_server' && resource.kind !== 'db_server') return
  const { host_id } = resource.spec
  let count = 0
  for (const { spec } of live.list<'app_server' | 'db_server'>(resource.kind)) if (spec.host_id === host_id) count += 1
  if (count >= MAX_OFFERS)
    throw new AppError('resource_exhausted', `the agent "${host_id}" offers ${MAX_OFFERS} servers already: spread them over more agents`)
}

/** Labels of the system keep what they are: a preset that was edited may be saved again. */
function checkInternalLabels(resource: Resource, existing: Resource | undefined): void {
  for (const [key, value] of Object.entries(resource.metadata.labels ?? {})) {
    if (key.startsWith(INTERNAL_LABELS) && existing?.metadata.labels?.[key] !== value)
      throw new AppError('invalid_argument', `metadata.labels.${key}: labels that begin with ${INTERNAL_LABELS} are set by the system only`)
  }
}

function withOrigin<R extends Resource>(app: R): R {
  if (app.metadata.labels?.[ORIGIN_LABEL] !== undefined) return app
  return { ...app, metadata: { ...app.metadata, labels: { ...app.metadata.labels, [ORIGIN_LABEL]: 'dynamic' } } }
}
