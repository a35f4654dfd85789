import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Cluster, startCluster } from '../cluster.ts'
import { bin, ROOT, runProgram, type Started, startProgram, temporaryDirectory } from '../programs.ts'
import { eventually } from '../wait.ts'
import { wholeList } from '../whole-list.ts'

let cluster: Cluster
let home: Awaited<ReturnType<typeof temporaryDirectory>>
let bot: Started
let config = ''
let url = ''

beforeAll(async () => {
  cluster = await startCluster()
  home = await temporaryDirectory()
  await cluster.saveStdioApp('tools', process.execPath, [join(ROOT, 'test/fakes/echo-stdio.ts')], { env: 'dev' })
  await cluster.saveRole('dev', { allow: { app_labels: { env: 'dev' }, mcp: { tools: ['echo'] } } })
  await cluster.save({ kind: 'bot', version: 'v1', metadata: { name: 'local' }, spec: { roles: ['dev'] } })
  await cluster.save({ kind: 'token', version: 'v2', metadata: { name: 'for-local' }, spec: { roles: ['Bot'], bot_name: 'local' } })
  config = join(home.path, 'tbot.yaml')
  await writeFile(
    config,
    `version: v2
proxy_server: 127.0.0.1:${cluster.running.address.port}
onboarding: {token: for-local}
storage: {type: directory, path: ${join(home.path, 'storage')}}
services:
  - type: mcp
    name: socket
    listen: unix://${join(home.path, 'run', 'mcp.sock')}
  - type: mcp
    name: port
    listen: tcp://127.0.0.1:0
    destination: {type: directory, path: ${join(home.path, 'port')}}
`,
  )
  await start()
}, 60_000)
afterAll(async () => {
  bot.kill('SIGTERM')
  await bot.ended
  await cluster.close()
  await home.dispose()
})

async function start(): Promise<void> {
  bot = startProgram(bin('tbot'), ['start', '-c', config])
  await eventually('both services renewed', () => (bot.stderr().match(/"message":"renewed"/g)?.length ?? 0) >= 2 || undefined, 30_000)
  url = /http:\/\/127\.0\.0\.1:\d+/.exec(bot.stderr())?.[0] ?? ''
}

const post = (path: string, headers: Record<string, string> = {}) =>
  fetch(`${url}${path}`, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: '{}' })
const token = async (): Promise<string> => (await readFile(join(home.path, 'port', 'mcp-token'), 'utf8')).trim()

test('without the token, from a web page, and anywhere but at a server: refused', async () => {
  expect((await post('/mcp/apps/tools')).status).toBe(401)
  expect((await post('/mcp/apps/tools', { authorization: 'Bearer wrong' })).status).toBe(401)
  const authorization = `Bearer ${await token()}`
  expect((await post('/mcp/apps/tools', { authorization, origin: 'https://evil.example' })).status).toBe(403)
  expect((await post('/v1/whoami', { authorization })).status).toBe(404)
  expect((await post('/mcp/other/x', { authorization })).status).toBe(404)
  expect((await post('/mcp/sets/none', { authorization })).status).toBe(502)
  for (const [path, mode] of [
    ['run/mcp.sock', '600'],
    ['run', '700'],
    ['port/mcp-token', '600'],
  ])
    expect([path, ((await stat(join(home.path, path ?? ''))).mode & 0o777).toString(8)]).toEqual([path, mode])
})

test('a client of the port with the token has the tools of the bot', async () => {
  const transport = new StreamableHTTPClientTransport(new URL('/mcp/apps/tools', url), {
    requestInit: { headers: { authorization: `Bearer ${await token()}` } },
  })
  await use(new Client({ name: 'http', version: '1' }), transport)
}, 60_000)

test('tbot mcp serves a stdio client through the socket, also after tbot was killed and started anew', async () => {
  const open = () =>
    new StdioClientTransport({
      command: bin('tbot'),
      args: ['mcp', 'tools', '-c', config, '--service=socket'],
      env: { PATH: process.env['PATH'] ?? '', HOME: home.path },
      stderr: 'ignore',
    })
  await use(new Client({ name: 'stdio', version: '1' }), open())
  const before = await token()
  bot.kill('SIGKILL')
  await bot.ended
  const gone = await runProgram(bin('tbot'), ['mcp', 'tools', '-c', config])
  expect([gone.code, gone.stderr]).toEqual([2, expect.stringContaining('several services of type mcp')])
  await start()
  expect(await token()).toBe(before)
  await use(new Client({ name: 'stdio', version: '1' }), open())
}, 60_000)

test('all servers as one and those of a set, over the port and by tbot mcp', async () => {
  await cluster.save({ kind: 'mcp_set', version: 'v1', metadata: { name: 'mine' }, spec: { servers: { names: ['tools'] } } })
  for (const path of ['/mcp', '/mcp/sets/mine'])
    await use(
      new Client({ name: 'http', version: '1' }),
      new StreamableHTTPClientTransport(new URL(path, url), { requestInit: { headers: { authorization: `Bearer ${await token()}` } } }),
      'tools_echo',
    )
  for (const choice of [['--all'], ['--set', 'mine']])
    await use(
      new Client({ name: 'stdio', version: '1' }),
      new StdioClientTransport({
        command: bin('tbot'),
        args: ['mcp', ...choice, '-c', config, '--service=socket'],
        env: { PATH: process.env['PATH'] ?? '', HOME: home.path },
        stderr: 'ignore',
      }),
      'tools_echo',
    )
}, 60_000)

async function use(client: Client, transport: StdioClientTransport | StreamableHTTPClientTransport, tool = 'echo'): Promise<void> {
  await client.connect(transport)
  expect((await wholeList(() => client.listTools())).tools.map(({ name }) => name)).toEqual([tool])
  const answer = await client.callTool({ name: tool, arguments: { text: 'hello' } })
  expect(JSON.stringify(answer.content)).toContain('hello')
  await client.close()
}
