import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { Client as Postgres } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type DatabaseStory, startDatabaseStory } from '../database-story.ts'
import { POSTGRES_BIN } from '../fakes/postgres.ts'
import { bin, startProgram } from '../programs.ts'
import { type RemoteAgent, startRemoteAgent } from '../remote-agent.ts'

// The same database behind an agent on another machine, which dials the proxy and holds a certificate of the role Db.

let story: DatabaseStory
let agent: RemoteAgent

beforeAll(async () => {
  if (POSTGRES_BIN === undefined) return
  story = await startDatabaseStory({ db_service: { enabled: false } })
  await story.cluster.saveUser('alice', ['reads'])
}, 60_000)

afterAll(async () => {
  await agent?.close()
  await story?.close()
})

async function connect(): Promise<Client> {
  const { cluster } = story
  const client = new Client({ name: 'test', version: '1.0.0' })
  const headers = { authorization: `Bearer ${await cluster.tokenOf('alice')}` }
  await client.connect(new StreamableHTTPClientTransport(new URL('/mcp/apps/db:orders', cluster.url), { requestInit: { headers } }))
  return client
}

describe.skipIf(POSTGRES_BIN === undefined)('a database of an agent elsewhere', () => {
  it('is not there before the agent is', async () => {
    await expect(connect()).rejects.toThrow('no agent serves it')
  })

  it('is queried through the tunnel, as the user that the certificate names', async () => {
    agent = await startRemoteAgent(story.cluster, { app: { enabled: false }, db: { resources: [{ labels: { env: 'test' } }] } })
    const client = await connect()
    const { content } = await client.callTool({
      name: 'teleport_postgres_query',
      arguments: { database: 'teleport://clusters/test/databases/orders', query: 'SELECT session_user AS who' },
    })
    expect(content).toEqual([{ type: 'text', text: '{"results":[{"data":[{"who":"reader"}],"rows_count":1}]}' }])
    await client.close()
    expect(await story.cluster.eventsOnceThere({ type: 'db.session.query', user: 'alice' }, 1)).toMatchObject([
      { code: 'TDB02I', db_user: 'reader' },
    ])
  })

  it('carries programs of PostgreSQL too', async () => {
    const { cluster } = story
    const login = ['-i', await cluster.identityFileOf('alice'), `--proxy=${new URL(cluster.url).host}`]
    const program = startProgram(bin('tsh'), ['proxy', 'db', 'orders', '--tunnel', '--db-user=reader', '--db-name=shop', ...login])
    await program.saw('Use the following command')
    const port = Number(/:(\d+)\.\n/.exec(program.stdout())?.[1])
    const client = new Postgres({ host: '127.0.0.1', port, user: 'x', database: 'x' })
    await client.connect()
    const { rows } = await client.query("SELECT length(repeat('x', $1)) AS length, repeat('x', 2000000) AS large", [5])
    expect(rows).toEqual([{ length: 5, large: 'x'.repeat(2_000_000) }])
    await client.end()
    program.kill('SIGTERM')
    await program.ended
  })
})
