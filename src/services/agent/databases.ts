import type { AppError } from '../../lib/errors.ts'
import type { Upstream } from '../../mcp/upstream/upstream.ts'
import { databaseApp, databaseServerName, findDatabaseName } from '../../resources/db-app.ts'
import type { Database } from '../../resources/db.ts'
import { NO_SECRETS } from './headers.ts'
import { type Served, Servers, type ServersOptions } from './servers.ts'

export interface DatabasesOptions extends Pick<ServersOptions, 'selectors' | 'audit' | 'tokens' | 'sessionTag' | 'limits' | 'log'> {
  fixed: readonly Database[]
  createUpstream(database: Database): Upstream
  /** Told after a database came or changed, or went (`undefined`). */
  onChange(name: string, database: Database | undefined): void
}

/** Keeps the databases that are served equal to those that are wanted; each is an MCP server among others. */
export class Databases {
  readonly #servers: Servers
  /** The databases behind what is served, by the names of their MCP servers. */
  readonly #known = new Map<string, Database>()
  readonly #fixed: ReadonlySet<string>

  constructor({ fixed, createUpstream, onChange, ...options }: DatabasesOptions) {
    for (const database of fixed) this.#known.set(databaseServerName(database.metadata.name), database)
    this.#fixed = new Set(this.#known.keys())
    this.#servers = new Servers({
      ...options,
      secrets: NO_SECRETS,
      fixed: fixed.map(databaseApp),
      createUpstream: (app) => createUpstream(this.#get(app.metadata.name)),
      onChange: (server, served) => onChange(findDatabaseName(server) ?? server, served && this.#get(server)),
    })
  }

  find(server: string): Served | undefined {
    return this.#servers.find(server)
  }

  /** The database behind an MCP server that is served. */
  findDatabase(server: string): Database | undefined {
    return this.#servers.find(server) && this.#known.get(server)
  }

  list(): Served[] {
    return this.#servers.list()
  }

  /** Brings one database in line with what is wanted of it now; `undefined` when the resource is gone. */
  reconcile(name: string, database: Database | undefined): void {
    const server = databaseServerName(name)
    if (this.#fixed.has(server)) return this.#servers.reconcile(server, database && databaseApp(database))
    const before = this.#known.get(server)
    // What an MCP server shows of its database is not all there is to it: where to connect and how is in the database alone.
    if (before && database && !isSame(before, database)) this.#servers.reconcile(server, undefined)
    if (database) this.#known.set(server, database)
    this.#servers.reconcile(server, database && databaseApp(database))
    if (!database) this.#known.delete(server)
  }

  async close(why: AppError): Promise<void> {
    await this.#servers.close(why)
  }

  #get(server: string): Database {
    const database = this.#known.get(server)
    if (!database) throw new Error(`no database behind ${server}`)
    return database
  }
}

/** Whether connections to one are as good as connections to the other. */
export function isSame(a: Database, b: Database): boolean {
  return JSON.stringify(a.spec) === JSON.stringify(b.spec)
}
