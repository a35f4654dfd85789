import { type App, DATABASE_SCHEME } from './app.ts'
import type { Database } from './db.ts'
import { nameSchema } from './envelope.ts'

const PREFIX = 'db:'

/** The MCP server of a database: what clients, assertions and the one URL call it. No app can have such a name. */
export function databaseServerName(database: string): string {
  return `${PREFIX}${database}`
}

/** The database whose MCP server has this name; undefined for other servers. */
export function findDatabaseName(server: string): string | undefined {
  return server.startsWith(PREFIX) ? server.slice(PREFIX.length) : undefined
}

/** Where those that speak the protocol of a database themselves reach it: `/db/NAME`. */
const RAW_PATH = /^\/db\/([^/?#]+)$/

/** The database in the path of such a request. */
export function findRawDatabase(path: string): string | undefined {
  const text = RAW_PATH.exec(path)?.[1]
  if (text === undefined) return undefined
  try {
    return nameSchema.safeParse(decodeURIComponent(text)).data
  } catch {
    return undefined // a broken escape names nothing
  }
}

export function isRawPath(path: string): boolean {
  return RAW_PATH.test(path)
}

/** A database as an MCP server among others. Never stored: made from the database wherever servers are spoken of. */
export function databaseApp({ metadata, spec }: Database): App {
  const { name, description, labels } = metadata
  return {
    kind: 'app',
    version: 'v3',
    metadata: {
      name: databaseServerName(name),
      ...(description !== undefined && { description }),
      ...(labels && { labels }),
    },
    spec: { uri: `${DATABASE_SCHEME}//${spec.uri}` },
  }
}
