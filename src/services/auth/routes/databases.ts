import { createHash, X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import { checkDatabase, databasePatterns } from '../../../access/check-database.ts'
import { serverAccess } from '../../../access/check.ts'
import type { Denied } from '../../../access/decision.ts'
import { findLock, lockReason } from '../../../access/locks.ts'
import { serverViewOf } from '../../../access/server-view.ts'
import type { VisibleDatabase } from '../../../api/databases.ts'
import type { OutputOf, ParsedInputOf } from '../../../api/route.ts'
import type { ROUTES } from '../../../api/routes.ts'
import { buildEvent } from '../../../audit/build-event.ts'
import { verifyAssertion } from '../../../ca/assertion.ts'
import { BACKDATE_MS } from '../../../ca/authority.ts'
import type { Authority } from '../../../ca/authority.ts'
import { issueCertificate } from '../../../ca/certificate.ts'
import { parsePublicKey } from '../../../ca/keys.ts'
import { AppError } from '../../../lib/errors.ts'
import { botNameOf } from '../../../resources/bot.ts'
import { databaseApp, databaseServerName } from '../../../resources/db-app.ts'
import type { Database } from '../../../resources/db.ts'
import type { Identity } from '../../../resources/identity.ts'
import { RecordedRefusal, roleSetOf } from '../authorize.ts'
import { requiresMfa } from '../context.ts'
import type { AuthContext, KnownCaller } from '../context.ts'
import { callerFields } from '../event-fields.ts'
import { listDatabaseOffers } from '../offers.ts'
import { announce } from './app-servers.ts'

/** A connection is made with it at once; the certificate is worth nothing after that. */
const CLIENT_TTL_MS = 3 * 60_000

/** One entry a name, however many agents offer it. */
export async function listVisibleDatabases(
  context: AuthContext,
  _input: unknown,
  { identity }: KnownCaller,
): Promise<{ items: VisibleDatabase[] }> {
  const roleSet = roleSetOf(context, identity)
  const facts = { mfaVerified: identity.mfaVerified, requireMfa: requiresMfa(context) }
  const visible = new Map<string, VisibleDatabase>()
  for (const { spec } of listDatabaseOffers(context)) {
    const { name } = spec.database.metadata
    const view = serverViewOf(databaseApp(spec.database))
    if (visible.has(name) || !context.isConnected(spec.host_id) || !serverAccess(roleSet, view, facts).decision.allow) continue
    visible.set(name, { ...spec.database, ...databasePatterns(roleSet, view) })
  }
  return { items: [...visible.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, item]) => item) }
}

export async function announceDatabases(
  context: AuthContext,
  { items }: ParsedInputOf<typeof ROUTES.announceDatabases>,
  caller: KnownCaller,
): Promise<OutputOf<typeof ROUTES.announceDatabases>> {
  return await announce(context, 'db_server', items, caller)
}

/**
 * A certificate of the `db_client` authority, CN the database user and OU the database as the cluster calls it, for a few minutes: a server that compares
 * both (`clientname=DN`) takes it from no agent of another database. The agent has to offer the database now, and to show
 * the assertion of somebody whose roles, as they are now, allow this user and this database: it cannot act for those who did not call.
 */
export async function signDatabaseUser(
  context: AuthContext,
  input: ParsedInputOf<typeof ROUTES.signDatabaseUser>,
  agent: KnownCaller,
): Promise<OutputOf<typeof ROUTES.signDatabaseUser>> {
  const offered = listDatabaseOffers(context).find(
    ({ spec }) => spec.host_id === agent.identity.name && spec.database.metadata.name === input.database,
  )
  if (!offered)
    throw new AppError('permission_denied', `the agent "${agent.identity.name}" does not offer the database "${input.database}"`)
  const { identity } = await verifyAssertion(input.assertion, [context.keys.assertion], {
    clusterName: context.clusterName,
    server: databaseServerName(input.database),
    now: context.now(),
  })
  // What an agent says of a database counts only where nobody has registered it: labels decide.
  const database = context.live.find('db', input.database) ?? offered.spec.database
  const denied = findRefusal(context, identity, database, { user: input.db_user, name: input.db_name })
  const caller = { identity, remoteAddress: agent.remoteAddress }
  const server = databaseServerName(input.database)
  const described = { ...callerFields(caller), name: input.db_user, cert_type: 'db_client', server }
  if (denied) {
    const { allow, kind, reason, by } = denied
    const event = { ...described, success: false, error: reason, decision: { allow, kind, reason, by } }
    await context.journal.record([buildEvent('cert.create', event, context.build)])
    throw new RecordedRefusal(reason)
  }
  const issued = issue(context, context.keys.dbClient, {
    commonName: input.db_user,
    unit: unitOf(input.database),
    publicKey: input.public_key,
    notAfter: Math.min(context.now() + CLIENT_TTL_MS, identity.expiresAt),
    usage: 'client',
  })
  const { serial, expires, certificate } = issued
  await context.journal.record([buildEvent('cert.create', { ...described, success: true, serial, expires }, context.build)])
  return { certificate, expires }
}

export async function signDatabaseServer(
  context: AuthContext,
  { hosts, public_key, ttl }: ParsedInputOf<typeof ROUTES.signDatabaseServer>,
  caller: KnownCaller,
): Promise<OutputOf<typeof ROUTES.signDatabaseServer>> {
  const { db, dbClient } = context.keys
  const caEnd = new X509Certificate(db.certificatePem).validToDate.getTime()
  const { serial, expires, certificate } = issue(context, db, {
    commonName: hosts[0] ?? '',
    publicKey: public_key,
    notAfter: Math.min(context.now() + ttl * 1000, caEnd),
    usage: 'server',
    names: { dns: hosts.filter((host) => isIP(host) === 0), ip: hosts.filter((host) => isIP(host) !== 0) },
  })
  const event = { ...callerFields(caller), success: true, name: hosts[0], cert_type: 'db', serial, expires }
  await context.journal.record([buildEvent('cert.create', event, context.build)])
  return { certificate, expires, client_authorities: [dbClient.certificatePem], server_authorities: [db.certificatePem] }
}

/** Why the caller may not connect so, as roles, locks and the user are now; undefined when it may. */
function findRefusal(
  context: AuthContext,
  identity: Identity,
  database: Database,
  session: { user: string; name: string },
): Denied | undefined {
  const lock = findLock(context.live.list('lock'), identity, context.now())
  if (lock) return { allow: false, kind: 'lock', reason: lockReason(lock), by: `lock/${lock.metadata.name}` }
  const isBot = identity.kind === 'bot'
  const holder = isBot ? context.live.find('bot', botNameOf(identity.name)) : context.live.find('user', identity.name)
  if (!holder) return { allow: false, kind: 'no_role', reason: `${identity.kind} "${identity.name}" no longer exists`, by: null }
  const roles = identity.roles.filter((role) => holder.spec.roles.includes(role))
  const facts = { mfaVerified: identity.mfaVerified, requireMfa: requiresMfa(context) }
  const decision = checkDatabase(roleSetOf(context, { ...identity, roles }), serverViewOf(databaseApp(database)), session, facts)
  return decision.allow ? undefined : decision
}

/** The name of a database as far as it has room in a certificate (RFC 5280, appendix A.1); never the same of two. */
function unitOf(database: string): string {
  if (database.length <= MAX_UNIT_CHARS) return database
  return `${database.slice(0, 40)}-${createHash('sha256').update(database).digest('hex').slice(0, 16)}`
}

const MAX_UNIT_CHARS = 64

interface Wanted {
  commonName: string
  unit?: string
  publicKey: string
  notAfter: number
  usage: 'server' | 'client'
  names?: { dns: string[]; ip: string[] }
}

function issue(
  context: AuthContext,
  authority: Authority,
  { commonName, unit, publicKey, notAfter, usage, names }: Wanted,
): { certificate: string; serial: string; expires: string } {
  const certificate = issueCertificate({
    subject: { commonName, ...(unit !== undefined && { organizationalUnit: unit }) },
    publicKey: parsePublicKey(publicKey),
    issuer: authority,
    notBefore: context.now() - BACKDATE_MS,
    notAfter,
    usage,
    ...(names && { names }),
    serial: context.random(16),
  })
  return { certificate, serial: new X509Certificate(certificate).serialNumber, expires: new Date(notAfter).toISOString() }
}
