import { cp, mkdir, readFile, rename, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Client } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { EVENTS } from '../../src/audit/events.ts'
import { type AuditEvent, type Cluster, startCluster } from '../cluster.ts'
import { askHttp } from '../fakes/raw-http.ts'
import { headersOf } from '../fakes/raw-mcp.ts'
import { ECHO_STDIO } from '../fakes/stdio-app.ts'
import { bin, runProgram, type Started, startProgram, temporaryDirectory } from '../programs.ts'
import { eventually } from '../wait.ts'

// What is done in the name of a bot, and against it, and what the audit log and the operator are told of it.

let cluster: Cluster
let home: Awaited<ReturnType<typeof temporaryDirectory>>
let bot: Started

beforeAll(async () => {
  cluster = await startCluster()
  home = await temporaryDirectory()
  await cluster.saveStdioApp('tools', process.execPath, [ECHO_STDIO], { env: 'dev' })
  await cluster.saveRole('dev', {
    allow: {
      app_labels: { env: 'dev' },
      mcp: { tools: ['echo'] },
      rules: [{ resources: ['app', 'role'], verbs: ['*'] }],
      workload_identity_labels: { '*': '*' },
    },
  })
  await cluster.save({ kind: 'bot', version: 'v1', metadata: { name: 'worker' }, spec: { roles: ['dev'] } })
  await cluster.save({ kind: 'token', version: 'v2', metadata: { name: 'join-worker' }, spec: { roles: ['Bot'], bot_name: 'worker' } })
  await cluster.save({ kind: 'workload_identity', version: 'v1', metadata: { name: 'w' }, spec: { spiffe: { id: '/w' } } })
  await writeConfig('storage')
  bot = startProgram(bin('tbot'), ['start', '-c', join(home.path, 'storage.yaml')])
  await sawLog('"message":"renewed"', 3)
}, 60_000)
afterAll(async () => {
  bot.kill('SIGTERM')
  await bot.ended
  await cluster.close()
  await home.dispose()
})

const proxy = (): string => `127.0.0.1:${cluster.running.address.port}`
const identity = (): string[] => ['-i', join(home.path, 'id', 'identity')]

async function writeConfig(storage: string): Promise<void> {
  await writeFile(
    join(home.path, `${storage}.yaml`),
    `proxy_server: ${proxy()}
onboarding: {token: join-worker}
storage: {type: directory, path: ${home.path}/${storage}}
services:
  - {type: identity, allow_reissue: true, destination: {type: directory, path: ${home.path}/id}}
  - {type: oauth-token, audience: "${cluster.mcpUrl('tools').href}", destination: {type: directory, path: ${home.path}/token}}
  - {type: workload-identity-x509, selector: {name: w}, destination: {type: directory, path: ${home.path}/svid}}
`,
  )
}

async function sawLog(text: string, times = 1): Promise<void> {
  await eventually(
    () => `${text} of tbot; it wrote ${bot.stderr()}`,
    () => bot.stderr().split(text).length > times,
  )
}

const lastOf = async (type: string): Promise<AuditEvent> => (await cluster.events({ type })).at(-1) ?? {}
const CALLER = { user: 'bot-worker', user_kind: 2, bot_name: 'worker', bot_instance_id: expect.any(String), join_method: 'token' }

test('tctl shows where the bot runs: its version, machine and heartbeats', async () => {
  const shown = await runProgram(bin('tctl'), ['bots', 'instances', 'ls', '--format=json', ...identity(), '--auth-server', proxy()])
  expect([shown.code, shown.stderr]).toEqual([5, expect.stringContaining('access denied to perform action')])
  await cluster.saveUser('admin', ['editor'])
  const tctl = async (...args: string[]) =>
    (await runProgram(bin('tctl'), ['bots', 'instances', ...args, '-i', await cluster.identityFileOf('admin'), '--auth-server', proxy()]))
      .stdout
  const [instance] = JSON.parse(await tctl('ls', '--format=json')) as { spec: { instance_id: string }; status: Record<string, unknown> }[]
  expect(instance?.status).toMatchObject({
    latest_heartbeats: [
      {
        is_startup: true,
        one_shot: false,
        join_method: 'token',
        hostname: expect.any(String),
        version: expect.any(String),
        os: process.platform,
      },
    ],
  })
  expect(await tctl('ls')).toMatch(/ID +Join Method +Version +Hostname +Joined +Last Seen +Generation/)
  expect(await tctl('show', instance?.spec.instance_id ?? '')).toMatch(/Heartbeat Of +Version +Hostname +System +Uptime[\s\S]+started/)
}, 60_000)

test('the expired token: refused in words that say what to do, and the log says which it was', async () => {
  const metadata = { name: 'late', expires: new Date(Date.now() - 1000).toISOString() }
  await cluster.save({ kind: 'token', version: 'v2', metadata, spec: { roles: ['Bot'], bot_name: 'worker' } })
  const args = [
    'start',
    'identity',
    '--proxy-server',
    proxy(),
    '--token=late',
    `--storage=${home.path}/late`,
    `--destination=${home.path}/late-id`,
    '--oneshot',
  ]
  const { code, stderr } = await runProgram(bin('tbot'), args)
  expect([code, stderr]).toEqual([5, expect.stringContaining('the join token is unknown, used up, expired or locked')])
  expect(stderr).toContain('for a bot tctl bots add')
  expect(await lastOf('bot.join')).toMatchObject({
    code: 'TJ001E',
    error: 'there is no such token, or it is over',
    outcome: 'failure',
    join_method: 'token',
  })
})

test('the wrong audience: refused, audited, and the client is told what it needs', async () => {
  const token = (await readFile(join(home.path, 'token', 'token'), 'utf8')).trim()
  const { status, text } = await askHttp(new URL('/mcp', cluster.url), {
    headers: headersOf(token),
    body: '{"jsonrpc":"2.0","id":1,"method":"ping"}',
  })
  expect([status, text]).toEqual([401, expect.stringContaining('is for another endpoint: ask for one for the URL you call')])
  expect(await lastOf('access.denied')).toMatchObject({
    kind: 'endpoint_token',
    ...CALLER,
    name: '/mcp',
    outcome: 'failure',
    error: expect.stringContaining('another endpoint'),
  })
})

test('the symbolic link: what is there stays, the operator and the cluster are told, and the rest goes on', async () => {
  await mkdir(join(home.path, 'elsewhere'))
  await rename(join(home.path, 'svid'), join(home.path, 'svid-before'))
  await symlink(join(home.path, 'elsewhere'), join(home.path, 'svid'))
  bot.kill('SIGUSR1')
  await sawLog('is a symbolic link, which somebody else could turn')
  await sawLog('write the path without it, or set symlinks: insecure')
  const [event] = await cluster.eventsOnceThere({ type: 'bot.destination.refused' }, 1)
  expect(event).toMatchObject({
    ...CALLER,
    code: 'SPBOT003W',
    outcome: 'failure',
    name: 'workload-identity-x509-3',
    path: `directory ${home.path}/svid`,
    error: `${home.path}/svid is a symbolic link, which somebody else could turn`,
  })
  await sawLog('"message":"renewed"', 5)
  bot.kill('SIGUSR1')
  await sawLog('is a symbolic link, which somebody else could turn', 2)
  expect(await cluster.events({ type: 'bot.destination.refused' })).toHaveLength(1)
}, 60_000)

test('every event of a bot names the bot, its instance and how it joined', async () => {
  const client = new Client({ name: 'events', version: '1' })
  await client.connect(
    new StdioClientTransport({
      command: bin('tsh'),
      args: ['mcp', 'connect', ...identity(), '--proxy', proxy(), 'tools'],
      env: { PATH: process.env['PATH'] ?? '', HOME: home.path },
      stderr: 'ignore',
    }),
  )
  await client.callTool({ name: 'echo', arguments: { text: 'x' } })
  await client.callTool({ name: 'pid', arguments: {} }).catch(() => undefined)
  await cluster.eventsOnceThere({ type: 'mcp.session.listen_sse_stream', user: 'bot-worker' }, 1)
  await client.close()
  const token = (await readFile(join(home.path, 'token', 'token'), 'utf8')).trim()
  await askHttp(cluster.mcpUrl('tools'), { headers: headersOf(token), body: '{"jsonrpc":"2.0"' })
  const app = join(home.path, 'app.yaml')
  await writeFile(app, 'kind: app\nversion: v3\nmetadata: {name: made}\nspec: {uri: "mcp+http://127.0.0.1:1/mcp"}\n')
  const role = join(home.path, 'role.yaml')
  await writeFile(role, 'kind: role\nversion: v8\nmetadata: {name: made}\nspec: {}\n')
  const tctl = (...args: string[]) => runProgram(bin('tctl'), [...args, ...identity(), '--auth-server', proxy()])
  for (const args of [
    ['create', app],
    ['create', '-f', app],
    ['rm', 'app/made'],
    ['create', role],
    ['create', '-f', role],
    ['rm', 'role/made'],
  ])
    expect([args, (await tctl(...args)).code]).toEqual([args, 0])
  expect((await tctl('get', 'users')).code).toBe(5)
  await cluster.eventsOnceThere({ type: 'mcp.session.end', user: 'bot-worker' }, 1)
  // The copied credential comes last: it ends the instance.
  await cp(join(home.path, 'storage'), join(home.path, 'stolen'), { recursive: true })
  await writeConfig('stolen')
  bot.kill('SIGUSR1')
  await sawLog('"generation":4')
  const thief = await runProgram(bin('tbot'), ['start', '-c', join(home.path, 'stolen.yaml'), '--oneshot'])
  expect([thief.code, thief.stderr]).toEqual([5, expect.stringContaining('there is a copy of it')])

  const events = (await cluster.events()).filter(({ user }) => user === 'bot-worker')
  for (const event of events) expect([event['event'], event]).toEqual([event['event'], expect.objectContaining(CALLER)])
  const types = new Set(events.map(({ event }) => String(event)))
  expect([...types].toSorted()).toEqual([
    'access.denied',
    'app.create',
    'app.delete',
    'app.update',
    'bot.destination.refused',
    'bot.join',
    'cert.create',
    'cert.generation_mismatch',
    'mcp.session.end',
    'mcp.session.invalid_http_request',
    'mcp.session.listen_sse_stream',
    'mcp.session.notification',
    'mcp.session.request',
    'mcp.session.start',
    'oauth.token.issue',
    'role.created',
    'role.deleted',
    'role.updated',
    'spiffe.svid.issued',
  ])
  // Whatever else can carry who calls has room for all of it.
  for (const [type, { fields }] of Object.entries(EVENTS))
    if ('user' in fields)
      expect([type, ['bot_name', 'bot_instance_id', 'join_method'].every((name) => name in fields)]).toEqual([type, true])
}, 90_000)
