import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { deleteResource } from '../../src/api/resources.ts'
import { parseIdentityFile } from '../../src/ca/identity-file.ts'
import { openIdentityApi } from '../../src/client/join.ts'
import { fetchAssertion, fetchEndpointToken } from '../../src/client/servers.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { openHttp } from '../fakes/raw-http.ts'
import { headersOf, openSession, postMessage } from '../fakes/raw-mcp.ts'
import { ECHO_STDIO } from '../fakes/stdio-app.ts'
import { bin, runProgram, temporaryDirectory } from '../programs.ts'
import { AT_ONCE_MS, within } from '../wait.ts'
import { wholeList } from '../whole-list.ts'

// What a bot's credentials open, where, for whom, and until when.

let cluster: Cluster
let home: Awaited<ReturnType<typeof temporaryDirectory>>
/** The bot's files; one instance for all tests that only read. */
let files = ''

beforeAll(async () => {
  cluster = await startCluster()
  home = await temporaryDirectory()
  await cluster.saveStdioApp('one', process.execPath, [ECHO_STDIO], { env: 'dev' })
  await cluster.saveStdioApp('two', process.execPath, [ECHO_STDIO], { env: 'dev' })
  await cluster.saveStdioApp('hidden', process.execPath, [ECHO_STDIO], { env: 'prod' })
  await cluster.saveRole('dev', { allow: { app_labels: { env: 'dev' }, mcp: { tools: ['*'] } } })
  await cluster.save({ kind: 'bot', version: 'v1', metadata: { name: 'worker' }, spec: { roles: ['dev'] } })
  await cluster.save({ kind: 'mcp_set', version: 'v1', metadata: { name: 'first' }, spec: { servers: { names: ['one', 'hidden'] } } })
  files = await runBot('shared')
}, 60_000)
afterAll(async () => {
  await cluster.close()
  await home.dispose()
})

const proxy = (): string => `127.0.0.1:${cluster.running.address.port}`
const urlOf = (path: string): URL => new URL(path, cluster.url)

/** Runs tbot once, as a new instance; the directory of its outputs: `id/identity`, `all/token`, `one/token`. */
async function runBot(name: string): Promise<string> {
  await cluster.save({ kind: 'token', version: 'v2', metadata: { name: `join-${name}` }, spec: { roles: ['Bot'], bot_name: 'worker' } })
  const folder = join(home.path, name)
  const config = join(home.path, `${name}.yaml`)
  await writeFile(
    config,
    `proxy_server: ${proxy()}
onboarding: {token: join-${name}}
storage: {type: directory, path: ${folder}/storage}
oneshot: true
services:
  - {type: identity, destination: {type: directory, path: ${folder}/id}}
  - {type: oauth-token, audience: "${urlOf('/mcp').href}", destination: {type: directory, path: ${folder}/all}}
  - {type: oauth-token, audience: "${urlOf('/mcp/apps/one').href}", destination: {type: directory, path: ${folder}/one}}
`,
  )
  const { code, stderr } = await runProgram(bin('tbot'), ['start', '-c', config])
  expect([code, stderr]).toEqual([0, expect.any(String)])
  return folder
}

const tokenIn = async (folder: string, name: string): Promise<string> => (await readFile(join(folder, name, 'token'), 'utf8')).trim()
const identityIn = async (folder: string) => parseIdentityFile(await readFile(join(folder, 'id', 'identity'), 'utf8'))

const CALLER = {
  user: 'bot-worker',
  user_kind: 2,
  bot_name: 'worker',
  bot_instance_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
  join_method: 'token',
}

test('a token of one URL is refused at every other, with the reason, and in the audit log', async () => {
  const token = await tokenIn(files, 'one')
  for (const path of ['/mcp/apps/two', '/mcp', '/mcp/sets/first']) {
    const answer = await postMessage(urlOf(path), token, '', '{"jsonrpc":"2.0","id":1,"method":"ping"}')
    expect([path, answer.status, answer.text]).toEqual([path, 401, expect.stringContaining('is for another endpoint')])
  }
  const api = await fetch(urlOf('/v1/whoami'), { headers: { authorization: `Bearer ${token}` } })
  expect(api.status).toBe(401)
  const refused = await cluster.eventsOnceThere({ type: 'access.denied' }, 4)
  expect(refused.filter(({ kind }) => kind === 'endpoint_token')).toHaveLength(4)
  expect(refused[0]).toMatchObject({ error: 'the endpoint token is for another endpoint: ask for one for the URL you call' })
})

test('a token of a certificate is worth nothing to who has only the token: refused and audited', async () => {
  const { api, close } = openIdentityApi({ proxy: { host: '127.0.0.1', port: cluster.running.address.port } }, await identityIn(files))
  try {
    const { token } = await fetchEndpointToken(api, '/mcp')
    const stolen = await postMessage(urlOf('/mcp'), token, '', '{"jsonrpc":"2.0","id":1,"method":"ping"}')
    expect([stolen.status, stolen.text]).toEqual([401, expect.stringContaining('good only with the certificate that it was issued for')])
    await expect(fetchEndpointToken(api, '/mcp/sets/none')).rejects.toThrow('MCP set "none" not found')
    await expect(fetchEndpointToken(api, '/v1/whoami')).rejects.toThrow('endpoint: must be /mcp')
    await expect(fetchEndpointToken(api, '/mcp', { roles: ['dev'] })).rejects.toThrow('roles: the certificate says which')
    const { token: assertion } = await fetchAssertion(api, 'one')
    const narrow = await postMessage(urlOf('/mcp'), assertion, '', '{"jsonrpc":"2.0","id":1,"method":"ping"}')
    expect([narrow.status, narrow.text]).toEqual([401, expect.stringContaining('what you sent is for one server')])
  } finally {
    close()
  }
  const refused = await cluster.events({ type: 'access.denied' })
  expect(refused.some(({ error }) => String(error).includes('whoever presents it has taken it from somebody'))).toBe(true)
})

test('a person and an API token get none of a bot, and the own certificate of a bot none of a certificate', async () => {
  await cluster.saveUser('ana', ['dev'])
  const answer = await fetch(urlOf('/v1/endpoint-tokens'), {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${await cluster.tokenOf('ana')}` },
    body: '{"endpoint":"/mcp"}',
  })
  expect([answer.status, await answer.text()]).toEqual([
    403,
    expect.stringContaining('issued to users and bots that call with their certificate'),
  ])
})

test('an HTTP client has the tools at the URL of its token, as the bot', async () => {
  for (const [name, path, tool] of [
    ['one', '/mcp/apps/one', 'echo'],
    ['all', '/mcp', 'two_echo'],
  ] as const) {
    const requestInit = { headers: { authorization: `Bearer ${await tokenIn(files, name)}` } }
    const client = new Client({ name: 'http', version: '1' })
    await client.connect(new StreamableHTTPClientTransport(urlOf(path), { requestInit }))
    expect((await wholeList(() => client.listTools())).tools.map((listed) => listed.name)).toContain(tool)
    expect(JSON.stringify(await client.callTool({ name: tool, arguments: { text: path } }))).toContain(path)
    await client.close()
  }
  const issued = await cluster.events({ type: 'oauth.token.issue' })
  expect(issued.slice(0, 2)).toMatchObject([
    { ...CALLER, resource: '/mcp' },
    { ...CALLER, resource: '/mcp/apps/one' },
  ])
  for (const type of ['mcp.session.start', 'mcp.session.request'])
    expect((await cluster.eventsOnceThere({ type, user: 'bot-worker' }, 2))[0]).toMatchObject(CALLER)
})

test.each([
  [['--all', '--as-one'], 'teleport-mcp', ['one_echo', 'two_echo']],
  [['--set=first'], 'teleport-set-first', ['one_echo']],
])('what tsh mcp config %j writes starts, and shows all of them as one server', async (choice, entry, wanted) => {
  const file = join(home.path, `${entry}.json`)
  const identity = ['-i', join(files, 'id', 'identity'), '--proxy', proxy()]
  const written = await runProgram(bin('tsh'), ['mcp', 'config', ...choice, ...identity, '--client-config', file, '--format=cursor'])
  expect([written.code, written.stderr]).toEqual([0, ''])
  const { mcpServers } = z
    .object({ mcpServers: z.record(z.string(), z.object({ command: z.string(), args: z.array(z.string()) })) })
    .parse(JSON.parse(await readFile(file, 'utf8')))
  expect(Object.keys(mcpServers)).toEqual([entry])
  const { command = '', args = [] } = mcpServers[entry] ?? {}
  const client = new Client({ name: 'stdio', version: '1' })
  await client.connect(
    new StdioClientTransport({ command, args, env: { PATH: process.env['PATH'] ?? '', HOME: home.path }, stderr: 'ignore' }),
  )
  expect((await client.listTools()).tools.map(({ name }) => name).filter((name) => name.endsWith('_echo'))).toEqual(wanted)
  await client.close()
})

test('an entry for a set that does not exist is not written', async () => {
  const file = join(home.path, 'none.json')
  const identity = ['-i', join(files, 'id', 'identity'), '--proxy', proxy()]
  const { code, stderr } = await runProgram(bin('tsh'), ['mcp', 'config', '--set=none', ...identity, '--client-config', file])
  expect([code, stderr]).toEqual([6, expect.stringContaining('MCP set "none" not found')])
  await expect(readFile(file)).rejects.toThrow('ENOENT')
})

test.each([
  ['--all', ['one_echo', 'two_echo']],
  ['--set=first', ['one_echo']],
])('tsh mcp connect -i %s shows what the bot may use there, and nothing else', async (choice, wanted) => {
  const client = new Client({ name: 'stdio', version: '1' })
  await client.connect(
    new StdioClientTransport({
      command: bin('tsh'),
      args: ['mcp', 'connect', '-i', join(files, 'id', 'identity'), '--proxy', proxy(), choice],
      env: { PATH: process.env['PATH'] ?? '', HOME: home.path },
      stderr: 'ignore',
    }),
  )
  const tools = (await wholeList(() => client.listTools())).tools.map(({ name }) => name).filter((name) => name.endsWith('_echo'))
  expect(tools).toEqual(wanted)
  expect(JSON.stringify(await client.callTool({ name: wanted[0] ?? '', arguments: { text: 'hello' } }))).toContain('hello')
  await client.close()
})

test('tsh mcp connect asks for one choice', async () => {
  for (const args of [[], ['one', '--all'], ['--all', '--set=first']]) {
    const { code, stderr } = await runProgram(bin('tsh'), [
      'mcp',
      'connect',
      '-i',
      join(files, 'id', 'identity'),
      '--proxy',
      proxy(),
      ...args,
    ])
    expect([code, stderr]).toEqual([2, expect.stringContaining('give one of these: the NAME of an MCP server, --all, or --set NAME')])
  }
})

test.each([
  ['its instance', (id: string) => ({ bot_instance_id: id })],
  ['its join token', (_: string, token: string) => ({ join_token: token })],
  ['its bot', () => ({ user: 'bot-worker' })],
])(
  'a lock of %s ends open sessions, and what the bot would have renewed, at once',
  async (what, target) => {
    const name = `locked-${what.replaceAll(' ', '-')}`
    const folder = await runBot(name)
    const identity = await identityIn(folder)
    const issued = await cluster.events({ type: 'cert.create' })
    const { bot_instance_id: id, join_token: joinToken } = issued.at(-1) ?? {}
    const bearer = { one: await tokenIn(folder, 'one'), all: await tokenIn(folder, 'all') }
    const open = await Promise.all(
      [
        [urlOf('/mcp/apps/one'), bearer.one],
        [urlOf('/mcp'), bearer.all],
      ].map(async ([url, token]) => {
        const at = new URL(String(url))
        const session = await openSession(at, String(token))
        return await openHttp(at, { method: 'GET', headers: headersOf(String(token), { 'mcp-session-id': session }) })
      }),
    )
    const lock = {
      kind: 'lock',
      version: 'v2',
      metadata: { name },
      spec: { target: target(String(id), String(joinToken)), message: 'theft' },
    }
    await cluster.save(lock)
    const told = await within('the end of the streams', Promise.all(open.map(({ ended }) => ended)), AT_ONCE_MS)
    for (const text of told) expect(text).toContain('is in force: theft')
    for (const [path, token] of [
      ['/mcp/apps/one', bearer.one],
      ['/mcp', bearer.all],
    ] as const)
      expect(await postMessage(urlOf(path), token, '', '{"jsonrpc":"2.0","id":1,"method":"ping"}')).toMatchObject({ status: 403 })
    const { api, close } = openIdentityApi({ proxy: { host: '127.0.0.1', port: cluster.running.address.port } }, identity)
    await expect(fetchEndpointToken(api, '/mcp')).rejects.toThrow('is in force: theft')
    close()
    const again = await runProgram(bin('tbot'), ['start', '-c', join(home.path, `${name}.yaml`)])
    expect([again.code, again.stderr]).toEqual([5, expect.stringContaining('is in force: theft')])
    const [denied] = (await cluster.events({ type: 'access.denied', user: 'bot-worker' })).slice(-1)
    expect(denied).toMatchObject({ ...CALLER, decision: { kind: 'lock', by: `lock/${name}` } })
    // So that the next bot is not locked too.
    await cluster.admin(deleteResource, { kind: 'lock', name })
  },
  60_000,
)

test('an instance that is removed has no session left, at the one URL neither', async () => {
  const folder = await runBot('removed')
  const token = await tokenIn(folder, 'all')
  const session = await openSession(urlOf('/mcp'), token)
  const stream = await openHttp(urlOf('/mcp'), { method: 'GET', headers: headersOf(token, { 'mcp-session-id': session }) })
  const { bot_instance_id: id } = (await cluster.events({ type: 'cert.create' })).at(-1) ?? {}
  await cluster.admin(deleteResource, { kind: 'bot_instance', name: String(id) })
  await within('the end of the stream', stream.ended, AT_ONCE_MS)
  expect((await postMessage(urlOf('/mcp'), token, '', '{"jsonrpc":"2.0","id":1,"method":"ping"}')).status).toBe(401)
}, 60_000)
