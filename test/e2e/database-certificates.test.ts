import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { type DatabaseStory, startDatabaseStory } from '../database-story.ts'
import { POSTGRES_BIN } from '../fakes/postgres.ts'

// A server that looks at the whole name of a certificate takes none that was made for another database.

let story: DatabaseStory

beforeAll(async () => {
  if (POSTGRES_BIN === undefined) return
  story = await startDatabaseStory()
  await story.cluster.saveUser('alice', ['reads'])
})
afterAll(() => story?.close())

async function ask(): Promise<string> {
  const client = new Client({ name: 'test', version: '1.0.0' })
  const headers = { authorization: `Bearer ${await story.cluster.tokenOf('alice')}` }
  await client.connect(new StreamableHTTPClientTransport(new URL('/mcp/apps/db:orders', story.cluster.url), { requestInit: { headers } }))
  try {
    const { content } = await client.callTool({
      name: 'teleport_postgres_query',
      arguments: { database: 'teleport://clusters/test/databases/orders?dbUser=reader&dbName=shop', query: 'SELECT current_user AS who' },
    })
    const [first] = content
    return first?.type === 'text' ? first.text : ''
  } finally {
    await client.close()
  }
}

describe.skipIf(POSTGRES_BIN === undefined)('a certificate for a database', () => {
  it.each([
    ['orders', 'reader'],
    ['payments', 'certificate authentication failed'],
  ])('is compared by a server that wants those of %s', async (database, answer) => {
    await story.postgres.configure({
      'pg_hba.conf': 'local all postgres trust\nhostssl all all 127.0.0.1/32 cert clientname=DN map=sallyport\n',
      'pg_ident.conf': `sallyport "/^CN=(.*),OU=${database}$" \\1\n`,
    })
    expect(await ask()).toContain(answer)
  })
})
