import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { ElicitRequestSchema, ResourceUpdatedNotificationSchema } from '@modelcontextprotocol/sdk/types.js'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type AskingHttp, NOTE, startAskingHttp } from '../fakes/asking-http.ts'
import { inTurn } from '../fakes/balancer.ts'
import { POSTGRES_BIN } from '../fakes/postgres.ts'
import { type Replicas, startReplicas } from '../replicas.ts'
import { eventually } from '../wait.ts'

// A session of the one URL, with each request at whichever replica it comes to.
describe.skipIf(POSTGRES_BIN === undefined)('a session at two replicas', () => {
  let replicas: Replicas
  let asking: AskingHttp
  let token: string
  beforeAll(async () => {
    ;[replicas, asking] = await Promise.all([startReplicas(), startAskingHttp()])
    const allow = { app_labels: { '*': '*' }, mcp: { tools: ['*'] } }
    await replicas.save({ kind: 'role', version: 'v8', metadata: { name: 'all' }, spec: { allow } })
    await replicas.saveUser('ana', ['all'])
    token = await replicas.tokenOf('ana')
    await replicas.save({ kind: 'app', version: 'v3', metadata: { name: 'notes' }, spec: { uri: `mcp+${asking.url}` } })
  }, 120_000)
  afterAll(async () => {
    await replicas?.close()
    await asking?.close()
  })
  beforeEach(() => {
    replicas.balancer.choose = inTurn()
  })

  const connect = async () => {
    const client = new Client({ name: 'hopper', version: '1' }, { capabilities: { elicitation: {} } })
    const updated: string[] = []
    client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => void updated.push(params.uri))
    client.setRequestHandler(ElicitRequestSchema, async () => ({ action: 'accept', content: { name: 'Ada' } }))
    const requestInit = { headers: { authorization: `Bearer ${token}` } }
    const transport = new StreamableHTTPClientTransport(new URL(`${replicas.url}/mcp`), { requestInit })
    await client.connect(transport)
    return { client, updated, leave: () => transport.terminateSession().then(() => client.close()) }
  }

  test('what the client subscribes to at either comes on the stream that it has at one; the level of the log holds at both', async () => {
    const { client, updated, leave } = await connect()
    await client.setLoggingLevel('warning')
    const { resources } = await client.listResources()
    const uri = resources[0]?.uri ?? ''
    for (let round = 0; round < 3; round++) {
      await client.subscribeResource({ uri })
      await eventually('the server tells, whichever replica has the stream', async () => {
        await asking.change()
        return updated.includes(uri) || undefined
      })
      expect(asking.sessions().every(({ level }) => level === 'warning')).toBe(true)
      await client.unsubscribeResource({ uri })
      await eventually(
        'no server thinks that anybody listens',
        async () => asking.sessions().every((one) => one.subscribed.length === 0) || undefined,
      )
      updated.length = 0
    }
    await leave()
  })

  test('an answer of the client finds the question at the other replica', async () => {
    const { client, leave } = await connect()
    await client.listTools()
    for (let round = 0; round < 4; round++)
      expect(JSON.stringify(await client.callTool({ name: 'notes_ask', arguments: {} }))).toContain('Ada')
    await leave()
  })

  test('when the client leaves at one, the server is left by both', async () => {
    const { client, leave } = await connect()
    for (let round = 0; round < 4; round++) await client.listTools()
    await client.subscribeResource({ uri: `sallyport://notes/${NOTE}` })
    await leave()
    await eventually('no session is left', async () => asking.sessions().length === 0 || undefined)
  })
})
