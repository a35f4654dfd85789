import type { TLSSocket } from 'node:tls'
import { findLock, lockReason } from '../../access/locks.ts'
import { type CertificateFacts, verifyIdentityCertificate } from '../../ca/identity-certificate.ts'
import { AppError, toAppError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import type { Change, ResourceFeed } from '../../resources/feed.ts'
import type { Identity } from '../../resources/identity.ts'
import type { Clock } from '../../tunnel/clock.ts'
import type { Exchange } from '../../tunnel/exchange.ts'
import { openTunnel, type ProxyTunnel } from '../../tunnel/proxy-tunnel.ts'
import type { RefusedTunnel } from './refused-tunnels.ts'

export interface TunnelsOptions {
  clusterName: string
  /** Host CAs, PEM. */
  authorities: () => string[]
  feed: ResourceFeed
  /** When this settles, the feed has whatever was committed before the call, at whichever replica. Rejects while the store cannot be read. */
  catchUp: () => Promise<void>
  /** Milliseconds since 1970. */
  now: () => number
  clock: Clock
  /** Of this proxy, for agents that have tunnels to several. */
  proxyId?: string | undefined
  /** An exchange of which nothing was answered; see `openTunnel`. */
  fail(exchange: Exchange, error: AppError): void
  /** An exchange whose caller the agent does not take; see `openTunnel`. */
  onTurnedAway?: (exchange: Exchange) => void
  /** Told of each that is not taken. */
  onRefused?: (refused: RefusedTunnel) => void
  log: Logger
}

/** Agents that are connected at most. */
const MAX_HOSTS = 10_000
/** Of one agent: one is used, and others may still be drained. */
const MAX_PER_HOST = 4
/** Lost agents that are remembered. */
const MAX_LOST = 1000
/** So long before its certificate ends an agent is asked for a tunnel with the renewed one; less when the certificate is short-lived. */
const HANDOVER_MS = 5 * 60_000
const DRAIN_POLL_MS = 20
const CATCH_UP_MS = 10_000
const MAX_TIMER_MS = 2 ** 31 - 1
const ROLES = ['App', 'Db']

interface Connection {
  facts: CertificateFacts
  tunnel: ProxyTunnel
}

/** The tunnels of agents on other machines, by host. */
export class Tunnels {
  readonly #options: TunnelsOptions
  readonly #hosts = new Map<string, Set<Connection>>()
  /** Host id → when its last tunnel was lost; long ago for one that was closed in good order. */
  readonly #lost = new Map<string, number>()
  readonly #listeners = new Set<(hostId: string) => void>()
  readonly #unsubscribe: () => void
  #isClosed = false

  constructor(options: TunnelsOptions) {
    this.#options = options
    this.#unsubscribe = options.feed.subscribe((change) => this.#apply(change))
  }

  get isEmpty(): boolean {
    return this.#hosts.size === 0
  }

  isConnected(hostId: string): boolean {
    return this.#hosts.has(hostId)
  }

  /** Told when an agent comes, with its first tunnel, and when it goes. */
  onChange(listener: (hostId: string) => void): void {
    this.#listeners.add(listener)
  }

  /** For how long a host has been lost, ms; undefined for one that is connected or was never seen. */
  lostForMs(hostId: string): number | undefined {
    const at = this.#lost.get(hostId)
    return at === undefined ? undefined : this.#options.clock.now() - at
  }

  /** The newest tunnel of a host that takes exchanges. */
  find(hostId: string): ProxyTunnel | undefined {
    return [...(this.#hosts.get(hostId) ?? [])].findLast(({ tunnel }) => tunnel.isTaking())?.tunnel
  }

  /** Ends exchanges under way; see `ProxyTunnel.cut`. @param hostId of this agent alone. */
  cut(reasonFor: (exchange: Exchange, hostId: string) => AppError | undefined, hostId?: string): void {
    for (const { facts, tunnel } of hostId === undefined ? this.#all() : (this.#hosts.get(hostId) ?? []))
      tunnel.cut((exchange) => reasonFor(exchange, facts.name))
  }

  /** Takes the connection of an agent, or ends it: whoever connects is nobody before its certificate says otherwise. */
  accept(socket: TLSSocket): void {
    void this.#take(socket)
  }

  /** Never rejects. */
  async #take(socket: TLSSocket): Promise<void> {
    let facts: CertificateFacts | undefined
    try {
      facts = this.#verify(socket)
      // Who joined at another replica just now may come here before word of it does.
      if (this.#reasonToEnd(facts) !== undefined) await this.#catchUp()
      if (socket.destroyed) return
      this.#admit(facts)
      this.#add(facts, socket)
    } catch (thrown) {
      const { code, message: reason } = toAppError(thrown)
      const { remoteAddress = '' } = socket
      this.#options.log.warn('a tunnel was refused', { remoteAddress, reason })
      // One that comes while this ends is only too late, and of one that cannot be judged nothing is known.
      if (code !== 'unavailable') this.#options.onRefused?.({ remoteAddress, reason, hostId: facts?.name })
      socket.destroy()
    }
  }

  /** Asks the agents for tunnels to other proxies; settles when nothing is under way any more, but after at most `ms`. */
  async drain(ms: number): Promise<void> {
    this.#isClosed = true
    for (const { tunnel } of this.#all()) tunnel.drain()
    for (let left = ms; left > 0 && this.#all().some(({ tunnel }) => tunnel.load() > 0); left -= DRAIN_POLL_MS) {
      await new Promise<void>((resolve) => this.#options.clock.after(DRAIN_POLL_MS, resolve))
    }
  }

  close(): void {
    this.#isClosed = true
    this.#unsubscribe()
    for (const { tunnel } of this.#all()) tunnel.close('the proxy is shutting down')
  }

  /** @throws AppError unauthenticated */
  #verify(socket: TLSSocket): CertificateFacts {
    const { authorities, clusterName, now } = this.#options
    const certificate = socket.getPeerX509Certificate()
    if (!certificate) throw new AppError('unauthenticated', 'it showed no certificate')
    return verifyIdentityCertificate(certificate, authorities(), { clusterName, now: now() })
  }

  /** @throws AppError unavailable when the store does not answer. */
  async #catchUp(): Promise<void> {
    const { catchUp, clock } = this.#options
    const late = Promise.withResolvers<never>()
    const cancel = clock.after(CATCH_UP_MS, () => late.reject(new Error('no answer in time')))
    try {
      await Promise.race([catchUp(), late.promise])
    } catch (cause) {
      throw new AppError('unavailable', 'the store of the cluster does not say whether this host may connect', { cause })
    } finally {
      cancel()
    }
  }

  /** @throws AppError permission_denied, unavailable, resource_exhausted. */
  #admit(facts: CertificateFacts): void {
    if (this.#isClosed) throw new AppError('unavailable', 'the proxy is shutting down')
    if (facts.kind !== 'host' || !facts.roles.some((role) => ROLES.includes(role)))
      throw new AppError('permission_denied', `${facts.kind} "${facts.name}" is no agent`)
    const reason = this.#reasonToEnd(facts)
    if (reason !== undefined) throw new AppError('permission_denied', `host "${facts.name}": ${reason}`)
    if (!this.#hosts.has(facts.name) && this.#hosts.size >= MAX_HOSTS) throw new AppError('resource_exhausted', 'too many agents')
  }

  #add(facts: CertificateFacts, socket: TLSSocket): void {
    const { clock, now, log, fail, onTurnedAway, proxyId } = this.#options
    const hostId = facts.name
    const tunnel = openTunnel(socket, { peer: `the agent "${hostId}"`, clock, fail, onTurnedAway, proxyId })
    const connection = { facts, tunnel }
    const connections = this.#hosts.get(hostId) ?? new Set()
    const isNew = connections.size === 0
    connections.add(connection)
    this.#hosts.set(hostId, connections)
    this.#lost.delete(hostId)
    for (const oldest of connections) {
      if (connections.size <= MAX_PER_HOST) break
      connections.delete(oldest)
      oldest.tunnel.close('too many tunnels of one agent')
    }
    const leftMs = facts.expiresAt - now()
    const handover = clock.after(Math.min(leftMs - Math.min(HANDOVER_MS, leftMs / 6), MAX_TIMER_MS), () => tunnel.drain())
    const end = clock.after(Math.min(leftMs, MAX_TIMER_MS), () => tunnel.close('the certificate of the agent has expired'))
    log.info('an agent has connected', { host_id: hostId, tunnels: connections.size, remoteAddress: socket.remoteAddress })
    void tunnel.closed.then((error) => {
      handover()
      end()
      this.#remove(hostId, connection, error)
    })
    if (isNew) this.#tell(hostId)
  }

  #remove(hostId: string, connection: Connection, error: AppError | undefined): void {
    this.#options.log.info('the tunnel of an agent has ended', { host_id: hostId, ...(error && { error: error.message }) })
    const connections = this.#hosts.get(hostId)
    if (!connections?.delete(connection) || connections.size > 0) return
    this.#hosts.delete(hostId)
    // One that said goodbye does not come back with its sessions.
    this.#lost.set(hostId, error ? this.#options.clock.now() : Number.NEGATIVE_INFINITY)
    for (const oldest of this.#lost.keys()) {
      if (this.#lost.size <= MAX_LOST) break
      this.#lost.delete(oldest)
    }
    this.#tell(hostId)
  }

  #apply(change: Change): void {
    if (change.type !== 'revoked' && change.kind !== 'lock' && change.kind !== 'host') return
    for (const { facts, tunnel } of this.#all()) {
      const reason = change.type === 'revoked' && change.name === facts.serial ? 'its certificate was revoked' : this.#reasonToEnd(facts)
      if (reason !== undefined) tunnel.close(reason)
    }
  }

  #reasonToEnd(facts: CertificateFacts): string | undefined {
    const { feed, now } = this.#options
    const host = feed.find('host', facts.name)
    if (!host || facts.account === undefined || host.status.join_id !== facts.account) return 'it was removed, or has joined anew since'
    const lock = findLock(feed.list('lock'), identityOf(facts), now())
    return lock && lockReason(lock)
  }

  #all(): Connection[] {
    return [...this.#hosts.values()].flatMap((connections) => [...connections])
  }

  #tell(hostId: string): void {
    for (const listener of this.#listeners) listener(hostId)
  }
}

function identityOf({ kind, name, roles, serial, expiresAt, joinToken }: CertificateFacts): Identity {
  return {
    kind,
    name,
    roles,
    traits: {},
    credential: 'certificate',
    credentialId: serial,
    expiresAt,
    mfaVerified: false,
    ...(joinToken !== undefined && { joinToken }),
  }
}
