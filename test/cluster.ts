import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { createApiToken } from '../src/api/api-tokens.ts'
import { upsertResource } from '../src/api/resources.ts'
import { acceptInvite, inviteUser } from '../src/api/users.ts'
import { fileSchema } from '../src/cli/server/config.ts'
import { type Running, startRunning } from '../src/cli/server/running.ts'
import { signIdentity } from '../src/client/admin.ts'
import { type EventFilter, fetchAllEvents } from '../src/client/audit.ts'
import { type ApiClient, createApiClient } from '../src/client/call.ts'
import { type Logger, silentLogger } from '../src/lib/log.ts'
import { localAdministrator } from '../src/services/auth/start.ts'
import type { StoreLocation } from '../src/storage/store.ts'
import { startPostgres } from './fakes/postgres.ts'
import { eventually } from './wait.ts'

export const PASSWORD = 'correct horse battery staple'

export interface Cluster {
  running: Running
  dataDirectory: string
  /** `http://127.0.0.1:PORT`. */
  url: string
  /** The Auth Service with the rights of the local administrator. */
  admin: ApiClient
  save(resource: {
    kind: string
    sub_kind?: string
    version: string
    metadata: Record<string, unknown> & { name: string }
    spec: unknown
  }): Promise<void>
  /** Registers a stdio server that runs as the account of the tests. */
  saveStdioApp(name: string, command: string, args: string[], labels?: Record<string, string>): Promise<void>
  /** Registers a server that speaks streamable HTTP at `url`. */
  saveHttpApp(name: string, url: string, labels?: Record<string, string>): Promise<void>
  saveRole(name: string, spec: { allow?: unknown; deny?: unknown; options?: unknown }): Promise<void>
  /** Creates a user with the usual password. */
  saveUser(name: string, roles: string[]): Promise<void>
  /** A bearer token of a user. */
  tokenOf(user: string, scope?: { servers?: string[]; roles?: string[] }): Promise<string>
  /** Where MCP clients reach a server. */
  mcpUrl(server: string): URL
  /** An identity file of a user, for `tsh -i FILE --proxy HOST:PORT`; its path. */
  identityFileOf(user: string): Promise<string>
  /** What the audit log holds, oldest first. */
  events(filter?: EventFilter): Promise<AuditEvent[]>
  /** The first `count` events of a filter, waited for: agents hand them over in the background. */
  eventsOnceThere(filter: EventFilter, count: number): Promise<AuditEvent[]>
  /** Stops it and starts it again on the same data. */
  restart(): Promise<void>
  close(): Promise<void>
}

export type AuditEvent = Record<string, unknown>

/**
 * Boots Auth Service, proxy and agent in this process, on a free loopback port, with data that vanish at `close`. Their store is a file, or a
 * PostgreSQL server of their own where SALLYPORT_TEST_STORE=postgresql is in the environment.
 */
export async function startCluster({
  log = silentLogger,
  file = {},
  diag,
  store,
}: {
  log?: Logger
  file?: Record<string, unknown>
  diag?: { host: string; port: number }
  store?: StoreLocation
} = {}): Promise<Cluster> {
  const postgres = process.env['SALLYPORT_TEST_STORE'] === 'postgresql' ? await startPostgres() : undefined
  const dataDirectory = await mkdtemp(join(tmpdir(), 'sallyport-test-'))
  const start = (): Promise<Running> => {
    const { auth_service, proxy_service, app_service, db_service } = fileSchema.parse({
      auth_service: { cluster_name: 'test' },
      proxy_service: { web_listen_addr: '127.0.0.1:0' },
      ...file,
    })
    const config = {
      dataDirectory,
      logLevel: 'info' as const,
      nodename: undefined,
      auth: auth_service,
      proxy: proxy_service,
      agent: app_service,
      databases: db_service,
      diag,
      store: postgres ? { type: 'postgresql' as const, at: postgres.connString } : store,
    }
    return startRunning({ config, env: process.env, log, now: Date.now, version: '0.0.0' })
  }
  let running = await start()
  const cluster: Cluster = {
    get running() {
      return running
    },
    dataDirectory,
    get url() {
      return `http://127.0.0.1:${running.address.port}`
    },
    admin: (route, input) => createApiClient(running.auth.carrier(localAdministrator(Date.now())))(route, input),
    save: async (resource) => {
      await cluster.admin(upsertResource, { kind: resource.kind, name: resource.metadata.name, resource })
    },
    saveStdioApp: async (name, command, args, labels = { env: 'test' }) => {
      await cluster.save({
        kind: 'app',
        version: 'v3',
        metadata: { name, labels },
        spec: { mcp: { command, args, run_as_host_user: userInfo().username } },
      })
      await running.agent?.announced()
    },
    saveHttpApp: async (name, url, labels = { env: 'test' }) => {
      await cluster.save({ kind: 'app', version: 'v3', metadata: { name, labels }, spec: { uri: `mcp+${url}` } })
      await running.agent?.announced()
    },
    saveRole: (name, spec) => cluster.save({ kind: 'role', version: 'v8', metadata: { name }, spec }),
    saveUser: async (name, roles) => {
      const { path } = await cluster.admin(inviteUser, { name, roles })
      await cluster.admin(acceptInvite, { token: path.split('/').at(-1) ?? '', password: PASSWORD })
    },
    tokenOf: async (user, scope = {}) => (await cluster.admin(createApiToken, { user, ...scope })).token,
    mcpUrl: (server) => new URL(`/mcp/apps/${server}`, cluster.url),
    identityFileOf: async (user) => {
      const { text } = await signIdentity(cluster.admin, { user })
      const path = join(dataDirectory, `${user}.identity`)
      await writeFile(path, text, { mode: 0o600 })
      return path
    },
    events: async (filter = {}) => (await Array.fromAsync(fetchAllEvents(cluster.admin, filter))).map(parseEvent),
    eventsOnceThere: (filter, count) =>
      eventually(`${count} events of ${JSON.stringify(filter)}`, async () => {
        const events = await cluster.events(filter)
        return events.length >= count ? events : undefined
      }),
    restart: async () => {
      await running.close()
      running = await start()
    },
    close: async () => {
      await running.close()
      await postgres?.close()
      await rm(dataDirectory, { recursive: true, force: true })
    },
  }
  return cluster
}

function parseEvent(line: string): AuditEvent {
  const value: unknown = JSON.parse(line)
  if (typeof value !== 'object' || value === null) throw new Error(`no event: ${line}`)
  return { ...value }
}
