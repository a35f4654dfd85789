import type { KeyObject } from 'node:crypto'
import type { IdentityFile } from '../../ca/identity-file.ts'
import type { ReadSource } from '../../client/join-source.ts'
import type { Svid, SvidWanted } from '../../client/workload-identity.ts'

/** An identity as the Auth Service issued it, with what belongs beside it. */
export interface Issued {
  /** Key, certificate and the host CAs that vouch for the proxy. */
  identity: IdentityFile
  clusterName: string
  /** Milliseconds since 1970. */
  expiresAt: number
  /** PEM. */
  hostAuthorities: readonly string[]
  userAuthorities: readonly string[]
}

/** The bot's own identity, good to renew itself and to issue outputs. */
export interface OwnIdentity extends Issued {
  /** `bot-NAME`. */
  name: string
  botInstanceId?: string | undefined
  generation?: number | undefined
  /** Opaque: what the Auth Service wants to see at the next join of a bound key. */
  joinState?: string | undefined
  /** False: it cannot be renewed, the bot joins again in place of that. */
  renewable: boolean
}

export interface OutputRequest {
  /** Some of the bot's roles; without, all of them. */
  roles?: readonly string[] | undefined
  ttlSeconds: number
  /** False: good for calls, but gets no further certificates. */
  allowReissue: boolean
  /** The key that the certificate is to be for. */
  privateKey: KeyObject
}

export interface TokenWanted {
  /** Path of the MCP endpoint. */
  endpoint: string
  roles?: readonly string[] | undefined
  ttlSeconds: number
}

/** What a bot says of itself; the rest the cluster knows. */
export interface BotFacts {
  /** The first since the process started. */
  isStartup: boolean
  oneshot: boolean
  /** Of the process. */
  uptimeSeconds: number
}

export interface RefusedDestination {
  service: string
  /** As `Destination.name` says. */
  destination: string
  reason: string
}

/** What the bot asks of the Auth Service. Refusals come as the AppErrors they are; `unavailable` and `deadline_exceeded` pass. */
export interface BotCluster {
  /** `boundKey` and `joinState` are for the method bound_keypair. */
  join(proof: ReadSource, wanted: { ttlSeconds: number; boundKey: KeyObject; joinState: string | undefined }): Promise<OwnIdentity>
  /** With the identity that is being renewed; one whose answer was lost may be asked for again. */
  renew(own: OwnIdentity, wanted: { ttlSeconds: number }): Promise<OwnIdentity>
  issueOutput(own: OwnIdentity, wanted: OutputRequest): Promise<Issued>
  announce(own: OwnIdentity, facts: BotFacts): Promise<void>
  reportDestination(own: OwnIdentity, refused: RefusedDestination): Promise<void>
  issueX509Svid(own: OwnIdentity, wanted: SvidWanted, privateKey: KeyObject): Promise<Svid>
  issueJwtSvid(own: OwnIdentity, wanted: SvidWanted, audiences: readonly string[]): Promise<Svid>
  /** A bearer token for one MCP endpoint, by its path. */
  issueToken(own: OwnIdentity, wanted: TokenWanted): Promise<{ token: string; expiresAt: number }>
}
