import { readFile, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Cluster, startCluster } from '../../test/cluster.ts'
import { ROOT, runProgram, temporaryDirectory } from '../../test/programs.ts'
import { runTctl } from '../../test/tctl.ts'

const here = join(ROOT, 'examples', 'first-server')

let cluster: Cluster
let home: Awaited<ReturnType<typeof temporaryDirectory>>

beforeAll(async () => {
  cluster = await startCluster()
  home = await temporaryDirectory()
})
afterAll(async () => {
  await cluster.close()
  await home.dispose()
})

const tctl = (...args: string[]): Promise<string> => runTctl(cluster.dataDirectory, ...args)

test('the files and commands of its README work, and the client sees what the role says', async () => {
  const app = join(home.path, 'app.yaml')
  await writeFile(app, (await readFile(join(here, 'app.yaml'), 'utf8')).replace('ACCOUNT', userInfo().username))
  expect(await tctl('create', app)).toBe('app "first-server" has been created\n')
  expect(await tctl('create', join(here, 'role.yaml'))).toBe('role "first-server-reader" has been created\n')
  await tctl('users', 'add', 'alice', '--roles=first-server-reader')
  const token = /spt_\w+/.exec(await tctl('api-tokens', 'add', 'example', '--user=alice', '--ttl=1h'))?.[0] ?? ''

  const env = { SALLYPORT_URL: `${cluster.url}/mcp/apps/first-server`, SALLYPORT_TOKEN: token }
  const { code, stdout, stderr } = await runProgram(process.execPath, [join(here, 'client.mjs')], { env })
  expect(stderr).toBe('')
  expect(code).toBe(0)
  const lines = stdout.trimEnd().split('\n')
  expect(lines[0]).toMatch(/^tools: echo get-\S+( get-\S+)*$/)
  expect(lines[0]).not.toContain('get-env')
  expect(lines[1]).toBe('get-sum: The sum of 1 and 2 is 3.')
  expect(lines[2]).toMatch(/^refused: .*access to tool "get-sum" of MCP server "first-server" denied/)
  expect(lines[3]).toMatch(/^refused: .*access to tool "get-env" of MCP server "first-server" denied by a deny rule/)
}, 60_000)
