import { cp, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Client } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { type Cluster, startCluster } from '../cluster.ts'
import { bin, ROOT, runProgram, startProgram, temporaryDirectory } from '../programs.ts'

let cluster: Cluster
let home: Awaited<ReturnType<typeof temporaryDirectory>>

beforeAll(async () => {
  cluster = await startCluster()
  await cluster.saveStdioApp('my-mcp-server', process.execPath, [join(ROOT, 'test/fakes/echo-stdio.ts')], { env: 'dev' })
  await cluster.saveStdioApp('other', process.execPath, [join(ROOT, 'test/fakes/echo-stdio.ts')], { env: 'prod' })
  await cluster.save({
    kind: 'role',
    version: 'v6',
    metadata: { name: 'example-role' },
    spec: { allow: { app_labels: { env: 'dev' }, mcp: { tools: ['*'] } } },
  })
  await cluster.save({ kind: 'bot', version: 'v1', metadata: { name: 'example' }, spec: { roles: ['example-role'] } })
})
afterAll(() => cluster.close())
beforeEach(async () => {
  home = await temporaryDirectory()
})
afterEach(() => home.dispose())

const proxy = (): string => `127.0.0.1:${cluster.running.address.port}`

async function saveToken(name: string, expires?: string): Promise<void> {
  const metadata = { name, ...(expires !== undefined && { expires }) }
  await cluster.save({ kind: 'token', version: 'v2', metadata, spec: { roles: ['Bot'], bot_name: 'example' } })
}

/** A tbot.yaml with the service of the guide; its path. */
async function writeConfig(token: string, { storage = 'storage', more = '' } = {}): Promise<string> {
  const file = join(home.path, `${storage}.yaml`)
  await writeFile(
    file,
    `version: v2
proxy_server: ${proxy()}
onboarding:
  token: ${token}
storage:
  type: directory
  path: ${join(home.path, storage)}
${more}services:
  - type: identity
    allow_reissue: true
    destination:
      type: directory
      path: ${join(home.path, 'machine-id')}
`,
  )
  return file
}

test('the expired token, the unknown one, and a configuration that is wrong: exit codes and words', async () => {
  await saveToken('late', new Date(Date.now() - 1000).toISOString())
  const config = await writeConfig('late')
  for (const token of ['late', 'never-made']) {
    const { code, stderr } = await runProgram(bin('tbot'), ['start', '-c', config, '--oneshot', '--token', token])
    expect(code).toBe(5)
    expect(stderr).toContain('ERROR: the join was refused: the join token is unknown, used up, expired or locked')
  }
  const daemon = await runProgram(bin('tbot'), ['start', '-c', config])
  expect(daemon.code).toBe(5)
  await writeFile(config, `${await readFile(config, 'utf8')}nonsense: 1\n`)
  const wrong = await runProgram(bin('tbot'), ['start', '-c', config])
  expect([wrong.code, wrong.stderr]).toEqual([2, `ERROR: ${config}:14:1 unknown key "nonsense"\n`])
}, 60_000)

test('a oneshot bot writes what tsh mcp connect takes: the tools of its role, recorded as the bot', async () => {
  await saveToken('once')
  const config = await writeConfig('once')
  const elsewhere = join(home.path, 'elsewhere')
  await mkdir(elsewhere)
  await symlink(elsewhere, join(home.path, 'machine-id'))
  const refused = await runProgram(bin('tbot'), ['start', '-c', config, '--oneshot'])
  expect([refused.code, refused.stderr]).toEqual([
    1,
    expect.stringContaining('machine-id is a symbolic link, which somebody else could turn'),
  ])
  expect(await readdir(elsewhere)).toEqual([])
  await rm(join(home.path, 'machine-id'))
  const ended = await runProgram(bin('tbot'), ['start', '-c', config, '--oneshot'])
  expect([ended.code, ended.stdout]).toEqual([0, ''])
  expect((await readdir(join(home.path, 'machine-id'))).toSorted()).toEqual([
    'identity',
    'key',
    'key.pub',
    'teleport-host-ca.crt',
    'teleport-user-ca.crt',
    'tlscert',
  ])
  for (const folder of ['machine-id', 'storage']) {
    expect(((await stat(join(home.path, folder))).mode & 0o777).toString(8)).toBe('700')
    for (const name of await readdir(join(home.path, folder)))
      expect([name, ((await stat(join(home.path, folder, name))).mode & 0o777).toString(8)]).toEqual([name, '600'])
  }
  const transport = new StdioClientTransport({
    command: bin('tsh'),
    args: ['mcp', 'connect', '-i', join(home.path, 'machine-id', 'identity'), '--proxy', proxy(), 'my-mcp-server'],
    env: { PATH: process.env['PATH'] ?? '', HOME: home.path },
    stderr: 'ignore',
  })
  const client = new Client({ name: 'e2e', version: '1' })
  await client.connect(transport)
  expect((await client.listTools()).tools.map(({ name }) => name)).toContain('echo')
  const answer = await client.callTool({ name: 'echo', arguments: { text: 'hello' } })
  expect(JSON.stringify(answer.content)).toContain('hello')
  await client.close()
  const [call] = await cluster.eventsOnceThere({ type: 'mcp.session.request', user: 'bot-example' }, 1)
  expect(call).toMatchObject({ user: 'bot-example', user_kind: 2, bot_name: 'example' })
  const other = await runProgram(bin('tsh'), ['mcp', 'call', '-i', join(home.path, 'machine-id'), '--proxy', proxy(), 'other', 'echo'])
  expect(other.code).toBe(6)
}, 60_000)

test('a stolen copy of the storage that is used too locks the instance: both are told, and the running bot stays, unhealthy', async () => {
  await saveToken('to-be-stolen')
  const config = await writeConfig('to-be-stolen', { more: 'diag_addr: "0"\n' })
  const bot = startProgram(bin('tbot'), ['start', '-c', config])
  try {
    const address = await sawAddress(bot)
    const waited = await runProgram(bin('tbot'), ['wait', '--diag-addr', address, '--timeout', '20s'])
    expect([waited.code, waited.stderr]).toEqual([0, ''])
    const second = await runProgram(bin('tbot'), ['start', '-c', config, '--oneshot'])
    expect([second.code, second.stderr]).toEqual([1, expect.stringContaining('already uses the data directory')])
    await cp(join(home.path, 'storage'), join(home.path, 'stolen'), { recursive: true })
    bot.kill('SIGUSR1')
    await sawLog(bot, '"generation":2')
    const thief = await runProgram(bin('tbot'), ['start', '-c', await writeConfig('to-be-stolen', { storage: 'stolen' }), '--oneshot'])
    expect(thief.code).toBe(5)
    expect(thief.stderr).toContain('there is a copy of it')
    bot.kill('SIGUSR1')
    await sawLog(bot, 'the Auth Service refuses this bot')
    const ready = await fetch(`http://${address}/readyz`)
    expect([ready.status, await ready.text()]).toEqual([503, expect.stringContaining('Renewal has stopped')])
    expect((await fetch(`http://${address}/readyz/identity-1`)).status).toBe(503)
    expect((await fetch(`http://${address}/livez`)).status).toBe(200)
    expect(await (await fetch(`http://${address}/metrics`)).text()).toContain('tbot_ready{service="self"} 0')
    const [event] = await cluster.events({ type: 'cert.generation_mismatch' })
    expect(event).toMatchObject({ bot_name: 'example', outcome: 'failure' })
    const use = await runProgram(bin('tsh'), ['mcp', 'ls', '-i', join(home.path, 'machine-id'), '--proxy', proxy()])
    expect([use.code, use.stderr]).toEqual([5, expect.stringContaining('there is a copy of it')])
    bot.kill('SIGTERM')
    expect((await bot.ended).code).toBe(0)
  } finally {
    bot.kill('SIGKILL')
  }
}, 90_000)

test('killed at any moment and started anew, it is no copy of itself', async () => {
  await saveToken('to-be-killed')
  const config = await writeConfig('to-be-killed')
  expect((await runProgram(bin('tbot'), ['start', '-c', config, '--oneshot'])).code).toBe(0)
  for (const ms of [450, 500, 550, 600, 650, 700, 800]) {
    const bot = startProgram(bin('tbot'), ['start', '-c', config])
    await delay(ms)
    bot.kill('SIGKILL')
    await bot.ended
  }
  const last = await runProgram(bin('tbot'), ['start', '-c', config, '--oneshot'])
  expect([last.code, last.stdout]).toEqual([0, ''])
}, 90_000)

async function sawLog(bot: ReturnType<typeof startProgram>, text: string): Promise<void> {
  for (let tries = 0; !bot.stderr().includes(text); tries++) {
    if (tries > 300) throw new Error(`"${text}" did not come: ${bot.stderr()}`)
    await delay(100)
  }
}

async function sawAddress(bot: ReturnType<typeof startProgram>): Promise<string> {
  await sawLog(bot, 'diagnostics are served')
  return /"address":"(127\.0\.0\.1:\d+)"/.exec(bot.stderr())?.[1] ?? ''
}
