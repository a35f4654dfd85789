import type { KeyObject } from 'node:crypto'
import type { JoinedIdentity } from '../../../api/join.ts'
import { findLock, lockReason } from '../../../access/locks.ts'
import { buildEvent } from '../../../audit/build-event.ts'
import type { AuditEvent } from '../../../audit/event.ts'
import { issueIdentityCertificate } from '../../../ca/identity-certificate.ts'
import type { IssuedCertificate } from '../../../ca/identity-certificate.ts'
import type { IdentityFields } from '../../../ca/identity-uris.ts'
import { botNameOf } from '../../../resources/bot.ts'
import type { Identity } from '../../../resources/identity.ts'
import type { AuthContext } from '../context.ts'
import type { ProvenJoin } from './proven-join.ts'

/** A certificate of a machine. Bots are vouched for by the user CA, as people are. */
export function issueMachine(context: AuthContext, key: KeyObject, fields: IdentityFields, ttlMs: number): IssuedCertificate {
  const { keys, clusterName } = context
  const authority = fields.kind === 'host' ? keys.host : keys.user
  const serial = context.random(16)
  return issueIdentityCertificate(authority, clusterName, key, fields, { now: context.now(), ttlMs, serial })
}

/** The answer to who joined, renewed or asked for an output. */
export function renderJoined(
  { keys, clusterName }: AuthContext,
  issued: IssuedCertificate,
  facts: Pick<JoinedIdentity, 'kind' | 'name' | 'roles' | 'renewable' | 'bot_instance_id' | 'generation' | 'join_state'>,
): JoinedIdentity {
  return {
    ...facts,
    certificate: issued.certificatePem,
    user_authorities: [keys.user.certificatePem],
    host_authorities: [keys.host.certificatePem],
    cluster_name: clusterName,
    expires: new Date(issued.expiresAt).toISOString(),
  }
}

/** The identity that a certificate with these fields would be. */
export function identityOf(fields: IdentityFields): Identity {
  return {
    kind: fields.kind,
    name: fields.name,
    roles: fields.roles,
    traits: {},
    credential: 'certificate',
    credentialId: '',
    expiresAt: 0,
    mfaVerified: false,
    ...(fields.botInstanceId !== undefined && { botInstanceId: fields.botInstanceId }),
    ...(fields.joinToken !== undefined && { joinToken: fields.joinToken }),
  }
}

/** Why these may get no certificate now; undefined when no lock stands against them. */
export function findLockReason(context: AuthContext, fields: IdentityFields): string | undefined {
  const lock = findLock(context.live.list('lock'), identityOf(fields), context.now())
  return lock && lockReason(lock)
}

/** Every certificate has its event, however it was asked for. */
export function certificateEvent(
  context: AuthContext,
  remoteAddress: string,
  { certificate, fields, type }: { certificate: IssuedCertificate; fields: IdentityFields; type: 'host' | 'bot' | 'bot-output' },
): AuditEvent {
  const event = {
    ...machineFields(fields),
    remote_addr: remoteAddress,
    success: true,
    name: fields.name,
    roles: fields.roles,
    cert_type: type,
    serial: certificate.serial,
    expires: new Date(certificate.expiresAt).toISOString(),
    ...(fields.generation !== undefined && { generation: fields.generation }),
  }
  return buildEvent('cert.create', event, context.build)
}

/** Who a machine is, in an event. */
export function machineFields(fields: IdentityFields) {
  const isBot = fields.kind === 'bot'
  return {
    user: fields.name,
    ...(isBot && { user_kind: 2, bot_name: botNameOf(fields.name) }),
    ...(fields.botInstanceId !== undefined && { bot_instance_id: fields.botInstanceId }),
    ...(fields.joinToken !== undefined && { join_token: fields.joinToken }),
    ...(fields.joinMethod !== undefined && { join_method: fields.joinMethod }),
  }
}

/** The event of a join that succeeded. */
export function joinEvent(context: AuthContext, proven: ProvenJoin, fields: IdentityFields, certificate: IssuedCertificate): AuditEvent {
  const { input, attributes, remoteAddress } = proven
  const event = {
    ...machineFields(fields),
    remote_addr: remoteAddress,
    success: true,
    name: fields.name,
    roles: fields.roles,
    serial: certificate.serial,
    expires: new Date(certificate.expiresAt).toISOString(),
    ...(input.hostname !== undefined && { hostname: input.hostname }),
    ...(fields.kind === 'host' && { server_id: fields.name }),
    ...(attributes !== undefined && { attributes }),
  }
  return buildEvent(fields.kind === 'bot' ? 'bot.join' : 'instance.join', event, context.build)
}
