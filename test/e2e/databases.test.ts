import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type DatabaseStory, startDatabaseStory } from '../database-story.ts'
import { POSTGRES_BIN } from '../fakes/postgres.ts'
import { eventually, within } from '../wait.ts'

// From an MCP client through the gateway into a real PostgreSQL, as a database user that the caller's own certificate names.

const SERVER = 'db:orders'
const AS_READER = 'teleport://clusters/test/databases/orders?dbUser=reader&dbName=shop'

let story: DatabaseStory
let cluster: DatabaseStory['cluster']
let postgres: DatabaseStory['postgres']
let saveDatabase: DatabaseStory['saveDatabase']

beforeAll(async () => {
  if (POSTGRES_BIN === undefined) return
  story = await startDatabaseStory()
  ;({ cluster, postgres, saveDatabase } = story)
  await cluster.saveRole('tools', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } })
  for (const [name, role] of [
    ['alice', 'reads'],
    ['bob', 'tools'],
    ['carol', 'reads'],
    ['dave', 'reads'],
  ] as const)
    await cluster.saveUser(name, [role])
})

afterAll(() => story?.close())

async function connect(user: string, url = new URL(`/mcp/apps/${SERVER}`, cluster.url)): Promise<Client> {
  const client = new Client({ name: 'test', version: '1.0.0' })
  const headers = { authorization: `Bearer ${await cluster.tokenOf(user)}` }
  await client.connect(new StreamableHTTPClientTransport(url, { requestInit: { headers } }))
  return client
}

async function query(client: Client, sql: string, database = AS_READER): Promise<{ isError: boolean; text: string }> {
  const { content, isError } = await client.callTool({ name: 'teleport_postgres_query', arguments: { database, query: sql } })
  const [first] = content
  return { isError: isError === true, text: first?.type === 'text' ? first.text : '' }
}

describe.skipIf(POSTGRES_BIN === undefined)('a database', () => {
  it('is not there for somebody whose roles are about apps, whatever tools they allow', async () => {
    await expect(connect('bob')).rejects.toThrow('not found')
  })

  it('cannot be given its name by an app', async () => {
    const app = {
      kind: 'app',
      version: 'v3',
      metadata: { name: SERVER, labels: { env: 'test' } },
      spec: { uri: 'mcp+http://127.0.0.1:1/mcp' },
    }
    await expect(cluster.save(app)).rejects.toThrow('would be the MCP server of a database')
  })

  it('refuses other users, other names, other databases, and changes, and writes all of it down', async () => {
    const client = await connect('alice')
    const uri = (user: string, name: string) => `teleport://clusters/test/databases/orders?dbUser=${user}&dbName=${name}`
    expect(await query(client, 'SELECT 1', uri('writer', 'shop'))).toEqual({
      isError: true,
      text: JSON.stringify({
        results: null,
        error: 'access to database "shop" as user "writer" denied: no role lists this user in db_users; ask your administrator',
      }),
    })
    expect((await query(client, 'SELECT 2', uri('reader', 'postgres'))).text).toContain('lists the database in db_names')
    expect((await query(client, 'SELECT 3', 'teleport://clusters/test/databases/other?dbUser=reader&dbName=shop')).text).toContain(
      'teleport_list_databases',
    )
    expect((await query(client, 'DELETE FROM orders')).text).toContain('read-only here: a statement has to begin with SELECT')
    expect((await query(client, 'WITH x AS (DELETE FROM orders RETURNING 1) SELECT * FROM x')).text).toContain(
      'cannot execute SELECT in a read-only transaction',
    )
    await client.close()
    const events = await cluster.eventsOnceThere({ type: 'db.session.query', user: 'alice' }, 4)
    expect(events.map(({ code, outcome, db_user, db_name, db_query }) => [code, outcome, db_user, db_name, db_query])).toEqual([
      ['TDB02W', 'denied', 'writer', 'shop', 'SELECT 1'],
      ['TDB02W', 'denied', 'reader', 'postgres', 'SELECT 2'],
      ['TDB02W', 'denied', 'reader', 'shop', 'DELETE FROM orders'],
      ['TDB02W', 'failure', 'reader', 'shop', 'WITH x AS (DELETE FROM orders RETURNING 1) SELECT * FROM x'],
    ])
  })

  it('answers as the user that the certificate names, and is written down', async () => {
    const client = await connect('carol')
    const { tools } = await client.listTools()
    expect(tools.map(({ name }) => name)).toEqual(['teleport_list_databases', 'teleport_postgres_query'])
    const { content } = await client.callTool({ name: 'teleport_list_databases' })
    expect(JSON.parse(content[0]?.type === 'text' ? content[0].text : '')).toEqual({
      databases: [
        {
          uri: AS_READER,
          name: 'orders',
          protocol: 'postgres',
          description: 'Orders of the shop',
          labels: { env: 'test', 'teleport.dev/origin': 'dynamic' },
          cluster_name: 'test',
          db_user: 'reader',
          db_name: 'shop',
        },
      ],
    })
    expect((await client.listResources()).resources.map(({ uri }) => uri)).toEqual([AS_READER])
    expect(
      await query(
        client,
        'SELECT session_user AS who, application_name AS app, note FROM orders, pg_stat_activity WHERE pid = pg_backend_pid() ORDER BY note',
      ),
    ).toEqual({
      isError: false,
      text: '{"results":[{"data":[{"who":"reader","app":"teleport-mcp","note":"first"},{"who":"reader","app":"teleport-mcp","note":"second"}],"rows_count":2}]}',
    })
    expect((await query(client, 'SELECT generate_series(1, 10) AS n')).text).toBe(
      '{"results":[{"data":[{"n":1},{"n":2},{"n":3}],"rows_count":3,"truncated":true}]}',
    )
    await client.close()
    const [start] = await cluster.eventsOnceThere({ type: 'db.session.start', user: 'carol' }, 1)
    expect(start).toMatchObject({ code: 'TDB00I', db_service: 'orders', db_user: 'reader', db_name: 'shop', server: SERVER })
    const [first] = await cluster.eventsOnceThere({ type: 'db.session.query', user: 'carol' }, 2)
    expect(first).toMatchObject({
      code: 'TDB02I',
      outcome: 'success',
      db_rows: 2,
      decision: { allow: true, by: 'reads' },
      sid: start?.['sid'],
    })
    const certificates = await cluster.events({ type: 'cert.create', user: 'carol' })
    expect(certificates).toMatchObject([{ code: 'SPCRT001I', cert_type: 'db_client', name: 'reader', server: SERVER }])
  })

  it('is among all servers at the one URL', async () => {
    const client = await connect('carol', new URL('/mcp', cluster.url))
    const { tools } = await client.listTools()
    const name = tools.map((tool) => tool.name).find((one) => one.includes('postgres_query')) ?? ''
    const { content } = await client.callTool({ name, arguments: { database: AS_READER, query: 'SELECT 1 AS one' } })
    expect(content).toEqual([{ type: 'text', text: '{"results":[{"data":[{"one":1}],"rows_count":1}]}' }])
    await client.close()
  })

  it('ends at the server what nobody waits for any more', async () => {
    const client = await connect('dave')
    const stop = new AbortController()
    const running = client
      .callTool(
        { name: 'teleport_postgres_query', arguments: { database: AS_READER, query: 'SELECT pg_sleep(19)' } },
        { signal: stop.signal },
      )
      .catch((error: unknown) => error)
    const active = async () =>
      (await postgres.admin("SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(19)' AND state = 'active'")).length
    await eventually('the statement', async () => ((await active()) > 0 ? true : undefined))
    stop.abort()
    await running
    await eventually('its end', async () => ((await active()) === 0 ? true : undefined), 12_000)
    await client.close()
  })

  it('is closed to who is locked, at once, with what runs', async () => {
    const client = await connect('dave')
    const running = query(client, 'SELECT pg_sleep(18)').catch((error: unknown) => error)
    const active = async () =>
      (await postgres.admin("SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(18)' AND state = 'active'")).length
    await eventually('the statement', async () => ((await active()) > 0 ? true : undefined))
    await cluster.save({ kind: 'lock', version: 'v2', metadata: { name: 'dave' }, spec: { target: { user: 'dave' } } })
    await within('the end of the call', running)
    await eventually('its end', async () => ((await active()) === 0 ? true : undefined), 12_000)
  })

  it('takes on what changed, and goes', async () => {
    await saveDatabase({ mcp: { max_rows: 1 } })
    const client = await connect('carol')
    expect((await query(client, 'SELECT id FROM orders ORDER BY id')).text).toBe(
      '{"results":[{"data":[{"id":1}],"rows_count":1,"truncated":true}]}',
    )
    await saveDatabase({ uri: '127.0.0.1:1' })
    await expect(query(client, 'SELECT 1')).rejects.toThrow()
    const again = await connect('carol')
    expect((await query(again, 'SELECT 1')).text).toContain('the database server 127.0.0.1:1 cannot be reached (ECONNREFUSED)')
    expect(await cluster.eventsOnceThere({ type: 'db.session.start', user: 'carol', outcome: 'failure' }, 1)).toMatchObject([
      { code: 'TDB00W' },
    ])
  })
})
