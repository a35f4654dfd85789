import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { type Cluster, startCluster } from '../../test/cluster.ts'
import { bin, ROOT, runProgram, temporaryDirectory } from '../../test/programs.ts'
import { runTctl } from '../../test/tctl.ts'

const here = join(ROOT, 'examples', 'machine-identity')

let cluster: Cluster
let home: Awaited<ReturnType<typeof temporaryDirectory>>
let identity = ''

/** A file of the example with the values of this test in the place of the example's. */
async function adapt(name: string, values: Readonly<Record<string, string>>): Promise<string> {
  const text = Object.entries(values).reduce((before, [from, to]) => before.replaceAll(from, to), await readFile(join(here, name), 'utf8'))
  const path = join(home.path, name)
  await writeFile(path, text)
  return path
}

beforeAll(async () => {
  cluster = await startCluster()
  home = await temporaryDirectory()
  identity = join(home.path, 'machine-id', 'identity')
})
afterAll(async () => {
  await cluster.close()
  await home.dispose()
})

const tctl = (...args: string[]): Promise<string> => runTctl(cluster.dataDirectory, ...args)

const proxy = (): string => `127.0.0.1:${cluster.running.address.port}`
const environment = () => ({ IDENTITY: identity, PROXY: proxy(), PATH: `${join(ROOT, 'bin')}:${process.env['PATH'] ?? ''}` })

test('role, bot and tbot: the commands and files of the guide', async () => {
  await tctl('create', '-f', await adapt('app.yaml', { ACCOUNT: userInfo().username }))
  expect(await tctl('create', '-f', join(here, 'role.yaml'))).toContain('role "example-role" has been created')
  const added = await tctl('bots', 'add', 'example', '--roles=access', '--format', 'json')
  expect(await tctl('bots', 'update', 'example', '--add-roles', 'example-role')).not.toBe('')
  const { token_id: token } = z.object({ token_id: z.string() }).parse(JSON.parse(added))
  const tbot = await adapt('tbot.yaml', {
    'example.teleport.sh:443': proxy(),
    TOKEN: token,
    '/var/lib/sallyport/bot': join(home.path, 'storage'),
    '/opt/machine-id': join(home.path, 'machine-id'),
  })
  const { code, stderr } = await runProgram(bin('tbot'), ['start', '-c', tbot, '--oneshot'])
  expect([code, stderr]).toEqual([0, expect.stringContaining('"bot":"bot-example"')])
}, 60_000)

test('a plain program', async () => {
  const { code, stdout, stderr } = await runProgram(process.execPath, [join(here, 'client.mjs')], { env: environment() })
  expect([code, stdout.split('\n').slice(1).join('\n'), stderr]).toEqual([0, 'Echo: hello from a machine\n', ''])
  expect(stdout).toContain('echo')
}, 60_000)

test('LangGraph', async (context) => {
  if (!existsSync(join(ROOT, 'node_modules', '@langchain', 'mcp-adapters'))) {
    console.warn('skipped: @langchain/mcp-adapters is not installed')
    return context.skip()
  }
  const { code, stdout, stderr } = await runProgram(process.execPath, [join(here, 'langgraph.mjs')], { env: environment() })
  expect([code, stdout.split('\n').slice(1).join('\n'), stderr]).toEqual([0, 'Echo: hello from LangGraph\n', ''])
  expect(stdout).toContain('echo')
}, 60_000)

test('the entry for Claude Desktop starts what the others start', async () => {
  const entry = z.object({ command: z.string(), args: z.array(z.string()) })
  const file = z
    .object({ mcpServers: z.record(z.string(), entry) })
    .parse(JSON.parse(await readFile(join(here, 'claude_desktop_config.json'), 'utf8')))
  expect(file.mcpServers['teleport-mcp-teleport-mcp-demo']).toEqual({
    command: 'tsh',
    args: ['mcp', 'connect', '-i', '/opt/machine-id/identity', '--proxy', 'example.teleport.sh:443', 'my-mcp-server'],
  })
})
