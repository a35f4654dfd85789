import type { Duplex } from 'node:stream'
import { createApiClient } from '../../client/call.ts'
import { withToken } from '../../client/presented-token.ts'
import { BodyRoom } from '../../lib/body-room.ts'
import type { WireServer } from '../../lib/http-wire/server.ts'
import { createIds } from '../../lib/ids.ts'
import { createRedactor } from '../../lib/redact.ts'
import type { Agent } from '../../services/agent/start.ts'
import type { AuthService } from '../../services/auth/start.ts'
import { Aggregate } from '../../services/proxy/aggregate-route.ts'
import { Assertions } from '../../services/proxy/assertions.ts'
import { publicAddresses } from '../../services/proxy/config.ts'
import { DpopNonces } from '../../services/proxy/dpop-nonces.ts'
import { DpopProofs } from '../../services/proxy/dpop.ts'
import { ForeignHeaders } from '../../services/proxy/foreign-headers.ts'
import { createProxyServer } from '../../services/proxy/server.ts'
import { LostAgents } from '../../services/proxy/lost-agents.ts'
import { AgentRouter, type AgentRouterOptions } from '../../services/proxy/agent-router.ts'
import { RefusedTunnels } from '../../services/proxy/refused-tunnels.ts'
import { Tunnels } from '../../services/proxy/tunnels.ts'
import { realClock } from '../../tunnel/clock.ts'
import { acceptWebSockets } from '../../tunnel/web-socket.ts'
import { hostIdentity } from './host-id.ts'
import type { ProcessOptions } from './process-options.ts'

/** Another replica hears of a change within some milliseconds. */
const SETTLE_MS = 25
/** Of large requests that have no answer yet, of all callers. */
const MAX_BODIES_BYTES = 512 * 1024 * 1024
/** Of these, each caller may have so much: others have room, whoever sends what. No less than one request may have (`max_request_bytes`). */
const MAX_BODIES_BYTES_EACH = MAX_BODIES_BYTES / 8

/** The Proxy Service, which asks the Auth Service with its callers' credentials; of its own it has one that gives names to tools, and nothing else. */
export function createProxy(
  { config, log, now, version }: ProcessOptions,
  auth: AuthService,
  agent: Agent | undefined,
  hostId: string,
  acceptStream: (stream: Duplex) => void,
  closers: (() => Promise<void>)[],
): { proxyServer: WireServer; aggregate: Aggregate; tunnels: Tunnels } {
  const clientFor = (token: string, remoteAddress: string, endpoint: string) =>
    createApiClient(withToken(auth.carrier(), { token, remoteAddress, endpoint }))
  const assertions = new Assertions({ clientFor, feed: auth.feed, settleMs: config.store?.type === 'postgresql' ? SETTLE_MS : 0, now })
  closers.push(async () => assertions.close())
  const api = createApiClient(auth.carrier(hostIdentity(hostId, 'Proxy')))
  const refused = new RefusedTunnels({ api, clusterName: auth.clusterName, ids: createIds(), redactor: createRedactor(), now, log })
  closers.push(() => refused.close())
  const local = agent && { serves: agent.serves, target: agent.accept }
  const { tunnels, router } = createRouter({ log, now }, auth, { hostId, refused, assertions }, local)
  closers.push(async () => tunnels.close())
  const lost = new LostAgents({ tunnels, feed: auth.feed, proxyId: hostId, api, clock: realClock, log })
  closers.push(() => lost.close())
  const foreign = new ForeignHeaders(auth.feed)
  closers.push(async () => foreign.close())
  const toServers = {
    assertions,
    target: router.target,
    foreign,
    maxRequestBytes: config.proxy.max_request_bytes,
    room: new BodyRoom(MAX_BODIES_BYTES, MAX_BODIES_BYTES_EACH),
    proofs: createProofs(auth, config, now),
  }
  const aggregate = new Aggregate({
    ...toServers,
    limits: config.proxy.mcp_limits,
    clientFor,
    api,
    feed: auth.feed,
    version,
    now,
    ids: createIds(),
    key: auth.deriveKey('cursors of the aggregate'),
    onSessionKept: auth.onSessionKept,
    log,
  })
  closers.push(() => aggregate.close())
  tunnels.onChange(() => aggregate.agentsChanged())
  const proxyServer = createProxyServer({
    ...toServers,
    aggregate,
    auth: auth.handler,
    noteRefusal: auth.noteRefusedRequest,
    publicAddresses: publicAddresses(config.proxy),
    isReady: () => true,
    onUpgrade: acceptWebSockets(acceptStream),
    monotonic: () => performance.now(),
    now,
    log,
  })
  return { proxyServer, aggregate, tunnels }
}

function createProofs(auth: AuthService, { auth: { oauth } }: ProcessOptions['config'], now: () => number): DpopProofs {
  const nonces = new DpopNonces(auth.deriveKey('nonces of DPoP proofs'), now)
  return new DpopProofs({ ...auth.proofs, nonces, requiresNonce: oauth.dpop_nonces === 'required', now })
}

/** The way to the agents: the one of this process, and those that have dialled. */
function createRouter(
  { log, now }: Pick<ProcessOptions, 'log' | 'now'>,
  auth: AuthService,
  { hostId, refused, assertions }: { hostId: string; refused: RefusedTunnels; assertions: Assertions },
  local: AgentRouterOptions['local'],
) {
  const { clusterName, feed } = auth
  const tunnels = new Tunnels({
    clusterName,
    authorities: () => auth.hostAuthorityPems(),
    feed,
    catchUp: auth.catchUp,
    now,
    clock: realClock,
    proxyId: hostId,
    onTurnedAway: ({ assertion }) => assertions.forget(assertion),
    onRefused: (tunnel) => refused.note(tunnel),
    fail: (exchange, error) => router.fail(exchange, error),
    log,
  })
  const router = new AgentRouter({ local, hostId, tunnels, feed, clock: realClock, now })
  return { tunnels, router }
}
