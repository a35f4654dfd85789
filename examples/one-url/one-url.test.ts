import { readFile, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Cluster, startCluster } from '../../test/cluster.ts'
import { ROOT, runProgram, temporaryDirectory } from '../../test/programs.ts'
import { runTctl } from '../../test/tctl.ts'

const here = join(ROOT, 'examples', 'one-url')

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

test('the files and commands of its README work: all servers at one URL, and a set of them at another', async () => {
  const servers = join(home.path, 'servers.yaml')
  await writeFile(servers, (await readFile(join(here, 'servers.yaml'), 'utf8')).replaceAll('ACCOUNT', userInfo().username))
  expect(await tctl('create', servers)).toBe('app "north" has been created\napp "south" has been created\n')
  await tctl('create', join(here, 'role.yaml'))
  expect(await tctl('create', join(here, 'set.yaml'))).toBe('mcp_set "sums" has been created\n')
  await tctl('users', 'add', 'alice', '--roles=one-url')
  const token = /spt_\w+/.exec(await tctl('api-tokens', 'add', 'example', '--user=alice', '--ttl=1h'))?.[0] ?? ''

  const env = { SALLYPORT_URL: cluster.url, SALLYPORT_TOKEN: token }
  const { code, stdout, stderr } = await runProgram(process.execPath, [join(here, 'client.mjs')], { env })
  expect(stderr).toBe('')
  expect(code).toBe(0)
  expect(stdout.trimEnd().split('\n')).toEqual([
    '/mcp: north_echo north_get-sum south_echo south_get-sum',
    '/mcp/sets/sums: add',
    'add: The sum of 1 and 2 is 3.',
  ])
}, 60_000)
