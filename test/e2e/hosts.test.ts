import { PassThrough, Readable } from 'node:stream'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createApiToken, listApiTokens } from '../../src/api/api-tokens.ts'
import { emitEvents, searchEvents } from '../../src/api/audit.ts'
import { issueRouteAssertion, whoami } from '../../src/api/identity.ts'
import { issueBotOutput as issueOutput } from '../../src/api/join.ts'
import { assignMcpNames } from '../../src/api/mcp-names.ts'
import { createResource, deleteResource, getResource, listResources, upsertResource } from '../../src/api/resources.ts'
import { announceServers } from '../../src/api/servers.ts'
import { main } from '../../src/cli/tctl/main.ts'
import type { ApiClient } from '../../src/client/call.ts'
import { joinCluster, openIdentityApi, renewIdentity, saveHostFacts } from '../../src/client/join.ts'
import type { Joined, JoinRole } from '../../src/client/join.ts'
import { generateKeyPair, renderPublicKey } from '../../src/ca/keys.ts'
import { localAdministrator } from '../../src/services/auth/start.ts'
import { type Cluster, startCluster } from '../cluster.ts'

let cluster: Cluster

beforeAll(async () => {
  cluster = await startCluster()
  for (const name of ['first-secret', 'second-secret', 'third-secret', 'locked-secret', 'removed-secret'])
    await cluster.save({ kind: 'token', version: 'v2', metadata: { name }, spec: { roles: ['App'] } })
})

afterAll(() => cluster.close())

const now = { now: Date.now }
const target = () => ({ proxy: { host: '127.0.0.1', port: cluster.running.address.port }, caPins: [], authorities: [] })

function joinApp(token: string, role: Partial<JoinRole> = {}): Promise<Joined> {
  return joinCluster(target(), { role: 'App', hostname: 'box', ...role }, { method: 'token', token }, now)
}

async function as<T>(joined: Joined, use: (api: ApiClient) => Promise<T>): Promise<T> {
  const connection = openIdentityApi(target(), joined.identity)
  try {
    return await use(connection.api)
  } finally {
    connection.close()
  }
}

async function tctl(...argv: string[]): Promise<string> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  let text = ''
  stdout.on('data', (chunk) => (text += String(chunk)))
  const carrier = cluster.running.auth.carrier(localAdministrator(Date.now()))
  await main(argv, { stdin: Readable.from([]), stdout, stderr, isTTY: false, env: {}, carrier })
  return text
}

function appServer(hostId: string, name = `echo@${hostId}`) {
  const app = { kind: 'app', version: 'v3', metadata: { name: 'echo' }, spec: { uri: 'mcp+http://127.0.0.1:9/mcp' } }
  const metadata = { name, expires: new Date(Date.now() + 60_000).toISOString() }
  return { kind: 'app_server', version: 'v3', metadata, spec: { version: '1.2.3', hostname: 'box', host_id: hostId, app } }
}

test('an agent reads no secrets, makes no credentials and speaks for nobody else', async () => {
  const joined = await joinApp('first-secret', { hostId: 'modest' })
  const public_key = renderPublicKey((await generateKeyPair()).publicKey)
  const role = { kind: 'role', version: 'v8', metadata: { name: 'mine' }, spec: {} }
  const event = { event: 'mcp.session.start', code: 'TMCP001I', time: new Date().toISOString(), ei: 0, cluster_name: 'test' }
  const asked: [string, (api: ApiClient) => Promise<unknown>][] = [
    ['tokens', (api) => api(listResources, { kind: 'token', with_secrets: 'true' })],
    ['masked tokens', (api) => api(listResources, { kind: 'token' })],
    ['a token', (api) => api(getResource, { kind: 'token', name: 'second-secret' })],
    ['hosts', (api) => api(listResources, { kind: 'host' })],
    ['bot instances', (api) => api(listResources, { kind: 'bot_instance' })],
    ['users with secrets', (api) => api(getResource, { kind: 'user', name: 'a', with_secrets: 'true' })],
    ['API tokens', (api) => api(listApiTokens, { user: '*' })],
    ['an API token', (api) => api(createApiToken, { user: 'a' })],
    ['a role', (api) => api(createResource, { kind: 'role', resource: role })],
    ['a removed role', (api) => api(deleteResource, { kind: 'role', name: 'access' })],
    ['an assertion', (api) => api(issueRouteAssertion, { server: 'echo' })],
    ['an output', (api) => api(issueOutput, { public_key, possession: '', allow_reissue: true })],
    ['names', (api) => api(assignMcpNames, { server: 's', what: 'tool', originals: ['a'] })],
    ['the audit log', (api) => api(searchEvents, {})],
    ['an offer of another agent', (api) => api(announceServers, { items: [appServer('somebody-else')] })],
    [
      'an offer of another agent by the general route',
      (api) => api(upsertResource, { kind: 'app_server', name: 'echo@x', resource: appServer('x') }),
    ],
    ['an event of another agent', (api) => api(emitEvents, { events: [{ ...event, uid: 'u1', server_id: 'somebody-else' }] })],
    ['a sign-in that never was', (api) => api(emitEvents, { events: [{ ...event, uid: 'u2', event: 'user.login', code: 'T1000I' }] })],
  ]
  for (const [what, ask] of asked) {
    const code = await as(joined, ask).then(
      () => 'done',
      (thrown: { code?: string }) => thrown.code,
    )
    expect([what, code]).toEqual([what, what === 'a sign-in that never was' ? 'invalid_argument' : 'permission_denied'])
  }
  await as(joined, (api) => api(announceServers, { items: [appServer('modest')] }))
  await as(joined, (api) => api(emitEvents, { events: [{ ...event, uid: 'u3' }] }))
  expect(await cluster.events({ type: 'mcp.session.start' })).toMatchObject([{ uid: 'u3', server_id: 'modest' }])
})

test('the id of a live host is for who has its token or its key', async () => {
  const first = await joinApp('first-secret', { hostId: 'wanted' })
  await expect(joinApp('second-secret', { hostId: 'wanted' })).rejects.toMatchObject({
    code: 'permission_denied',
    message: 'the host id "wanted" is that of another host: join with the token that host joined with, or without its id',
  })
  const stranger = await joinApp('second-secret', { hostId: 'stranger' })
  await expect(joinApp('second-secret', { hostId: 'wanted', previous: stranger.identity })).rejects.toMatchObject({
    code: 'permission_denied',
  })
  expect(await as(first, (api) => api(whoami, {}))).toMatchObject({ name: 'wanted' })
  const again = await joinApp('second-secret', { hostId: 'wanted', previous: first.identity })
  expect(again.name).toBe('wanted')
  // What it was before is over: one host has one identity.
  await expect(as(first, (api) => api(whoami, {}))).rejects.toMatchObject({ code: 'unauthenticated' })
  expect((await joinApp('second-secret', { hostId: 'wanted' })).name).toBe('wanted')
})

test('nobody takes the id of the services in the process of the Auth Service', async () => {
  await cluster.saveHttpApp('local', 'http://127.0.0.1:9/mcp')
  const [host] = JSON.parse(await tctl('inventory', 'ls', '--format=json')).filter(
    (each: { status: { join_method: string } }) => each.status.join_method === 'local',
  )
  await expect(joinApp('first-secret', { hostId: host.metadata.name })).rejects.toMatchObject({ code: 'permission_denied' })
})

test.each([
  ['--server-id', 'h-locked'],
  ['--join-token', 'locked-secret'],
])('a lock by %s refuses the host at once, its renewal and its next join', async (flag, value) => {
  const hostId = flag === '--server-id' ? 'h-locked' : 'h-by-token'
  const joined = await joinApp('locked-secret', { hostId })
  await tctl('lock', `${flag}=${value}`, '--message=under suspicion')
  await expect(as(joined, (api) => api(whoami, {}))).rejects.toMatchObject({ code: 'permission_denied' })
  await expect(as(joined, (api) => renewIdentity(api, {}, now))).rejects.toMatchObject({ code: 'permission_denied' })
  await expect(joinApp('locked-secret', { hostId })).rejects.toThrow('the join was refused')
  await tctl('rm', `lock/${JSON.parse(await tctl('get', 'locks', '--format=json'))[0].metadata.name}`)
})

test('removing a join token ends the hosts that joined with it; removing a host ends that host', async () => {
  const [one, two] = [await joinApp('removed-secret'), await joinApp('third-secret')]
  const listed = await tctl('tokens', 'ls', '--format=json')
  expect(listed).not.toContain('removed-secret')
  await tctl('tokens', 'rm', 'removed-secret')
  await expect(as(one, (api) => api(whoami, {}))).rejects.toMatchObject({ code: 'unauthenticated' })
  expect(await as(two, (api) => api(whoami, {}))).toMatchObject({ name: two.name })
  await tctl('rm', `host/${two.name}`)
  await expect(as(two, (api) => renewIdentity(api, {}, now))).rejects.toMatchObject({ code: 'unauthenticated' })
})

test('the inventory tells who joined how, and what it runs', async () => {
  const joined = await joinApp('third-secret', { hostId: 'seen', hostname: 'rack-7' })
  await as(joined, (api) => saveHostFacts(api, { hostname: 'rack-7', version: '1.2.3', services: ['app', 'db'] }))
  const text = await tctl('inventory', 'ls')
  expect(text).toContain('Server ID')
  expect(text).toMatch(/^seen +rack-7 +app,db +1\.2\.3 +token token-[0-9a-f]{16} /m)
  expect(text).not.toContain('third-secret')
  expect(await tctl('inventory', 'status')).toContain('db: 1')
  expect(await tctl('inventory', 'status', 'seen')).toContain('hostname: rack-7')
})
