import { findOfferFault } from '../../access/offers.ts'
import { labelsOf } from '../../resources/app.ts'
import type { Health } from '../../resources/app-server.ts'
import { databaseServerName, findDatabaseName } from '../../resources/db-app.ts'
import type { Labels } from '../../resources/envelope.ts'
import type { Change, ResourceFeed } from '../../resources/feed.ts'
import { tagOf } from '../../tunnel/session-tag.ts'

/** A server as a host offers it. */
export interface Offer {
  server: string
  hostId: string
  labels: Labels
  /** Undefined where nobody watches. */
  health: Health['state'] | undefined
}

const KINDS = ['app_server', 'db_server'] as const
const MAX_TAGS = 20_000
const NONE: ReadonlyMap<string, Offer> = new Map()

/** What hosts offer, as their heartbeats say. */
export class Offers {
  readonly #feed: ResourceFeed
  /** Server → host → what it says. */
  readonly #servers = new Map<string, Map<string, Offer>>()
  /** Kind and name of a heartbeat → what it says. */
  readonly #heartbeats = new Map<string, Offer>()
  /** What the ids of a host's sessions end in → the host. */
  readonly #tags = new Map<string, string>()

  constructor(feed: ResourceFeed) {
    this.#feed = feed
    for (const kind of KINDS) for (const { metadata } of feed.list(kind)) this.#note(kind, metadata.name)
    feed.subscribe((change) => this.#apply(change))
  }

  /** By host; those that may not offer it, too: see `mayServe`. */
  of(server: string): ReadonlyMap<string, Offer> {
    return this.#servers.get(server) ?? NONE
  }

  hostOfTag(tag: string): string | undefined {
    return this.#tags.get(tag)
  }

  /** Whether the join token of the host lets it serve this. */
  mayServe({ server, hostId, labels: offered }: Offer): boolean {
    const spec = this.#feed.find('host', hostId)?.spec
    const database = findDatabaseName(server)
    if (database !== undefined)
      return findOfferFault({ limits: spec?.db_labels, registered: this.#labelsOfDatabase(database), offered }) === undefined
    const app = this.#feed.find('app', server)
    return findOfferFault({ limits: spec?.app_labels, registered: app && labelsOf(app), offered }) === undefined
  }

  /** The same where a session has begun; what the host may not offer any more is on no list. */
  mayGoOn(server: string, hostId: string): boolean {
    return this.mayServe(this.of(server).get(hostId) ?? { server, hostId, labels: {}, health: undefined })
  }

  #labelsOfDatabase(name: string): Labels | undefined {
    const database = this.#feed.find('db', name)
    return database && (database.metadata.labels ?? {})
  }

  #apply(change: Change): void {
    if (change.type === 'revoked') return
    for (const kind of KINDS) if (change.kind === kind) this.#note(kind, change.name)
  }

  #note(kind: (typeof KINDS)[number], name: string): void {
    const key = `${kind} ${name}`
    const before = this.#heartbeats.get(key)
    const after = this.#find(kind, name)
    if (before) {
      const hosts = this.#servers.get(before.server)
      hosts?.delete(before.hostId)
      if (hosts?.size === 0) this.#servers.delete(before.server)
    }
    this.#heartbeats.delete(key)
    if (!after) return
    this.#heartbeats.set(key, after)
    const hosts = this.#servers.get(after.server) ?? new Map<string, Offer>()
    this.#servers.set(after.server, hosts.set(after.hostId, after))
    if (this.#tags.size >= MAX_TAGS) this.#tags.clear()
    this.#tags.set(tagOf(after.hostId), after.hostId)
  }

  #find(kind: (typeof KINDS)[number], name: string): Offer | undefined {
    if (kind === 'db_server') {
      const spec = this.#feed.find(kind, name)?.spec
      const database = spec?.database.metadata
      return (
        database && { server: databaseServerName(database.name), hostId: spec.host_id, labels: database.labels ?? {}, health: undefined }
      )
    }
    const spec = this.#feed.find(kind, name)?.spec
    return spec && { server: spec.app.metadata.name, hostId: spec.host_id, labels: labelsOf(spec.app), health: spec.health?.state }
  }
}
