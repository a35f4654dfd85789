import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { userInfo } from 'node:os'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { deleteResource } from '../../src/api/resources.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { type EchoHttp, startEchoHttp } from '../fakes/echo-http.ts'
import { ECHO_STDIO } from '../fakes/stdio-app.ts'
import { startRemoteAgent, type RemoteAgent } from '../remote-agent.ts'
import { AT_ONCE_MS, eventually, succeeds } from '../wait.ts'

// What MCP servers ask of the gateway itself, with agents in the same process and on another machine.

const VALUE = 'hunter2-is-a-long-word'

describe.each(['in the same process', 'on another machine'])('with an agent %s', (where) => {
  let cluster: Cluster
  let agent: RemoteAgent | undefined
  let upstream: EchoHttp
  let token = ''

  beforeAll(async () => {
    const isRemote = where === 'on another machine'
    cluster = await startCluster(isRemote ? { file: { app_service: { enabled: 'no' } } } : {})
    upstream = await startEchoHttp()
    await cluster.saveRole('dev', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } })
    await cluster.saveUser('alice', ['dev'])
    token = await cluster.tokenOf('alice')
    await setSecret('crm-key', VALUE)
    if (isRemote) agent = await startRemoteAgent(cluster)
    const headers = [{ name: 'Authorization', value: 'Bearer {{secret.crm-key}}' }]
    const spec = { uri: `mcp+${upstream.url}`, rewrite: { headers } }
    await cluster.save({ kind: 'app', version: 'v3', metadata: { name: 'crm', labels: { a: 'b' } }, spec })
  })
  afterAll(async () => {
    await agent?.close()
    await cluster.close()
    await upstream.close()
  })

  const setSecret = (name: string, value: string): Promise<void> =>
    cluster.save({ kind: 'secret', version: 'v1', metadata: { name }, spec: { value } })

  async function connect(name: string): Promise<Client> {
    const client = new Client({ name: 'test', version: '1' })
    await client.connect(
      new StreamableHTTPClientTransport(cluster.mcpUrl(name), { requestInit: { headers: { authorization: `Bearer ${token}` } } }),
    )
    return client
  }

  const connected = (name: string): Promise<Client> => succeeds(`${name} is served`, () => connect(name))
  const lastSent = () => upstream.seen.at(-1)?.headers['authorization']

  test('the header has the value; a change acts at once, and without the secret nothing is sent', async () => {
    const client = await connected('crm')
    await client.callTool({ name: 'echo', arguments: { text: 'a' } })
    expect(lastSent()).toBe(`Bearer ${VALUE}`)

    await setSecret('crm-key', 'changed-all-at-once')
    const changedAt = performance.now()
    await eventually('the new value arrives', async () => {
      await client.callTool({ name: 'echo', arguments: { text: 'b' } })
      return lastSent() === 'Bearer changed-all-at-once' ? true : undefined
    })
    expect(performance.now() - changedAt).toBeLessThan(AT_ONCE_MS)

    await cluster.admin(deleteResource, { kind: 'secret', name: 'crm-key' })
    await eventually('calls fail', async () => {
      const count = upstream.seen.length
      const failure = await client.callTool({ name: 'echo', arguments: { text: 'c' } }).then(
        () => undefined,
        (thrown: unknown) => String(thrown),
      )
      if (failure === undefined) return undefined
      expect(failure).toContain('which does not exist')
      expect(upstream.seen).toHaveLength(count)
      return true
    })
    await setSecret('crm-key', VALUE)
    await eventually('it works again', () =>
      client.callTool({ name: 'echo', arguments: { text: 'd' } }).then(
        () => true,
        () => undefined,
      ),
    )
    await client.close()
  })

  test('a program gets the variables of a secret, and is begun anew when that changes', async () => {
    await setSecret('tools-env', `GREETING=${VALUE}\n`)
    await cluster.save({
      kind: 'app',
      version: 'v3',
      metadata: { name: 'tools', labels: { a: 'b' } },
      spec: {
        mcp: {
          command: process.execPath,
          args: [ECHO_STDIO],
          run_as_host_user: userInfo().username,
          env_from: [{ secret: 'tools-env' }],
        },
      },
    })
    const client = await connected('tools')
    const read = async (from: Client) => JSON.stringify(await from.callTool({ name: 'whoami', arguments: {} }))
    expect(await read(client)).toContain(VALUE)
    await setSecret('tools-env', 'GREETING=anew')
    await eventually('the session ends', () =>
      read(client).then(
        () => undefined,
        () => true,
      ),
    )
    const other = await connected('tools')
    expect(await read(other)).toContain('anew')
    await other.close()
  })

  test('no value is in the audit log', async () => {
    const events = await cluster.eventsOnceThere({ type: 'mcp.session.request' }, 1)
    expect(JSON.stringify([events, await cluster.events()]).includes(VALUE)).toBe(false)
  })
})
