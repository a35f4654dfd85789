import { once } from 'node:events'
import { PassThrough, Readable } from 'node:stream'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { issueRouteAssertion, whoami } from '../../src/api/identity.ts'
import { main } from '../../src/cli/tctl/main.ts'
import { issueBotOutput, joinCluster, openIdentityApi } from '../../src/client/join.ts'
import type { Joined } from '../../src/client/join.ts'
import type { ApiClient } from '../../src/client/call.ts'
import { createProxyHttp } from '../../src/client/proxy-http.ts'
import { localAdministrator } from '../../src/services/auth/start.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { type EchoHttp, startEchoHttp } from '../fakes/echo-http.ts'
import { headersOf } from '../fakes/raw-mcp.ts'

let cluster: Cluster
let echo: EchoHttp
const closers: (() => void)[] = []

beforeAll(async () => {
  cluster = await startCluster()
  echo = await startEchoHttp()
  await cluster.saveHttpApp('echo', echo.url)
  await cluster.saveRole('dev', { allow: { app_labels: { env: 'test' }, mcp: { tools: ['*'] } } })
  await cluster.saveRole('other', { allow: {} })
})

afterAll(async () => {
  for (const close of closers) close()
  await cluster.close()
  await echo.close()
})

async function tctl(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  const texts = ['', '']
  stdout.on('data', (chunk) => (texts[0] += String(chunk)))
  stderr.on('data', (chunk) => (texts[1] += String(chunk)))
  const carrier = cluster.running.auth.carrier(localAdministrator(Date.now()))
  const code = await main(argv, { stdin: Readable.from([]), stdout, stderr, isTTY: false, env: {}, carrier })
  return { code, out: texts[0] ?? '', err: texts[1] ?? '' }
}

const target = () => ({ proxy: { host: '127.0.0.1', port: cluster.running.address.port }, caPins: [], authorities: [] })

async function as<T>(joined: Joined, use: (api: ApiClient) => Promise<T>): Promise<T> {
  const connection = openIdentityApi(target(), joined.identity)
  try {
    return await use(connection.api)
  } finally {
    connection.close()
  }
}

/** A bot of its own for a test, joined, with an output. */
async function addBot(name: string): Promise<{ secret: string; own: Joined; output: Joined }> {
  const { out } = await tctl('bots', 'add', name, '--roles=dev', '--format=json')
  const secret: string = JSON.parse(out).token_id
  const own = await joinCluster(target(), { role: 'Bot', hostname: 'runner' }, { method: 'token', token: secret }, { now: Date.now })
  const output = await as(own, (api) => issueBotOutput(api, { ttlSeconds: 600, allowReissue: true }))
  return { secret, own, output }
}

/** An MCP session over TLS with the certificate that its assertion is bound to. */
async function openAs(joined: Joined): Promise<{ call(): Promise<number> }> {
  const { assertion } = await as(joined, (api) => api(issueRouteAssertion, { server: 'echo' }))
  const { privateKeyPem: key, certificatePem: certificate, authorityPems: authorities } = joined.identity
  const http = createProxyHttp({ proxy: target().proxy, authorities, alpn: ['http/1.1'], credentials: { key, certificate } })
  closers.push(http.close)
  let session: Record<string, string> = {}
  const post = async (method: string, params: unknown, id?: number): Promise<number> => {
    const headers = headersOf(assertion, session)
    const body = JSON.stringify({ jsonrpc: '2.0', method, params, ...(id !== undefined && { id }) })
    const answer = await http.send({ method: 'POST', path: '/mcp/apps/echo', headers, body, signal: AbortSignal.timeout(10_000) })
    const given = answer.headers['mcp-session-id']
    if (typeof given === 'string') session = { 'mcp-session-id': given }
    answer.resume()
    await once(answer, 'end')
    return answer.statusCode ?? 0
  }
  const opened = await post('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'raw', version: '1' } }, 0)
  expect(opened).toBe(200)
  await post('notifications/initialized', {})
  return { call: () => post('tools/call', { name: 'echo', arguments: { text: 'hi' } }, 1) }
}

test('a bot is added with roles that exist, and with a token that was made for it', async () => {
  expect(await tctl('bots', 'add', 'x', '--roles=nobody')).toMatchObject({
    code: 1,
    err: expect.stringContaining('role "nobody" does not exist'),
  })
  await cluster.save({ kind: 'token', version: 'v2', metadata: { name: 'of-y' }, spec: { roles: ['Bot'], bot_name: 'y' } })
  const { code, err } = await tctl('bots', 'add', 'x', '--roles=dev', '--token=of-y')
  expect([code, err]).toEqual([2, 'ERROR: --token: its bot_name is "y", not "x"\n'])
  expect((await tctl('bots', 'ls')).out).toBe('No bots found\n')
  await cluster.saveUser('bot-z', ['dev'])
  expect((await tctl('bots', 'add', 'z', '--roles=dev')).err).toContain('there is a user called "bot-z"')
})

test('bots are added, listed, updated and removed', async () => {
  const added = await tctl('bots', 'add', 'robot', '--roles=dev')
  expect(added.out).toMatch(/^The bot token: [0-9a-f]{32}\nThis token will expire at /)
  expect(added.out).toContain(`tbot start identity \\\n    --destination=./robot \\\n    --token=`)
  expect(added.out).toContain(`    --proxy-server=127.0.0.1:${cluster.running.address.port}\n`)
  expect((await tctl('bots', 'ls')).out).toContain('robot  bot-robot  dev\n')
  expect((await tctl('bots', 'update', 'robot', '--add-roles=other')).out).toBe('Bot "robot" has been updated.\nRoles: dev, other\n')
  expect(await tctl('rm', 'role/other')).toMatchObject({ code: 1, err: expect.stringContaining('is in use by bot robot') })
  expect((await tctl('bots', 'update', 'robot', '--set-roles=dev')).out).toContain('Roles: dev\n')
  expect((await tctl('bots', 'rm', 'robot')).out).toBe('Bot "robot" deleted successfully.\n')
  expect((await tctl('bots', 'rm', 'robot')).code).toBe(6)
})

test('a call of a bot is recorded with bot, instance and join method', async () => {
  const { own, output } = await addBot('caller')
  const session = await openAs(output)
  expect(await session.call()).toBe(200)
  const [event] = await cluster.eventsOnceThere({ type: 'mcp.session.request', user: 'bot-caller', tool: 'echo' }, 1)
  expect(event).toMatchObject({ user_kind: 2, bot_name: 'caller', bot_instance_id: own.botInstanceId, join_method: 'token' })
  await expect(openAs(own)).rejects.toThrow("a bot's own certificate opens nothing")
})

test('a lock on the instance ends its open session and everything else at once; the others go on', async () => {
  const { own, output } = await addBot('locked')
  const session = await openAs(output)
  const other = await tctl('bots', 'instances', 'add', 'locked', '--format=json')
  const second = await joinCluster(target(), { role: 'Bot' }, { method: 'token', token: JSON.parse(other.out).token_id }, { now: Date.now })
  expect((await tctl('lock', `--bot-instance-id=${own.botInstanceId}`, '--message=stolen')).code).toBe(0)
  expect(await session.call()).not.toBe(200)
  for (const identity of [own, output])
    await expect(as(identity, (api) => api(whoami, {}))).rejects.toMatchObject({
      code: 'permission_denied',
      message: expect.stringContaining('stolen'),
    })
  expect(await as(second, (api) => api(whoami, {}))).toMatchObject({ name: 'bot-locked' })
  const shown = await tctl('bots', 'instances', 'show', `locked/${own.botInstanceId}`)
  expect(shown.out).toContain('Hostname')
  expect(shown.out).toMatch(/Locked: +lock\/.*: stolen\n/)
})

test('a lock on the bot as a user hits all its instances, and the next join', async () => {
  const { own, output } = await addBot('whole')
  const waiting = JSON.parse((await tctl('bots', 'instances', 'add', 'whole', '--format=json')).out).token_id
  expect((await tctl('lock', '--user=bot-whole')).code).toBe(0)
  for (const identity of [own, output])
    await expect(as(identity, (api) => api(whoami, {}))).rejects.toMatchObject({ code: 'permission_denied' })
  await expect(joinCluster(target(), { role: 'Bot' }, { method: 'token', token: waiting }, { now: Date.now })).rejects.toThrow(
    'the join was refused',
  )
})

test('access of a bot is explained as that of a person', async () => {
  await addBot('explained')
  expect((await tctl('access', 'explain', '--user=bot-explained', '--server=echo', '--tool=echo')).out).toContain('dev')
  expect((await tctl('access', 'explain', '--user=explained', '--server=echo')).code).toBe(6)
})

test('a join token is locked by its secret, also when that is used up, and the secret stands nowhere', async () => {
  const { secret, own, output } = await addBot('by-token')
  expect((await tctl('lock', `--join-token=${secret}`)).code).toBe(0)
  for (const identity of [own, output])
    await expect(as(identity, (api) => api(whoami, {}))).rejects.toMatchObject({ code: 'permission_denied' })
  expect((await tctl('get', 'locks')).out).not.toContain(secret)
  expect(JSON.stringify(await cluster.events())).not.toContain(secret)
})

test.each([
  ['the bot', (name: string) => ['bots', 'rm', name]],
  ['its instance', (_: string, own: Joined) => ['rm', `bot_instance/${own.botInstanceId}`]],
])('removing %s ends its certificates and its open session at once', async (what, argv) => {
  const name = what === 'the bot' ? 'removed' : 'thinned'
  const { own, output } = await addBot(name)
  const session = await openAs(output)
  expect(await session.call()).toBe(200)
  expect((await tctl(...argv(name, own))).code).toBe(0)
  expect(await session.call()).not.toBe(200)
  for (const identity of [own, output])
    await expect(as(identity, (api) => api(whoami, {}))).rejects.toMatchObject({ code: 'unauthenticated' })
})

test('a bot made anew has nothing of the one before', async () => {
  const { output } = await addBot('again')
  await tctl('bots', 'rm', 'again')
  await addBot('again')
  await expect(as(output, (api) => api(whoami, {}))).rejects.toMatchObject({ code: 'unauthenticated' })
})

test('a role that is taken from the bot is gone from what it holds already', async () => {
  const { own, output } = await addBot('demoted')
  const session = await openAs(output)
  await tctl('bots', 'update', 'demoted', '--set-roles=other')
  expect(await as(output, (api) => api(whoami, {}))).toMatchObject({ roles: [] })
  expect(await session.call()).not.toBe(200)
  await expect(as(own, (api) => issueBotOutput(api, { roles: ['dev'], ttlSeconds: 600, allowReissue: false }))).rejects.toThrow(
    'the bot does not have the role "dev"',
  )
})
