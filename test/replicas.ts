import { tmpdir } from 'node:os'
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createApiToken } from '../src/api/api-tokens.ts'
import { upsertResource } from '../src/api/resources.ts'
import { acceptInvite, inviteUser } from '../src/api/users.ts'
import { fileSchema } from '../src/cli/server/config.ts'
import { type Running, startRunning } from '../src/cli/server/running.ts'
import { type EventFilter, fetchAllEvents } from '../src/client/audit.ts'
import { type ApiClient, createApiClient } from '../src/client/call.ts'
import { silentLogger } from '../src/lib/log.ts'
import { localAdministrator } from '../src/services/auth/start.ts'
import { PASSWORD } from './cluster.ts'
import { type Balancer, startBalancer } from './fakes/balancer.ts'
import { startPostgres, type TestPostgres } from './fakes/postgres.ts'

/** Two processes' worth of Auth and Proxy Service on one PostgreSQL, behind one address. */
export interface Replicas {
  /** `http://127.0.0.1:PORT` of the balancer. */
  url: string
  balancer: Balancer
  running: [Running, Running]
  postgres: TestPostgres
  dataDirectories: [string, string]
  /** The Auth Services in turn, with the rights of the local administrator. */
  admin: ApiClient
  save(resource: { kind: string; version: string; metadata: { name: string; [member: string]: unknown }; spec: unknown }): Promise<void>
  saveUser(name: string, roles: string[]): Promise<void>
  tokenOf(user: string): Promise<string>
  /** All events of a type, oldest first. */
  events(filter: EventFilter): Promise<Record<string, unknown>[]>
  close(): Promise<void>
}

/** Boots both in this process, on a PostgreSQL server that ends with them. */
export async function startReplicas({ file = {} }: { file?: Record<string, unknown> } = {}): Promise<Replicas> {
  const directory = await mkdtemp(join(tmpdir(), 'sallyport-replicas-'))
  const [postgres, balancer] = await Promise.all([startPostgres(), startBalancer()])
  const dataDirectories: [string, string] = [join(directory, 'a'), join(directory, 'b')]
  const at = `postgresql://postgres@127.0.0.1:${postgres.port}/postgres`
  const boot = async (dataDirectory: string): Promise<Running> => {
    const { auth_service, proxy_service, app_service, db_service } = fileSchema.parse({
      auth_service: { cluster_name: 'test' },
      ...file,
      proxy_service: { web_listen_addr: '127.0.0.1:0', public_addr: `127.0.0.1:${balancer.port}` },
    })
    const services = { auth: auth_service, proxy: proxy_service, agent: app_service, databases: db_service }
    const config = {
      dataDirectory,
      logLevel: 'info' as const,
      nodename: undefined,
      ...services,
      store: { type: 'postgresql' as const, at },
    }
    return startRunning({ config, env: process.env, log: silentLogger, now: Date.now, version: '0.0.0' })
  }
  const first = await boot(dataDirectories[0])
  await mkdir(dataDirectories[1], { mode: 0o700 })
  await copyFile(join(dataDirectories[0], 'secret.key'), join(dataDirectories[1], 'secret.key'))
  const running: [Running, Running] = [first, await boot(dataDirectories[1])]
  balancer.targets.push(...running.map(({ address }) => address.port))
  let turn = 0
  const admin: ApiClient = (route, input) =>
    createApiClient((running[turn++ % 2] ?? first).auth.carrier(localAdministrator(Date.now())))(route, input)
  return {
    url: `http://127.0.0.1:${balancer.port}`,
    balancer,
    running,
    postgres,
    dataDirectories,
    admin,
    save: async (resource) => {
      await admin(upsertResource, { kind: resource.kind, name: resource.metadata.name, resource })
      for (const { agent } of running) await agent?.announced()
    },
    saveUser: async (name, roles) => {
      const { path } = await admin(inviteUser, { name, roles })
      await admin(acceptInvite, { token: path.split('/').at(-1) ?? '', password: PASSWORD })
    },
    tokenOf: async (user) => (await admin(createApiToken, { user })).token,
    events: async (filter) => (await Array.fromAsync(fetchAllEvents(admin, filter))).map(parseEvent),
    close: async () => {
      await balancer.close()
      for (const one of running) await one.close()
      await postgres.close()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

function parseEvent(line: string): Record<string, unknown> {
  const value: unknown = JSON.parse(line)
  if (typeof value !== 'object' || value === null) throw new Error(`no event: ${line}`)
  return { ...value }
}
