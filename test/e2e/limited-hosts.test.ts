import { afterAll, beforeAll, expect, test } from 'vitest'
import { announceDatabases, signDatabaseUser } from '../../src/api/databases.ts'
import { issueIdentityToken } from '../../src/api/identity-tokens.ts'
import { deleteResource, listResources } from '../../src/api/resources.ts'
import { readSecret } from '../../src/api/secrets.ts'
import { announceServers } from '../../src/api/servers.ts'
import { issueRouteAssertion } from '../../src/api/identity.ts'
import { parseIdentityFile } from '../../src/ca/identity-file.ts'
import { generateKeyPair, renderPublicKey } from '../../src/ca/keys.ts'
import type { ApiClient } from '../../src/client/call.ts'
import { joinCluster, type Joined, openIdentityApi, renewIdentity, saveHostFacts } from '../../src/client/join.ts'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { readFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { parseResource } from '../../src/resources/registry.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { openHttp } from '../fakes/raw-http.ts'
import { headersOf, openSession, postMessage } from '../fakes/raw-mcp.ts'
import { ECHO_STDIO } from '../fakes/stdio-app.ts'
import { sees, startRemoteAgent } from '../remote-agent.ts'
import { AT_ONCE_MS, eventually, within } from '../wait.ts'

// What a host may serve, as its join token says: the rest is not for it, whatever it says of itself.

let cluster: Cluster
let limited: Joined
let alice = ''

beforeAll(async () => {
  cluster = await startCluster({ file: { app_service: { enabled: 'no' }, db_service: { enabled: 'no' } } })
  await cluster.save({
    kind: 'token',
    version: 'v2',
    metadata: { name: 'dev-hosts' },
    spec: { roles: ['App', 'Db'], app_labels: { env: 'dev' }, db_labels: { env: 'dev' } },
  })
  await cluster.saveRole('all', {
    allow: { app_labels: { '*': '*' }, db_labels: { '*': '*' }, db_users: ['*'], db_names: ['*'], mcp: { tools: ['*'] } },
  })
  await cluster.saveUser('alice', ['all'])
  alice = await cluster.tokenOf('alice')
  await cluster.save({ kind: 'secret', version: 'v1', metadata: { name: 'key' }, spec: { value: 'of production' } })
  for (const env of ['dev', 'prod'])
    await cluster.save({
      kind: 'app',
      version: 'v3',
      metadata: { name: `tools-${env}`, labels: { env } },
      spec: { uri: 'mcp+http://127.0.0.1:9/mcp', rewrite: { headers: [{ name: 'x-key', value: '{{secret.key}}' }] } },
    })
  await cluster.save({
    kind: 'db',
    version: 'v3',
    metadata: { name: 'orders', labels: { env: 'prod' } },
    spec: { protocol: 'postgres', uri: '127.0.0.1:9' },
  })
  limited = await join('App', 'limited')
})
afterAll(() => cluster.close())

const target = () => ({ proxy: { host: '127.0.0.1', port: cluster.running.address.port }, caPins: [], authorities: [] })

function join(role: 'App' | 'Db', hostId: string): Promise<Joined> {
  return joinCluster(target(), { role, hostname: 'box', hostId }, { method: 'token', token: 'dev-hosts' }, { now: Date.now })
}

async function as<T>({ identity }: Pick<Joined, 'identity'>, use: (api: ApiClient) => Promise<T>): Promise<T> {
  const connection = openIdentityApi(target(), identity)
  try {
    return await use(connection.api)
  } finally {
    connection.close()
  }
}

async function assertionOf(server: string): Promise<string> {
  const identity = parseIdentityFile(await readFile(await cluster.identityFileOf('alice'), 'utf8'))
  return await as({ identity }, async (api) => (await api(issueRouteAssertion, { server })).assertion)
}

const expires = () => new Date(Date.now() + 60_000).toISOString()

function offer(name: string, labels: Record<string, string>, hostId = 'limited') {
  const app = { kind: 'app', version: 'v3', metadata: { name, labels }, spec: { uri: 'mcp+http://127.0.0.1:9/mcp' } }
  const metadata = { name: `${name}@${hostId}`, expires: expires() }
  return { kind: 'app_server', version: 'v3', metadata, spec: { version: '1', hostname: 'box', host_id: hostId, app } }
}

function databaseOffer(labels: Record<string, string>) {
  const database = { kind: 'db', version: 'v3', metadata: { name: 'orders', labels }, spec: { protocol: 'postgres', uri: '127.0.0.1:9' } }
  const metadata = { name: 'orders@limited-db', expires: expires() }
  return { kind: 'db_server', version: 'v3', metadata, spec: { version: '1', hostname: 'box', host_id: 'limited-db', database } }
}

const offered = async (): Promise<string[]> =>
  (await cluster.admin(listResources, { kind: 'app_server' })).items.map(({ metadata }) => metadata.name)

test('a limited host offers what its token allows, the rest is refused by name and audited once', async () => {
  const items = [offer('tools-dev', { env: 'dev' }), offer('tools-prod', { env: 'dev' }), offer('own', { env: 'prod' })]
  const reason = (labels: string): string => `the join token of this host does not let it serve what has the labels env=${labels},`
  for (let n = 0; n < 2; n++) {
    const { refused } = await as(limited, (api) => api(announceServers, { items }))
    expect(refused.map(({ name }) => name)).toEqual(['tools-prod', 'own'])
    expect(`${refused[0]?.reason},`).toBe(reason('prod'))
  }
  expect(await offered()).toEqual(['tools-dev@limited'])
  const events = await cluster.events({ type: 'access.denied', user: 'limited' })
  expect(events.map(({ name, kind, verb, server_id }) => ({ name, kind, verb, server_id }))).toEqual([
    { name: 'tools-prod', kind: 'app_server', verb: 'create', server_id: 'limited' },
    { name: 'own', kind: 'app_server', verb: 'create', server_id: 'limited' },
  ])
})

test('what it offered before is worth nothing once the labels of the app are others', async () => {
  await as(limited, (api) => api(announceServers, { items: [offer('tools-dev', { env: 'dev' })] }))
  const assertion = await assertionOf('tools-dev')
  const ask = (): Promise<unknown>[] => [
    as(limited, (api) => api(readSecret, { name: 'key' })),
    as(limited, (api) => api(issueIdentityToken, { server: 'tools-dev', assertion, type: 'jwt' })),
  ]
  await Promise.all(ask())
  const save = (env: string): Promise<void> =>
    cluster.save({
      kind: 'app',
      version: 'v3',
      metadata: { name: 'tools-dev', labels: { env } },
      spec: { uri: 'mcp+http://127.0.0.1:9/mcp', rewrite: { headers: [{ name: 'x-key', value: '{{secret.key}}' }] } },
    })
  await save('prod')
  for (const outcome of await Promise.allSettled(ask()))
    expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'not_found' } })
  expect((await as(limited, (api) => api(announceServers, { items: [offer('tools-dev', { env: 'dev' })] }))).refused).toHaveLength(1)
  expect(await offered()).toEqual([])
  await save('dev')
})

test('a limited host gets no certificate for a database that is not for it', async () => {
  const agent = await join('Db', 'limited-db')
  const { refused } = await as(agent, (api) => api(announceDatabases, { items: [databaseOffer({ env: 'dev' })] }))
  expect(refused).toEqual([{ name: 'orders', reason: 'the join token of this host does not let it serve what has the labels env=prod' }])
  const assertion = await assertionOf('db:orders')
  const public_key = renderPublicKey((await generateKeyPair()).publicKey)
  await expect(
    as(agent, (api) => api(signDatabaseUser, { assertion, database: 'orders', db_user: 'a', db_name: 'b', public_key })),
  ).rejects.toMatchObject({ code: 'permission_denied' })
})

test('the limits stay through a renewal, and what the host says of itself does not widen them', async () => {
  const renewed = await as(limited, async (api) => {
    await saveHostFacts(api, { hostname: 'box', version: '2.0.0', services: ['app'] })
    return await renewIdentity(api, {}, { now: Date.now })
  })
  expect((await as(renewed, (api) => api(announceServers, { items: [offer('own', { env: 'prod' })] }))).refused).toHaveLength(1)
})

test('an agent that joined with it is asked for what is its own, and another for the rest', async () => {
  const agent = await startRemoteAgent(cluster, { token: 'dev-hosts' })
  try {
    await sees(cluster, alice, 'tools-dev')
    const other = await startRemoteAgent(cluster)
    try {
      await sees(cluster, alice, 'tools-dev', 'tools-prod')
    } finally {
      await other.close()
    }
    await sees(cluster, alice, 'tools-dev')
  } finally {
    await agent.close()
  }
})

test('a configuration file does not take the name of an app with other labels', async () => {
  const apps = [{ name: 'tools-prod', uri: 'mcp+http://127.0.0.1:9/mcp', labels: { env: 'dev' } }]
  const agent = await startRemoteAgent(cluster, { app: { resources: [{ labels: { env: 'dev' } }], apps } })
  try {
    await sees(cluster, alice, 'tools-dev')
    await cluster.eventsOnceThere({ type: 'access.denied', user: agent.host.hostId }, 1)
  } finally {
    await agent.close()
  }
})

test('a host that is removed takes its offers with it', async () => {
  await as(await join('App', 'brief'), (api) => api(announceServers, { items: [offer('tools-dev', { env: 'dev' }, 'brief')] }))
  expect(await offered()).toContain('tools-dev@brief')
  await cluster.admin(deleteResource, { kind: 'host', name: 'brief' })
  expect(await offered()).not.toContain('tools-dev@brief')
})

const saveToken = (env: string): Promise<void> =>
  cluster.save({
    kind: 'token',
    version: 'v2',
    metadata: { name: 'dev-hosts' },
    spec: { roles: ['App', 'Db'], app_labels: { env }, db_labels: { env: 'dev' } },
  })

const saveRunning = (env: string): Promise<void> =>
  cluster.save({
    kind: 'app',
    version: 'v3',
    metadata: { name: 'running', labels: { env } },
    spec: { mcp: { command: process.execPath, args: [ECHO_STDIO], run_as_host_user: userInfo().username } },
  })

let ended = 0
test.each([
  ['its token', () => saveToken('stage'), () => saveToken('dev')],
  ['the labels of the server', () => saveRunning('prod'), () => saveRunning('dev')],
])('a change of %s ends open streams and running calls at the host that may not serve any more', async (_, narrow, widen) => {
  const agent = await startRemoteAgent(cluster, { token: 'dev-hosts' })
  await saveRunning('dev')
  try {
    await sees(cluster, alice, 'running', 'tools-dev')
    const url = cluster.mcpUrl('running')
    const id = await openSession(url, alice)
    const stream = await openHttp(url, { method: 'GET', headers: headersOf(alice, { 'mcp-session-id': id }) })
    const hanging = postMessage(url, alice, id, '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"hang"}}')
    await eventually('the call at the server', async () => {
      const { text } = await postMessage(url, alice, id, '{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"received"}}')
      return text.includes('hang') || undefined
    })
    await narrow()
    const [, answer] = await within('the end of both', Promise.all([stream.ended.catch(() => 'broken'), hanging]), AT_ONCE_MS)
    expect(answer.status).toBe(404)
    expect(JSON.parse(answer.text)).toMatchObject({ id: 2, error: { code: -32001 } })
  } finally {
    await widen()
    await agent.close()
    await cluster.admin(deleteResource, { kind: 'app', name: 'running' })
  }
  ended += 1
  for (const filter of [{ type: 'mcp.session.request', tool: 'hang' }, { type: 'mcp.session.end' }])
    expect(await cluster.eventsOnceThere({ server: 'running', ...filter }, ended)).toHaveLength(ended)
})

test('a change of its token ends the sessions of what a host may not serve any more', async () => {
  const agent = await startRemoteAgent(cluster, { token: 'dev-hosts' })
  await saveRunning('dev')
  const client = new Client({ name: 'test', version: '1' })
  try {
    await sees(cluster, alice, 'running', 'tools-dev')
    const headers = { authorization: `Bearer ${alice}` }
    await client.connect(new StreamableHTTPClientTransport(cluster.mcpUrl('running'), { requestInit: { headers } }))
    await client.callTool({ name: 'echo', arguments: { text: 'hi' } })
    await saveToken('stage')
    await expect(client.callTool({ name: 'echo', arguments: { text: 'hi' } })).rejects.toThrow('the agent that had it is gone')
  } finally {
    await client.close()
    await saveToken('dev')
    await agent.close()
    await cluster.admin(deleteResource, { kind: 'app', name: 'running' })
  }
})

test('a change of its token reaches a host that joined with it, at once and back', async () => {
  const agent = await startRemoteAgent(cluster, { token: 'dev-hosts' })
  const other = await startRemoteAgent(cluster)
  const limitsOf = async (id: string): Promise<unknown> => {
    const { items } = await cluster.admin(listResources, { kind: 'host' })
    return items.map((item) => parseResource('host', item)).find(({ metadata }) => metadata.name === id)?.spec.app_labels
  }
  const saveToken = (spec: Record<string, unknown>): Promise<void> =>
    cluster.save({ kind: 'token', version: 'v2', metadata: { name: 'dev-hosts' }, spec })
  try {
    await sees(cluster, alice, 'tools-dev', 'tools-prod')
    await other.stop()
    await sees(cluster, alice, 'tools-dev')
    await saveToken({ roles: ['App', 'Db'], app_labels: { env: 'stage' }, db_labels: { env: 'dev' } })
    // At once, without a heartbeat.
    expect(await visible()).toEqual([])
    expect(await offered()).not.toContain(`tools-dev@${agent.host.hostId}`)
    expect(await limitsOf(agent.host.hostId)).toEqual({ env: 'stage' })
    // A token that is for databases only from now on does not let its other hosts serve everything.
    await saveToken({ roles: ['Db'] })
    expect(await limitsOf(agent.host.hostId)).toEqual({ env: 'stage' })
    await saveToken({ roles: ['App', 'Db'], app_labels: { env: 'dev' }, db_labels: { env: 'dev' } })
    await agent.restart()
    await sees(cluster, alice, 'tools-dev')
    // The host of a token that was removed is removed with it.
    await cluster.admin(deleteResource, { kind: 'token', name: 'dev-hosts' })
    expect(await visible()).toEqual([])
    expect(await limitsOf(agent.host.hostId)).toBeUndefined()
  } finally {
    await agent.close()
    await other.close()
    await saveToken({ roles: ['App', 'Db'], app_labels: { env: 'dev' }, db_labels: { env: 'dev' } })
  }
})

async function visible(): Promise<string[]> {
  const answer = await fetch(`${cluster.url}/v1/mcp/servers`, { headers: { authorization: `Bearer ${alice}` } })
  const { items } = (await answer.json()) as { items: { metadata: { name: string } }[] } // of our own API
  return items.map(({ metadata }) => metadata.name)
}
