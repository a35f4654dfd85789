import { createPublicKey } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import {
  announceBot,
  announceHost,
  issueBotOutput as issueOutputRoute,
  join,
  renewIdentity as renewRoute,
  reportDestination,
  startJoin,
} from '../api/join.ts'
import type { JoinedIdentity } from '../api/join.ts'
import { joinDigest, possessionChallenge } from '../api/possession.ts'
import type { InputOf } from '../api/route.ts'
import type { IdentityFile } from '../ca/identity-file.ts'
import { generateKeyPair, parsePrivateKey, renderPrivateKey, renderPublicKey, signPossession } from '../ca/keys.ts'
import { AppError } from '../lib/errors.ts'
import { createApiClient } from './call.ts'
import type { ApiClient } from './call.ts'
import { AUTH_ALPN, createHttpsCarrier } from './https-carrier.ts'
import { createProxyHttp } from './proxy-http.ts'
import type { ProxyAddress } from './proxy-address.ts'
import { establishTrust } from './trust.ts'

/** The cluster to join, and what to know it by. */
export interface JoinTarget {
  proxy: ProxyAddress
  /** `sha256:…`, as `tctl status` shows them. */
  caPins: readonly string[]
  /** Host CAs known from before, PEM. */
  authorities: readonly string[]
  insecure?: boolean
}

/** What proves that this machine may join: the row of its method in services/auth/join/methods.ts judges it. */
export type JoinProof =
  | { method: 'token'; token: string }
  | { method: 'bound_keypair'; token: string; privateKey: KeyObject; joinState?: string; registrationSecret?: string }
  | { method: 'oidc' | 'kubernetes' | 'github' | 'gitlab'; token: string; idToken: string }

export interface JoinRole {
  role: 'App' | 'Db' | 'Proxy' | 'Bot'
  /** Of a host that has joined before: its id, which it keeps. */
  hostId?: string
  hostname?: string
  version?: string
  /** As wanted; the cluster may shorten it. A host's certificate lives a day, a bot's own an hour, unless told. */
  ttlSeconds?: number
  /** What the host was before, also expired: proves that `hostId` is its own when it joins with another token. */
  previous?: IdentityFile
}

/** A machine's identity and what the cluster said of it. */
export interface Joined {
  /** A fresh key, its certificate, and the CAs of the cluster's hosts. */
  identity: IdentityFile
  kind: 'host' | 'bot'
  /** The host id; of a bot its user name, `bot-NAME`. */
  name: string
  roles: string[]
  clusterName: string
  /** Milliseconds since 1970. */
  expiresAt: number
  botInstanceId?: string
  generation?: number
  /** Of a bound key pair: opaque, to be kept and given with the next join. Keep it before the identity is used. */
  joinState?: string
  hostAuthorities: string[]
  userAuthorities: string[]
  /** False: what joined this way joins again before the certificate ends. */
  renewable: boolean
}

/**
 * Joins a cluster: checks who the proxy is, makes a key, and has it certified. Nothing is taken on trust but a loopback proxy: without a pin,
 * a known CA or a CA of the system `failed_precondition` says where to get the pin. What is wrong with the token is `permission_denied`, in
 * words that say what to do.
 */
export async function joinCluster(target: JoinTarget, role: JoinRole, proof: JoinProof, deps: { now: () => number }): Promise<Joined> {
  const { proxy, caPins, authorities, insecure = false } = target
  const remedy = (pin: string): string => `give it as ca_pin (ca_pins of tbot) beside the join token: ${pin}`
  const trusted = await establishTrust({ proxy, caPins, known: authorities, insecure, remedy })
  try {
    const api = createApiClient(trusted.carrier)
    const { nonce } = await api(startJoin, {})
    const keys = await generateKeyPair()
    const joined = await api(join, signJoin(nonce, keys.privateKey, role, proof))
    return receive(joined, renderPrivateKey(keys.privateKey), { trusted: trusted.authorities, now: deps.now() })
  } finally {
    trusted.close()
  }
}

/**
 * Renews the certificate that `api` calls with. Keep the answer before anything is called with it: until then the one before may be renewed
 * again, as after a crash; later that counts as the use of a copy, and locks a bot. Close the connections of the one before.
 */
export async function renewIdentity(
  api: ApiClient,
  role: Pick<JoinRole, 'hostname' | 'version' | 'ttlSeconds'>,
  deps: { now: () => number },
): Promise<Joined> {
  const keys = await generateKeyPair()
  const proof = proveFresh('renew', keys.privateKey)
  const renewed = await api(renewRoute, { ...proof, hostname: role.hostname, version: role.version, ttl: role.ttlSeconds })
  return receive(renewed, renderPrivateKey(keys.privateKey), { trusted: [], now: deps.now() })
}

/**
 * A bot's output: a short-lived identity with the bot's roles, or those of them that are named. With `allowReissue` false it is good for
 * calls and gets no further certificates. Its key is made here unless one is given.
 */
export async function issueBotOutput(
  api: ApiClient,
  wanted: { roles?: string[]; ttlSeconds: number; allowReissue: boolean; privateKey?: KeyObject },
): Promise<Joined> {
  const privateKey = wanted.privateKey ?? (await generateKeyPair()).privateKey
  const proof = proveFresh('bot-output', privateKey)
  const issued = await api(issueOutputRoute, { ...proof, roles: wanted.roles, ttl: wanted.ttlSeconds, allow_reissue: wanted.allowReissue })
  return receive(issued, renderPrivateKey(privateKey), { trusted: [] })
}

/** Calls the Auth Service as this identity, over mutual TLS through the proxy; `close` ends its connections. */
export function openIdentityApi(
  target: { proxy: ProxyAddress; insecure?: boolean },
  identity: IdentityFile,
): { api: ApiClient; close(): void } {
  const http = createProxyHttp({
    proxy: target.proxy,
    authorities: identity.authorityPems,
    insecure: target.insecure,
    alpn: AUTH_ALPN,
    credentials: { key: identity.privateKeyPem, certificate: identity.certificatePem },
  })
  return { api: createApiClient(createHttpsCarrier(http)), close: http.close }
}

/** Whether a certificate is to be renewed: a third of its life is left. Milliseconds since 1970. */
export function renewalDue(issuedAt: number, expiresAt: number, now: number): boolean {
  return now >= expiresAt - (expiresAt - issuedAt) / 3
}

/** Says that the bot is there, and what it is. */
export async function saveBotFacts(api: ApiClient, facts: InputOf<typeof announceBot>): Promise<void> {
  await api(announceBot, facts)
}

/** Says that a destination was refused, for the audit log. */
export async function saveRefusedDestination(api: ApiClient, refused: InputOf<typeof reportDestination>): Promise<void> {
  await api(reportDestination, refused)
}

/** What a host says of itself. */
export interface HostSaid {
  hostname: string
  version: string
  services: readonly string[]
  /** Ids of the proxies to which it has a tunnel. */
  proxies?: readonly string[]
}

/** Tells the inventory that this host is there, and what it runs; once a minute is enough. */
export async function saveHostFacts(api: ApiClient, { services, proxies, ...facts }: HostSaid): Promise<void> {
  await api(announceHost, { ...facts, services: [...services], ...(proxies && { proxies: [...proxies] }) })
}

function signJoin(nonce: string, privateKey: KeyObject, role: JoinRole, proof: JoinProof): InputOf<typeof join> {
  const publicKey = renderPublicKey(createPublicKey(privateKey))
  const proofFields = proofOf(proof)
  const statement = {
    nonce,
    role: role.role,
    token: proof.token,
    proof: proofFields,
    host_id: role.hostId,
    hostname: role.hostname,
    version: role.version,
    ttl: role.ttlSeconds,
  }
  const digest = joinDigest(statement)
  const sign = (purpose: 'join' | 'join-before' | 'bound-keypair', key: KeyObject): string =>
    signPossession(key, possessionChallenge(purpose, digest, publicKey))
  const { previous } = role
  return {
    ...statement,
    proof:
      proof.method === 'bound_keypair'
        ? {
            ...proofFields,
            method: proof.method,
            public_key: renderPublicKey(createPublicKey(proof.privateKey)),
            possession: sign('bound-keypair', proof.privateKey),
          }
        : proof.method === 'token'
          ? { method: proof.method }
          : { method: proof.method, id_token: proof.idToken },
    public_key: publicKey,
    possession: sign('join', privateKey),
    ...(previous && {
      before: { certificate: previous.certificatePem, possession: sign('join-before', parsePrivateKey(previous.privateKeyPem)) },
    }),
  }
}

/** The part of a proof that signatures cover; a bound key signs for itself. */
function proofOf(proof: JoinProof): { method: string; registration_secret?: string; join_state?: string; id_token?: string } {
  if (proof.method === 'token') return { method: proof.method }
  if (proof.method !== 'bound_keypair') return { method: proof.method, id_token: proof.idToken }
  const { registrationSecret, joinState } = proof
  return {
    method: proof.method,
    ...(registrationSecret !== undefined && { registration_secret: registrationSecret }),
    ...(joinState !== undefined && { join_state: joinState }),
  }
}

function proveFresh(purpose: 'renew' | 'bot-output', privateKey: KeyObject): { public_key: string; possession: string } {
  const publicKey = renderPublicKey(createPublicKey(privateKey))
  return { public_key: publicKey, possession: signPossession(privateKey, possessionChallenge(purpose, '', publicKey)) }
}

/** @param trusted CAs that the connection was verified by: they stay, whatever the answer names beside them. */
function receive(joined: JoinedIdentity, privateKeyPem: string, { trusted, now }: { trusted: readonly string[]; now?: number }): Joined {
  const expiresAt = Date.parse(joined.expires)
  if (now !== undefined && expiresAt <= now)
    throw new AppError('failed_precondition', `the new certificate has expired at ${joined.expires} already: check this machine's clock`)
  const hostAuthorities = unique([...trusted, ...joined.host_authorities])
  return {
    identity: { privateKeyPem, certificatePem: joined.certificate, authorityPems: hostAuthorities },
    kind: joined.kind,
    name: joined.name,
    roles: joined.roles,
    clusterName: joined.cluster_name,
    expiresAt,
    ...(joined.bot_instance_id !== undefined && { botInstanceId: joined.bot_instance_id }),
    ...(joined.generation !== undefined && { generation: joined.generation }),
    ...(joined.join_state !== undefined && { joinState: joined.join_state }),
    hostAuthorities,
    userAuthorities: joined.user_authorities,
    renewable: joined.renewable,
  }
}

function unique(pems: readonly string[]): string[] {
  return [...new Set(pems.map((pem) => `${pem.trim()}\n`))]
}
