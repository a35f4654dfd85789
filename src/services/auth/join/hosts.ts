import { randomUUID, X509Certificate } from 'node:crypto'
import type { JoinedIdentity, renewIdentity } from '../../../api/join.ts'
import { joinDigest, possessionChallenge } from '../../../api/possession.ts'
import type { ParsedInputOf } from '../../../api/route.ts'
import { verifyIdentityCertificate } from '../../../ca/identity-certificate.ts'
import type { IdentityFields } from '../../../ca/identity-uris.ts'
import { verifyPossession } from '../../../ca/keys.ts'
import { AppError } from '../../../lib/errors.ts'
import { serialsOf } from '../../../resources/host.ts'
import type { Host } from '../../../resources/host.ts'
import { upsertResource } from '../../../storage/resources.ts'
import { revoke } from '../changes.ts'
import type { AuthContext, KnownCaller } from '../context.ts'
import { parseProvenKey } from '../issue.ts'
import type { Staged } from '../journal.ts'
import type { Executor } from '../../../storage/database.ts'
import { settleBoundKey } from './bound-keypair.ts'
import { type HostLimits, limitsBy } from './host-limits.ts'
import { safeTokenName } from './join-tokens.ts'
import { certificateEvent, findLockReason, issueMachine, joinEvent, renderJoined } from './machine.ts'
import { currentToken } from './proven-join.ts'
import type { ProvenJoin } from './proven-join.ts'
import { JoinRefusal } from './refusal.ts'

const DEFAULT_TTL_MS = 24 * 3_600_000
const MAX_TTL_MS = 7 * 86_400_000
const MAX_EARLIER = 8
/** Each join without an id makes one, and it is kept for days: whoever may join must not fill the store. */
const MAX_HOSTS = 20_000
/** How long a host that was seen no more stays in the inventory. */
const REMEMBERED_MS = 7 * 86_400_000

/**
 * The certificate of a host, with the roles of its join token. The host gets the id it asks for unless another host has it: see `mayTakeId`.
 * Throws `JoinRefusal`.
 */
export async function joinHost(context: AuthContext, tx: Executor, proven: ProvenJoin): Promise<Staged<JoinedIdentity | JoinRefusal>> {
  const { input } = proven
  const token = currentToken(context, proven)
  const id = input.host_id ?? randomUUID()
  const joinToken = safeTokenName(context, token)
  const roles = token.spec.roles.filter((role) => role !== 'Bot')
  const fields: IdentityFields = {
    kind: 'host',
    name: id,
    roles,
    mfaVerified: false,
    account: Buffer.from(context.random(16)).toString('hex'),
    joinToken,
    joinMethod: token.spec.join_method,
  }
  const locked = findLockReason(context, fields)
  if (locked !== undefined) throw new JoinRefusal(locked, { join_token: joinToken })
  checkHostId(context, proven, id, joinToken)
  const bound = await settleBoundKey(context, tx, proven, token, { hostId: id })
  if (bound?.refused) return bound.refused
  const certificate = issueMachine(context, proven.key, fields, ttlOf(input.ttl))
  await saveHost(context, tx, fields, {
    hostname: input.hostname,
    version: input.version,
    serial: certificate.serial,
    expiresAt: certificate.expiresAt,
    remoteAddress: proven.remoteAddress,
    limits: token.spec,
  })
  const joinState = bound?.joinState
  // What the host had from a join before is over, and so are the connections it opened with it.
  const before = context.live.find('host', id)
  await revoke(context, tx, 'certificate', before ? serialsOf(before) : [])
  return {
    output: renderJoined(context, certificate, {
      kind: 'host',
      name: id,
      roles,
      renewable: true,
      ...(joinState !== undefined && { join_state: joinState }),
    }),
    events: [
      joinEvent(context, proven, fields, certificate),
      certificateEvent(context, proven.remoteAddress, { certificate, fields, type: 'host' }),
    ],
  }
}

/**
 * An id is free when no host has it, or when the certificate of the one that has it is over. Of a live one it is only for who proves to be
 * the same: by the key of the certificate that this one has, or by the join token it joined with. The services in the process of the
 * Auth Service share theirs with nobody.
 */
function checkHostId(context: AuthContext, proven: ProvenJoin, id: string, joinToken: string): void {
  const existing = context.live.find('host', id)
  const refuse = (why: string): never => {
    throw new JoinRefusal(`host id ${id}: ${why}`, {
      join_token: joinToken,
      shown: `the host id "${id}" is that of another host: join with the token that host joined with, or without its id`,
    })
  }
  if (!existing) {
    if (context.live.list('host').length >= MAX_HOSTS)
      throw new AppError(
        'resource_exhausted',
        `the cluster has ${MAX_HOSTS} hosts already: remove some (tctl inventory ls, tctl rm host/ID)`,
      )
    const isServing = context.live.list('app_server').some(({ spec }) => spec.host_id === id)
    return isServing ? refuse('servers are offered under it') : undefined
  }
  const { join_method, join_token, certificate_expires } = existing.status
  if (join_method === 'local') return refuse('it is that of the Auth Service')
  if (certificate_expires !== undefined && Date.parse(certificate_expires) <= context.now()) return undefined
  if (join_token === joinToken || provesCertificate(context, proven, existing)) return undefined
  return refuse('another host is alive under it')
}

/** Whether the join is signed by the key of the certificate that the host has now, also an expired one. */
function provesCertificate(context: AuthContext, { input }: ProvenJoin, { metadata, status }: Host): boolean {
  if (!input.before) return false
  try {
    const certificate = new X509Certificate(input.before.certificate)
    const now = Math.min(context.now(), certificate.validToDate.getTime() - 1)
    const facts = verifyIdentityCertificate(certificate, [context.keys.host.certificatePem], { clusterName: context.clusterName, now })
    const challenge = possessionChallenge('join-before', joinDigest(input), input.public_key)
    return (
      facts.kind === 'host' &&
      facts.name === metadata.name &&
      facts.account === status.join_id &&
      verifyPossession(certificate.publicKey, challenge, input.before.possession)
    )
  } catch {
    return false // what cannot be read proves nothing
  }
}

/** A new certificate for a host, with what the one it calls with says. */
export async function renewHost(
  context: AuthContext,
  input: ParsedInputOf<typeof renewIdentity>,
  caller: KnownCaller,
): Promise<JoinedIdentity> {
  const key = parseProvenKey('renew', '', input)
  const { name, credentialId } = caller.identity
  return await context.journal.commit(async (tx) => {
    const host = context.live.find('host', name)
    // It may have been removed, or have joined anew, while this waited for its turn: a copy of what it had before must not become part of that.
    if (!host?.status.join_id || !serialsOf(host).includes(credentialId))
      throw new AppError('unauthenticated', `host ${name} was removed, or has joined anew since: join again with a join token`)
    const { join_id, join_token, join_method } = host.status
    const fields: IdentityFields = {
      kind: 'host',
      name,
      roles: host.spec.roles,
      mfaVerified: false,
      account: join_id,
      joinMethod: join_method,
      ...(join_token !== undefined && { joinToken: join_token }),
    }
    const locked = findLockReason(context, fields)
    if (locked !== undefined) throw new AppError('permission_denied', locked)
    const certificate = issueMachine(context, key, fields, ttlOf(input.ttl))
    await saveHost(context, tx, fields, {
      hostname: input.hostname,
      version: input.version,
      serial: certificate.serial,
      expiresAt: certificate.expiresAt,
      remoteAddress: caller.remoteAddress,
      limits: limitsNow(context, host),
    })
    return {
      output: renderJoined(context, certificate, { kind: 'host', name, roles: fields.roles, renewable: true }),
      events: [certificateEvent(context, caller.remoteAddress, { certificate, fields, type: 'host' })],
    }
  })
}

/** What the join token of a host says now, where it is there still; else as when it was last there. */
function limitsNow(context: AuthContext, { status, spec }: Host): HostLimits {
  const token = context.live.list('token').find((one) => safeTokenName(context, one) === status.join_token)
  return token ? limitsBy(token, spec) : spec
}

interface Seen {
  hostname: string | undefined
  version: string | undefined
  serial: string
  expiresAt: number
  remoteAddress: string
  /** What it may serve. */
  limits: HostLimits
}

async function saveHost(context: AuthContext, tx: Executor, fields: IdentityFields, seen: Seen): Promise<Host> {
  const { name, roles, account, joinToken, joinMethod = '' } = fields
  const existing = context.live.find('host', name)
  const isSame = existing?.status.join_id === account
  const at = new Date(context.now()).toISOString()
  const version = seen.version ?? existing?.status.version
  const host: Host = {
    kind: 'host',
    version: 'v1',
    metadata: { name, expires: new Date(seen.expiresAt + REMEMBERED_MS).toISOString() },
    spec: {
      hostname: seen.hostname ?? existing?.spec.hostname ?? '',
      roles,
      ...(seen.limits.app_labels && { app_labels: seen.limits.app_labels }),
      ...(seen.limits.db_labels && { db_labels: seen.limits.db_labels }),
    },
    status: {
      join_method: joinMethod,
      ...(joinToken !== undefined && { join_token: joinToken }),
      ...(account !== undefined && { join_id: account }),
      serial: seen.serial,
      ...(isSame && existing && { earlier_serials: serialsOf(existing).slice(0, MAX_EARLIER) }),
      certificate_expires: new Date(seen.expiresAt).toISOString(),
      joined_at: isSame && existing ? existing.status.joined_at : at,
      last_seen: at,
      ...(version !== undefined && { version }),
      services: existing?.status.services ?? [],
      ...(isSame && existing?.status.proxy_ids && { proxy_ids: existing.status.proxy_ids }),
      remote_addr: seen.remoteAddress,
    },
  }
  return await upsertResource(tx, 'host', host, context.now())
}

function ttlOf(wantedSeconds: number | undefined): number {
  return wantedSeconds === undefined ? DEFAULT_TTL_MS : Math.min(wantedSeconds * 1000, MAX_TTL_MS)
}
