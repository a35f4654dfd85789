import { signDatabaseFiles } from '../src/client/admin.ts'
import { type Cluster, startCluster } from './cluster.ts'
import { startPostgres, type TestPostgres } from './fakes/postgres.ts'

export interface DatabaseStory {
  cluster: Cluster
  postgres: TestPostgres
  /** Registers the database `orders`, with these fields of its spec instead of the usual ones. */
  saveDatabase(spec?: Record<string, unknown>): Promise<void>
  close(): Promise<void>
}

/**
 * A cluster and a PostgreSQL that trust each other: database `shop` with a table `orders` of two rows, users `reader` and `writer`, and a role
 * `reads` for the first.
 */
export async function startDatabaseStory(file: Record<string, unknown> = {}): Promise<DatabaseStory> {
  const cluster = await startCluster({ file })
  const postgres = await startPostgres()
  await postgres.admin('CREATE DATABASE shop')
  for (const sql of [
    'CREATE ROLE reader LOGIN',
    'CREATE ROLE writer LOGIN',
    'CREATE TABLE orders (id int, note text)',
    'GRANT ALL ON orders TO PUBLIC',
    "INSERT INTO orders VALUES (1, 'first'), (2, 'second')",
  ])
    await postgres.admin(sql, 'shop')
  const signed = await signDatabaseFiles(cluster.admin, { hosts: ['127.0.0.1'], ttlSeconds: 3600 })
  await postgres.encrypt({
    certificate: signed.certificate,
    key: signed.key,
    clients: signed.clientAuthorities,
    rules: 'local all postgres trust\nhostssl all all 127.0.0.1/32 cert\n',
  })
  const saveDatabase = async (spec: Record<string, unknown> = {}): Promise<void> => {
    await cluster.save({
      kind: 'db',
      version: 'v3',
      metadata: { name: 'orders', description: 'Orders of the shop', labels: { env: 'test' } },
      spec: { protocol: 'postgres', uri: `127.0.0.1:${postgres.port}`, mcp: { statement_timeout: 20, max_rows: 3 }, ...spec },
    })
    await cluster.running.agent?.announced()
  }
  await saveDatabase()
  await cluster.saveRole('reads', { allow: { db_labels: { env: 'test' }, db_users: ['reader'], db_names: ['shop'] } })
  return {
    cluster,
    postgres,
    saveDatabase,
    close: async () => {
      await cluster.close()
      await postgres.close()
    },
  }
}
