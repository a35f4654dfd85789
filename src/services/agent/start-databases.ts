import type { AppError } from '../../lib/errors.ts'
import type { McpLimits } from '../../mcp/limits-schema.ts'
import type { AuditOptions } from '../../mcp/recorder.ts'
import type { Upstream } from '../../mcp/upstream/upstream.ts'
import type { App } from '../../resources/app.ts'
import { databaseApp, databaseServerName } from '../../resources/db-app.ts'
import type { Identity } from '../../resources/identity.ts'
import { withTag } from '../../tunnel/session-tag.ts'
import type { Change, ResourceFeed } from '../../resources/feed.ts'
import type { Callers } from './callers.ts'
import { Databases, isSame } from './databases.ts'
import type { DatabasesConfig } from './databases-config.ts'
import { DATABASE_SERVERS, Heartbeat, type HeartbeatOptions } from './heartbeat.ts'
import { ConnectionBudget } from './postgres/budget.ts'
import { createDatabaseUpstream } from './postgres/upstream.ts'
import { RawStreams } from './postgres/raw-streams.ts'
import type { Door, Served, ServersOptions } from './servers.ts'

/** An idle connection to a database is closed after that time. */
const IDLE_MS = 60_000

export interface DatabasesStart extends HeartbeatOptions {
  databases: DatabasesConfig
  limits: McpLimits
  clusterName: string
  feed: ResourceFeed
  /** Makes a server of one era of the protocol one for clients of both. */
  bridge(upstream: Upstream, server: string): Upstream
  callers: Callers
  audit: AuditOptions
  tokens: ServersOptions['tokens']
  sessionTag: ServersOptions['sessionTag']
}

export interface RunningDatabases {
  find(server: string): Served | undefined
  list(): Served[]
  /** Whoever answers the requests of those that speak the protocol of a database themselves. */
  rawDoor(server: string): Door | undefined
  /** Ends the raw sessions of those who may not stay. */
  cut(reasonFor: (identity: Identity, app: App) => string | undefined): void
  /** After each change of a resource. */
  apply(change: Change): void
  /** Settles when the Auth Service knows what is offered now. */
  announced(): Promise<void>
  close(why: AppError): Promise<void>
}

/** The databases of an agent: those of its configuration, and those of the cluster that its selectors match. */
export function startDatabases(options: DatabasesStart): RunningDatabases {
  const { databases: config, limits, api, log, clusterName, version, feed, bridge, callers, audit, tokens, sessionTag } = options
  const heartbeat = new Heartbeat(options, DATABASE_SERVERS, (name, reason) => {
    const refused = databaseServerName(name)
    databases.find(refused)?.endpoint.cut(() => reason)
    streams.cut(({ server }) => (server === refused ? reason : undefined))
  })
  const deps = {
    api,
    clusterName,
    version,
    callers,
    audit,
    secretsDirectory: config.secrets_directory,
    budget: new ConnectionBudget({ perCaller: config.connections_per_user, total: config.connections }),
    idleMs: IDLE_MS,
    log,
  }
  const databases = new Databases({
    selectors: config.enabled ? config.resources.map(({ labels }) => labels) : [],
    fixed: config.enabled ? config.databases : [],
    createUpstream: (database) => bridge(createDatabaseUpstream(database, deps), databaseServerName(database.metadata.name)),
    audit,
    tokens,
    limits,
    sessionTag,
    log,
    onChange: (name, database) => (database ? heartbeat.announce(database) : heartbeat.withdraw(name)),
  })
  const streams = new RawStreams({
    ...deps,
    sessionId: () => (sessionTag === undefined ? audit.ids.token(24) : withTag(audit.ids.token(24), sessionTag)),
  })
  const cut: RunningDatabases['cut'] = (reasonFor) =>
    streams.cut(({ identity, server, database }) => {
      const current = databases.findDatabase(server)
      if (!current) return 'the database is no longer served'
      return isSame(current, database) ? reasonFor(identity, databaseApp(current)) : 'the database was changed: connect again'
    })
  for (const database of feed.list('db')) databases.reconcile(database.metadata.name, database)
  return {
    find: (server) => databases.find(server),
    list: () => databases.list(),
    rawDoor: (server) => {
      const database = databases.findDatabase(server)
      return database && { serve: (exchange, caller) => streams.serve(database, exchange, caller) }
    },
    cut,
    apply: (change) => {
      if (change.type !== 'revoked' && change.kind === 'db') databases.reconcile(change.name, feed.find('db', change.name))
      cut(() => undefined)
    },
    announced: () => heartbeat.settled(),
    close: async (why) => {
      await heartbeat.close()
      streams.cut(() => why.message)
      await databases.close(why)
    },
  }
}
