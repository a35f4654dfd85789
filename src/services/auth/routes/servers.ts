import { explainAccess as explain } from '../../../access/explain.ts'
import { serverAccess } from '../../../access/check.ts'
import { serverViewOf } from '../../../access/server-view.ts'
import type { OutputOf, ParsedInputOf } from '../../../api/route.ts'
import type { ROUTES } from '../../../api/routes.ts'
import type { VisibleServer } from '../../../api/servers.ts'
import { AppError } from '../../../lib/errors.ts'
import { botNameOf, botTraits, botUserName } from '../../../resources/bot.ts'
import type { Bot } from '../../../resources/bot.ts'
import { databaseApp } from '../../../resources/db-app.ts'
import { betterHealth, type Health } from '../../../resources/app-server.ts'
import type { Identity } from '../../../resources/identity.ts'
import type { User } from '../../../resources/user.ts'
import { rolesOf, roleSetOf } from '../authorize.ts'
import { requiresMfa } from '../context.ts'
import type { AuthContext, KnownCaller } from '../context.ts'
import { findApps } from '../find-apps.ts'
import { listAppOffers, listDatabaseOffers } from '../offers.ts'

/** One entry a name, however many agents offer it. */
export async function listVisibleServers(
  context: AuthContext,
  _input: unknown,
  { identity }: KnownCaller,
): Promise<{ items: VisibleServer[] }> {
  const roleSet = roleSetOf(context, identity)
  const facts = { mfaVerified: identity.mfaVerified, requireMfa: requiresMfa(context) }
  const visible = new Map<string, VisibleServer>()
  const health = new Map<string, Health | undefined>()
  const agents = new Map<string, ServingAgent[]>()
  const apps = listAppOffers(context).map(({ spec }) => ({ ...spec, health: spec.health }))
  const databases = listDatabaseOffers(context).map(({ spec }) => ({ ...spec, app: databaseApp(spec.database), health: undefined }))
  for (const offer of [...apps, ...databases]) {
    const { app } = offer
    const { name } = app.metadata
    if (!context.isConnected(offer.host_id) || identity.servers?.includes(name) === false) continue
    health.set(name, betterHealth(health.get(name), offer.health))
    agents.set(name, [...(agents.get(name) ?? []), agentOf(offer)])
    if (visible.has(name)) continue
    const access = serverAccess(roleSet, serverViewOf(app), facts)
    if (access.decision.allow) visible.set(name, { ...app, permissions: { mcp: { tools: access.allowedTools() } } })
  }
  return {
    items: [...visible.entries()]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, item]) => ({ ...item, ...withHealth(health.get(name)), agents: agents.get(name) })),
  }
}

type ServingAgent = NonNullable<VisibleServer['agents']>[number]

function agentOf({ host_id, hostname, health }: { host_id: string; hostname: string; health: Health | undefined }): ServingAgent {
  return { host_id, hostname, ...(health && { state: health.state }) }
}

/** What a server wrote to standard error is for administrators. */
function withHealth(health: Health | undefined): Pick<VisibleServer, 'health'> {
  if (!health) return {}
  const { state, since, reason } = health
  return { health: { state, since, ...(reason !== undefined && { reason }) } }
}

/** Answers for a user with a second factor, signed in by a certificate: what roles and locks say, not how somebody came in. */
export async function explainAccess(
  context: AuthContext,
  { user: name, server, tool, args, method }: ParsedInputOf<typeof ROUTES.explainAccess>,
  _caller: KnownCaller,
): Promise<OutputOf<typeof ROUTES.explainAccess>> {
  const holder =
    context.live.find('user', name) ?? (name === botUserName(botNameOf(name)) ? context.live.find('bot', botNameOf(name)) : undefined)
  if (!holder) throw new AppError('not_found', `user "${name}" not found`)
  const app = findApps(context, server)[0]
  if (!app) throw new AppError('not_found', `MCP server "${server}" not found: tctl get apps lists all`)
  const identity = assumedIdentity(name, holder)
  const { decision, steps } = explain({
    roles: rolesOf(context, identity.roles),
    identity,
    server: serverViewOf(app),
    tool,
    args,
    method,
    locks: context.live.list('lock'),
    now: context.now(),
    requireMfa: requiresMfa(context),
  })
  return { allow: decision.allow, reason: decision.allow ? `allowed by ${decision.by}` : decision.reason, by: decision.by, steps }
}

function assumedIdentity(name: string, holder: User | Bot): Identity {
  return {
    kind: holder.kind,
    name,
    roles: holder.spec.roles,
    traits: holder.kind === 'bot' ? botTraits(holder) : (holder.spec.traits ?? {}),
    credential: 'certificate',
    credentialId: '',
    expiresAt: Number.MAX_SAFE_INTEGER,
    mfaVerified: true,
  }
}
