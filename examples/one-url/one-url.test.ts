import { readFile, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Example, startExample } from '../../test/example.ts'

let example: Example

beforeAll(async () => {
  example = await startExample('one-url')
})
afterAll(() => example.close())

test('the files and commands of its README work: all servers at one URL, and a set of them at another', async () => {
  const { cluster, home, path, tctl } = example
  const servers = join(home, 'servers.yaml')
  await writeFile(servers, (await readFile(path('servers.yaml'), 'utf8')).replaceAll('ACCOUNT', userInfo().username))
  expect(await tctl('create', servers)).toBe('app "north" has been created\napp "south" has been created\n')
  await tctl('create', path('role.yaml'))
  expect(await tctl('create', path('set.yaml'))).toBe('mcp_set "sums" has been created\n')
  const token = await example.tokenOf('alice', 'one-url')

  const env = { SALLYPORT_URL: cluster.url, SALLYPORT_TOKEN: token }
  const { code, stdout, stderr } = await example.runClient(env)
  expect(stderr).toBe('')
  expect(code).toBe(0)
  expect(stdout.trimEnd().split('\n')).toEqual([
    '/mcp: north_echo north_get-sum south_echo south_get-sum',
    '/mcp/sets/sums: add',
    'add: The sum of 1 and 2 is 3.',
  ])
}, 60_000)
