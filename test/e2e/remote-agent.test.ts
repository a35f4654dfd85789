import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { afterEach, beforeAll, afterAll, describe, expect, it } from 'vitest'
import { userInfo } from 'node:os'
import { deleteResource, listResources } from '../../src/api/resources.ts'
import { parseResource } from '../../src/resources/registry.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { ECHO_STDIO } from '../fakes/stdio-app.ts'
import { type RemoteAgent, sees, startRemoteAgent } from '../remote-agent.ts'
import { eventually } from '../wait.ts'
import { wholeList } from '../whole-list.ts'

// An agent that shares nothing with Auth Service and proxy: it joins, watches, and is reached over the tunnel that it dials.

let cluster: Cluster
let alice = ''
const closers: (() => Promise<unknown>)[] = []

beforeAll(async () => {
  cluster = await startCluster({ file: { app_service: { enabled: 'no' } } })
  await cluster.saveRole('dev', { allow: { app_labels: { env: 'dev' }, mcp: { tools: ['echo', 'slow', 'pid'] } } })
  await cluster.saveUser('alice', ['dev'])
  alice = await cluster.tokenOf('alice')
})
afterAll(() => cluster.close())
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

describe('an agent on another machine', () => {
  const saveApp = (name: string, labels: Record<string, string> = { env: 'dev' }): Promise<void> =>
    cluster.save({
      kind: 'app',
      version: 'v3',
      metadata: { name, labels },
      spec: { mcp: { command: process.execPath, args: [ECHO_STDIO], run_as_host_user: userInfo().username } },
    })

  async function start(options: Parameters<typeof startRemoteAgent>[1] = {}): Promise<RemoteAgent> {
    const agent = await startRemoteAgent(cluster, options)
    closers.push(() => agent.close())
    return agent
  }

  async function connect(name: string, token = alice): Promise<Client> {
    const client = new Client({ name: 'test', version: '1' })
    await client.connect(
      new StreamableHTTPClientTransport(cluster.mcpUrl(name), { requestInit: { headers: { authorization: `Bearer ${token}` } } }),
    )
    closers.push(() => client.close().catch(() => undefined))
    return client
  }

  it('is refused without a token that allows it', async () => {
    await expect(startRemoteAgent(cluster, { token: 'nobody-made-this' })).rejects.toThrow(
      /this host has not joined yet, and joining was refused/,
    )
  })

  it('is in the inventory while it serves nothing', async () => {
    await start({ app: { resources: [{ labels: { nobody: 'has-this' } }] } })
    await eventually('its row', async () => {
      const { items } = await cluster.admin(listResources, { kind: 'host' })
      return items
        .map((item) => parseResource('host', item))
        .find(({ status }) => status.join_method === 'token' && status.services.includes('app'))
    })
  })

  it('says that nobody serves a server while no agent does', async () => {
    await saveApp('lonely')
    const answer = await fetch(cluster.mcpUrl('lonely'), {
      method: 'POST',
      headers: { authorization: `Bearer ${alice}`, 'content-type': 'application/json' },
      body: '{"jsonrpc":"2.0","id":1,"method":"ping"}',
    })
    expect(answer.status).toBe(503)
    expect(await answer.json()).toMatchObject({
      error: { message: expect.stringContaining('MCP server "lonely" cannot be reached now: no agent serves it') },
    })
    await cluster.admin(deleteResource, { kind: 'app', name: 'lonely' })
  })

  it('serves what its selectors match, records what happens, and stops when they match no more', async () => {
    await start({ app: { resources: [{ labels: { env: 'dev' } }] } })
    await saveApp('tools')
    await sees(cluster, alice, 'tools')
    const client = await connect('tools')
    expect(await client.callTool({ name: 'echo', arguments: { text: 'hi' } })).toMatchObject({
      content: [{ text: expect.stringContaining('hi') }],
    })
    await expect(client.callTool({ name: 'whoami' })).rejects.toThrow('denied')
    const [event] = await cluster.eventsOnceThere({ type: 'mcp.session.request', user: 'alice', outcome: 'denied' }, 1)
    expect(event).toMatchObject({ server: 'tools', code: 'TMCP003E' })
    await saveApp('tools', { env: 'prod' })
    await sees(cluster, alice)
    await expect(client.callTool({ name: 'echo' })).rejects.toThrow()
  })

  it('takes its servers off the list when it stops, and brings them back', async () => {
    const agent = await start()
    await saveApp('tools')
    await sees(cluster, alice, 'tools')
    await agent.stop()
    await sees(cluster, alice)
    await agent.restart()
    await sees(cluster, alice, 'tools')
    expect(await (await connect('tools')).callTool({ name: 'echo', arguments: { text: 'again' } })).toMatchObject({
      content: [{ text: expect.stringContaining('again') }],
    })
  })

  it('cuts a session at once when its user is locked', async () => {
    await start()
    await saveApp('tools')
    await sees(cluster, alice, 'tools')
    await cluster.saveUser('mallory', ['dev'])
    const client = await connect('tools', await cluster.tokenOf('mallory'))
    const slow = client.callTool({ name: 'slow', arguments: { ms: 60_000 } }).catch((thrown: Error) => thrown.message)
    await cluster.save({ kind: 'lock', version: 'v2', metadata: { name: 'm' }, spec: { target: { user: 'mallory' }, message: 'no more' } })
    expect(await slow).toContain('no more')
  })

  it('has each of its sessions to itself, beside another agent, and says so of those it takes with it', async () => {
    const first = await start()
    await saveApp('tools')
    await sees(cluster, alice, 'tools')
    const one = await connect('tools')
    const second = await start()
    await eventually(
      'the second agent',
      async () => (await cluster.admin(listResources, { kind: 'app_server' })).items.length === 2 || undefined,
    )
    const pid = async (client: Client): Promise<string> => JSON.stringify((await client.callTool({ name: 'pid' })).content)
    const before = await pid(one)
    for (let n = 0; n < 5; n++) expect(await pid(one)).toBe(before)
    await first.stop()
    await expect(one.callTool({ name: 'pid' })).rejects.toThrow(
      /agent that had it is gone|Connection closed|shutting down|unknown MCP session/,
    )
    const again = await connect('tools')
    expect(await pid(again)).not.toBe(before)
    await second.stop()
  })

  it('shows its servers at the one URL', async () => {
    await start()
    await saveApp('tools')
    await sees(cluster, alice, 'tools')
    const client = new Client({ name: 'test', version: '1' })
    await client.connect(
      new StreamableHTTPClientTransport(new URL('/mcp', cluster.url), { requestInit: { headers: { authorization: `Bearer ${alice}` } } }),
    )
    closers.push(() => client.close())
    const { tools } = await wholeList(() => client.listTools())
    const echo = tools.find(({ name }) => name.endsWith('echo'))
    expect(await client.callTool({ name: echo?.name ?? '', arguments: { text: 'both' } })).toMatchObject({
      content: [{ text: expect.stringContaining('both') }],
    })
  })
})

describe('an agent that may not stay', () => {
  it('is cut off at once when its host is locked, or removed, and comes back after the lock alone', async () => {
    const agent = await startRemoteAgent(cluster)
    closers.push(() => agent.close())
    await cluster.saveHttpApp('web', 'http://127.0.0.1:1/mcp', { env: 'dev' })
    closers.push(() => cluster.admin(deleteResource, { kind: 'app', name: 'web' }))
    await sees(cluster, alice, 'tools', 'web')
    const target = { server_id: agent.host.hostId }
    await cluster.save({ kind: 'lock', version: 'v2', metadata: { name: 'agent' }, spec: { target, message: 'stolen' } })
    await sees(cluster, alice)
    await cluster.admin(deleteResource, { kind: 'lock', name: 'agent' })
    await sees(cluster, alice, 'tools', 'web')
    await cluster.admin(deleteResource, { kind: 'host', name: agent.host.hostId })
    await sees(cluster, alice)
  }, 60_000)
})
