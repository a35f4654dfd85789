import { readFile, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Example, startExample } from '../../test/example.ts'

let example: Example

beforeAll(async () => {
  example = await startExample('first-server')
})
afterAll(() => example.close())

test('the files and commands of its README work, and the client sees what the role says', async () => {
  const { cluster, home, path, tctl } = example
  const app = join(home, 'app.yaml')
  await writeFile(app, (await readFile(path('app.yaml'), 'utf8')).replace('ACCOUNT', userInfo().username))
  expect(await tctl('create', app)).toBe('app "first-server" has been created\n')
  expect(await tctl('create', path('role.yaml'))).toBe('role "first-server-reader" has been created\n')
  const token = await example.tokenOf('alice', 'first-server-reader')

  const env = { SALLYPORT_URL: `${cluster.url}/mcp/apps/first-server`, SALLYPORT_TOKEN: token }
  const { code, stdout, stderr } = await example.runClient(env)
  expect(stderr).toBe('')
  expect(code).toBe(0)
  const lines = stdout.trimEnd().split('\n')
  expect(lines[0]).toMatch(/^tools: echo get-\S+( get-\S+)*$/)
  expect(lines[0]).not.toContain('get-env')
  expect(lines[1]).toBe('get-sum: The sum of 1 and 2 is 3.')
  expect(lines[2]).toMatch(/^refused: .*access to tool "get-sum" of MCP server "first-server" denied/)
  expect(lines[3]).toMatch(/^refused: .*access to tool "get-env" of MCP server "first-server" denied by a deny rule/)
}, 60_000)
