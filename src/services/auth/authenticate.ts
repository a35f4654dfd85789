import { timingSafeEqual } from 'node:crypto'
import type { X509Certificate } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { TLSSocket } from 'node:tls'
import { ENDPOINT_HEADER, PROOF_HEADER } from '../../api/route.ts'
import type { Route } from '../../api/route.ts'
import { buildEvent } from '../../audit/build-event.ts'
import { parseApiToken } from '../../ca/api-token.ts'
import { verifyIdentityCertificate } from '../../ca/identity-certificate.ts'
import { EndpointTokenRefusal, isEndpointToken, verifyEndpointToken } from '../../ca/endpoint-token.ts'
import type { IdentityFields } from '../../ca/identity-uris.ts'
import { AppError } from '../../lib/errors.ts'
import { botTraits } from '../../resources/bot.ts'
import type { Identity } from '../../resources/identity.ts'
import { findMcpEndpoint, renderMcpEndpoint } from '../../resources/mcp-endpoint.ts'
import { findApiToken, touchApiToken } from '../../storage/api-tokens.ts'
import { findAccountId } from '../../storage/credentials.ts'
import type { AuthContext } from './context.ts'
import { isForeignToken, verifyForeignToken } from './foreign-tokens.ts'
import { findMachine } from './join/bot-instances.ts'
import { machineFields as machineFieldsOf } from './join/machine.ts'
import { findServersAt, isAccessToken, verifyAccessToken } from './oauth/access-tokens.ts'
import type { PresentedToken } from './oauth/access-tokens.ts'

/** What the connection says of its other end, before anything of the request is believed. */
export interface Peer {
  remoteAddress: string
  certificate?: X509Certificate
  /** Given by our own process, or by the local administrator's socket: no further proof is asked for. */
  identity?: Identity
  /** Host and Origin are not checked: no browser is at the other end. */
  internal?: boolean
}

/** What the HTTP application is given beside each request; `node` as far as it came over HTTP. */
export interface AppEnv {
  Bindings: { peer: Peer; node?: { request: IncomingMessage; response: ServerResponse } }
  /** From when on, ms since 1970, the state of the cluster is that an answer rests on. */
  Variables: { asOf: number }
}

export function peerOf(request: IncomingMessage): Peer {
  const { socket } = request
  const certificate = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined
  return { remoteAddress: socket.remoteAddress ?? 'unknown', ...(certificate && { certificate }) }
}

/**
 * The identity behind a request: given by the process itself, else of the client certificate, else of a bearer token, which is an API token,
 * an endpoint token, the access token of an MCP client, or a JWT of another issuer. Throws `unauthenticated` when there is none or it is not valid.
 */
export async function authenticate(
  context: AuthContext,
  peer: Peer,
  row: Route,
  header: (name: string) => string | undefined,
): Promise<Identity> {
  if (peer.identity) return peer.identity
  if (peer.certificate) return await identityOrRefusal(context, peer.certificate, peer.remoteAddress)
  const authorization = header('authorization')
  if (authorization === undefined) throw new AppError('unauthenticated', 'not signed in: run tsh login, or send an API token')
  const token = /^bearer +(\S+)$/i.exec(authorization)?.[1] ?? ''
  // What the proxy saw is heard of the proxy only: others could say anything.
  const seen = (name: string) => (peer.internal ? header(name) : undefined)
  const presented = { token, endpoint: seen(ENDPOINT_HEADER), proof: seen(PROOF_HEADER) }
  if (isEndpointToken(token)) return await identityOfEndpointToken(context, row, presented, peer.remoteAddress)
  if (isAccessToken(token)) return await identityOfAccessToken(context, row, presented, peer.remoteAddress)
  if (presented.proof !== undefined) throw new AppError('unauthenticated', 'this token is not bound to a key: send it as Bearer')
  const isForeign = row.forMcpClients && isForeignToken(token)
  const foreign = isForeign ? await verifyForeignToken(context, token, presented.endpoint, peer.remoteAddress) : undefined
  return foreign ?? (await identityOfToken(context, token, peer.remoteAddress))
}

/** A certificate that does not count is told of in the audit log, in bounds: anybody can make one up. */
async function identityOrRefusal(context: AuthContext, certificate: X509Certificate, remoteAddress: string): Promise<Identity> {
  try {
    return await identityOfCertificate(context, certificate)
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.code !== 'unauthenticated') throw thrown
    await context.limits.countPublicCall(remoteAddress)
    const event = { remote_addr: remoteAddress, kind: 'certificate', verb: 'use', success: false, error: thrown.message }
    await context.journal.record([buildEvent('access.denied', event, context.build)])
    throw thrown
  }
}

async function identityOfCertificate(context: AuthContext, certificate: X509Certificate): Promise<Identity> {
  const { clusterName, keys } = context
  const facts = verifyIdentityCertificate(certificate, [keys.user.certificatePem, keys.host.certificatePem], {
    clusterName,
    now: context.now(),
  })
  const proven = { credential: 'certificate' as const, credentialId: facts.serial, expiresAt: facts.expiresAt }
  if (facts.kind === 'host')
    return { kind: facts.kind, name: facts.name, mfaVerified: false, ...proven, ...hostRights(context, facts), ...machineFields(facts) }
  return { ...proven, ...(await identityOfFields(context, facts)) }
}

/** Who a person or a bot is now whom a certificate names. */
async function identityOfFields(
  context: AuthContext,
  fields: IdentityFields,
): Promise<Omit<Identity, 'credential' | 'credentialId' | 'expiresAt'>> {
  const { kind, name, mfaVerified } = fields
  if (kind === 'bot') return { kind, name, mfaVerified, ...botRights(context, fields), ...machineFields(fields) }
  // A name may have been given to somebody else since, or its holder been reset.
  const account = await findAccountId(context.db, name)
  const rights = currentRights(context, name)
  if (account === undefined || fields.account !== account)
    throw new AppError('unauthenticated', `this certificate is from before user "${name}" was reset or created anew: run tsh login`)
  return { kind, name, mfaVerified, ...rights }
}

/** A host is what it joined as last; removed from the inventory, it is nobody. */
function hostRights(context: AuthContext, { name, roles, account }: IdentityFields): Pick<Identity, 'roles' | 'traits'> {
  const host = context.live.find('host', name)
  if (!host || account === undefined || host.status.join_id !== account)
    throw new AppError('unauthenticated', `host ${name} was removed, or has joined anew since: join again with a join token`)
  return { roles: roles.filter((role) => host.spec.roles.includes(role)), traits: {} }
}

/** Roles and traits of the bot now, as far as the certificate has them. */
function botRights(context: AuthContext, { name, roles, botInstanceId }: IdentityFields): Pick<Identity, 'roles' | 'traits'> {
  const { bot } = findMachine(context, name, botInstanceId)
  return { roles: roles.filter((role) => bot.spec.roles.includes(role)), traits: botTraits(bot) }
}

function machineFields(facts: IdentityFields): Partial<Identity> {
  const { botInstanceId, joinToken, joinMethod, internal, allowReissue } = facts
  return {
    ...(botInstanceId !== undefined && { botInstanceId }),
    ...(joinToken !== undefined && { joinToken }),
    ...(joinMethod !== undefined && { joinMethod }),
    ...(internal !== undefined && { internal }),
    ...(allowReissue !== undefined && { allowReissue }),
  }
}

/** The proxy says which certificate its client shows. A refusal is in the audit log, in bounds. */
async function identityOfEndpointToken(
  context: AuthContext,
  row: Route,
  { token, endpoint, proof }: PresentedToken,
  remoteAddress: string,
): Promise<Identity> {
  const { clusterName, keys } = context
  try {
    const at = row.forMcpClients && endpoint !== undefined ? findMcpEndpoint(endpoint) : undefined
    const path = at && renderMcpEndpoint(at)
    const verified = await verifyEndpointToken(token, [keys.assertion], {
      clusterName,
      endpoint: path,
      shown: proof,
      now: context.now(),
    })
    const { fields, credential, credentialId, credentialExpiresAt, holder, expiresAt } = verified
    const servers = at && findServersAt(context, at)
    return {
      ...(await identityOfFields(context, fields)),
      credential,
      credentialId,
      expiresAt: credentialExpiresAt,
      tokenExpiresAt: expiresAt,
      holder,
      ...(servers && { servers }),
    }
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.code !== 'unauthenticated') throw thrown
    await context.limits.countPublicCall(remoteAddress)
    const event = {
      remote_addr: remoteAddress,
      ...(thrown instanceof EndpointTokenRefusal && thrown.fields && machineFieldsOf(thrown.fields)),
      kind: 'endpoint_token',
      name: endpoint,
      verb: 'use',
      success: false,
      error: thrown.message,
    }
    await context.journal.record([buildEvent('access.denied', event, context.build)])
    throw thrown
  }
}

/** An access token is for one MCP endpoint and for what the proxy asks on its way there; nothing else is done with it. */
async function identityOfAccessToken(
  context: AuthContext,
  row: Route,
  presented: PresentedToken,
  remoteAddress: string,
): Promise<Identity> {
  const { endpoint } = presented
  try {
    if (!row.forMcpClients) throw new AppError('unauthenticated', 'an access token of an MCP client is good at its MCP endpoint only')
    const holder = await verifyAccessToken(context, presented)
    const { roles, traits } = holder
    return { ...holder, ...(roles && traits ? { roles, traits } : currentRights(context, holder.name)) }
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.code === 'internal') throw thrown
    await context.limits.countPublicCall(remoteAddress)
    const event = {
      remote_addr: remoteAddress,
      success: false,
      error: thrown.message,
      ...(endpoint !== undefined && { resource: endpoint }),
    }
    await context.journal.record([buildEvent('oauth.token.use.failure', event, context.build)])
    throw thrown
  }
}

async function identityOfToken(context: AuthContext, token: string, remoteAddress: string): Promise<Identity> {
  const now = context.now()
  const presented = parseApiToken(token)
  const stored = presented && (await findApiToken(context.db, presented.id))
  const isRight = stored !== undefined && timingSafeEqual(Buffer.from(stored.hash, 'hex'), Buffer.from(presented?.hash ?? '', 'hex'))
  if (!stored || !isRight || stored.expires_at <= now) {
    // Anybody can send nonsense: what fails is counted, so that it cannot fill the audit log.
    await context.limits.countPublicCall(remoteAddress)
    const reason = stored && isRight ? 'expired' : 'not valid'
    await context.journal.record([
      buildEvent(
        'api_token.use.failure',
        {
          remote_addr: remoteAddress,
          success: false,
          error: `API token ${reason}`,
          ...(stored && { user: stored.user }),
          ...(presented && { token_id: presented.id }),
        },
        context.build,
      ),
    ])
    throw new AppError('unauthenticated', stored && isRight ? 'the API token has expired: ask for a new one' : 'the API token is not valid')
  }
  const rights = currentRights(context, stored.user)
  await touchApiToken(context.db, stored.id, now)
  return {
    kind: 'user',
    name: stored.user,
    roles: rights.roles,
    ...(stored.roles && { grantingRoles: stored.roles }),
    traits: rights.traits,
    credential: 'api_token',
    credentialId: stored.id,
    expiresAt: stored.expires_at,
    mfaVerified: false,
    ...(stored.servers && { servers: stored.servers }),
  }
}

/** Roles and traits are those of the user now, not those of the day the credential was issued. */
function currentRights(context: AuthContext, name: string): Pick<Identity, 'roles' | 'traits'> {
  const user = context.live.find('user', name)
  if (!user) throw new AppError('unauthenticated', `user "${name}" does not exist any more`)
  return { roles: user.spec.roles, traits: user.spec.traits ?? {} }
}
