import { arch, hostname, platform } from 'node:os'
import { issueBotOutput, joinCluster, openIdentityApi, renewIdentity, saveBotFacts, saveRefusedDestination } from '../../client/join.ts'
import type { Joined } from '../../client/join.ts'
import type { ApiClient } from '../../client/call.ts'
import type { Connection } from '../../client/credentials.ts'
import { createProxyHttp } from '../../client/proxy-http.ts'
import type { ProxyHttp } from '../../client/proxy-http.ts'
import { parseProxyAddress } from '../../client/proxy-address.ts'
import { fetchEndpointToken } from '../../client/servers.ts'
import { fetchJwtSvid, fetchX509Svid } from '../../client/workload-identity.ts'
import { readTextIfPresent } from '../../lib/atomic-file.ts'
import { AppError } from '../../lib/errors.ts'
import type { BotCluster, Issued, OwnIdentity } from './cluster.ts'
import type { BotConfig } from './config.ts'
import { proofOf } from '../../client/join-source.ts'

/** The cluster that a configuration names, reached through its proxy. Nothing is contacted before the first call. */
export function connectCluster(
  { proxy: address, onboarding, insecure }: Pick<BotConfig, 'proxy' | 'onboarding' | 'insecure'>,
  { now, version }: { now: () => number; version: string },
): BotCluster {
  const proxy = parseProxyAddress(address)
  const facts = { hostname: hostname(), version }

  /** A connection for one call: the identity is another one each time. */
  async function as<T>({ identity }: OwnIdentity, use: (api: ApiClient) => Promise<T>): Promise<T> {
    const { api, close } = openIdentityApi({ proxy, insecure }, identity)
    try {
      return await use(api)
    } finally {
      close()
    }
  }

  return {
    async join(proof, { ttlSeconds, boundKey, joinState }) {
      const authorities = await readAuthorities(onboarding.ca_path)
      const target = { proxy, caPins: onboarding.ca_pins, authorities, insecure }
      return ownOf(
        await joinCluster(target, { role: 'Bot', ttlSeconds, ...facts }, proofOf(proof, { privateKey: boundKey, joinState }), { now }),
      )
    },
    renew: async (own, { ttlSeconds }) => ownOf(await as(own, (api) => renewIdentity(api, { ttlSeconds, ...facts }, { now }))),
    announce: (own, { isStartup, oneshot, uptimeSeconds }) => {
      const about = { ...facts, os: platform(), architecture: arch() }
      return as(own, (api) => saveBotFacts(api, { ...about, is_startup: isStartup, one_shot: oneshot, uptime_seconds: uptimeSeconds }))
    },
    reportDestination: (own, refused) => as(own, (api) => saveRefusedDestination(api, refused)),
    issueX509Svid: (own, wanted, privateKey) => as(own, (api) => fetchX509Svid(api, wanted, privateKey)),
    issueJwtSvid: (own, wanted, audiences) => as(own, (api) => fetchJwtSvid(api, wanted, audiences)),
    issueToken: (own, { endpoint, roles, ttlSeconds }) =>
      as(own, (api) => fetchEndpointToken(api, endpoint, { roles: roles && [...roles], ttlSeconds })),
    issueOutput: (own, { roles, ...wanted }) => as(own, (api) => issueBotOutput(api, { ...wanted, ...(roles && { roles: [...roles] }) })),
  }
}

/** A way to MCP servers as this identity. */
export function connectAs(
  { proxy: address, insecure }: Pick<BotConfig, 'proxy' | 'insecure'>,
  { identity, expiresAt }: Issued,
): Connection {
  const proxy = parseProxyAddress(address)
  const { api, close } = openIdentityApi({ proxy, insecure }, identity)
  const credentials = { key: identity.privateKeyPem, certificate: identity.certificatePem }
  return { how: 'identity_file', api, proxy, trust: { authorities: identity.authorityPems, insecure, credentials }, expiresAt, close }
}

/** The proxy itself, verified as this identity knows it; the caller closes it. */
export function openProxy({ proxy: address, insecure }: Pick<BotConfig, 'proxy' | 'insecure'>, { identity }: OwnIdentity): ProxyHttp {
  return createProxyHttp({ proxy: parseProxyAddress(address), authorities: identity.authorityPems, insecure, alpn: ['http/1.1'] })
}

function ownOf(joined: Joined): OwnIdentity {
  if (joined.kind !== 'bot')
    throw new AppError('failed_precondition', 'the token is for a host, not for a bot: tctl bots add makes one for a bot')
  return joined
}

async function readAuthorities(path: string | undefined): Promise<string[]> {
  if (path === undefined) return []
  const text = await readTextIfPresent(path)
  const pems = text?.match(/-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]{1,16384}-----END CERTIFICATE-----/g)
  if (!pems) throw new AppError('failed_precondition', `${path} holds no certificate (ca_path)`)
  return pems.map((pem) => `${pem}\n`)
}
