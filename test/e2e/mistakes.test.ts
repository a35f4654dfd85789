import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { inviteUser } from '../../src/api/users.ts'
import { parseIdentityFile } from '../../src/ca/identity-file.ts'
import { main as tctl } from '../../src/cli/tctl/main.ts'
import { main as tsh } from '../../src/cli/tsh/main.ts'
import { saveProfile, tshHome } from '../../src/client/profile.ts'
import { type Cluster, PASSWORD, startCluster } from '../cluster.ts'
import { temporaryDirectory } from '../programs.ts'

// What people get wrong on their first days: each time they are told what was wrong, and what to do.

let cluster: Cluster
let directory: Awaited<ReturnType<typeof temporaryDirectory>>
let proxy: string
let passwordFile: string
let env: { HOME: string; SALLYPORT_TSH_HOME: string }

beforeAll(async () => {
  cluster = await startCluster()
  directory = await temporaryDirectory()
  proxy = cluster.url.slice('http://'.length)
  passwordFile = join(directory.path, 'password')
  env = { HOME: directory.path, SALLYPORT_TSH_HOME: join(directory.path, 'tsh') }
  await writeFile(passwordFile, PASSWORD)
  await cluster.saveRole('reader', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } })
  await cluster.saveUser('alice', ['reader'])
}, 60_000)

afterAll(async () => {
  await cluster.close()
  await directory.dispose()
})

async function run(program: typeof tsh | typeof tctl, argv: string[], now = Date.now()): Promise<{ code: number; error: string }> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  stdout.resume()
  const code = await program(argv, { stdin: Readable.from([]), stdout, stderr, env, isTTY: false, version: '0.0.0', now: () => now })
  stderr.end()
  return { code, error: await text(stderr) }
}

it('a clock that is ahead of the cluster', async () => {
  const login = ['login', `--proxy=${proxy}`, '--user=alice', `--password-file=${passwordFile}`]
  const { code, error } = await run(tsh, login, Date.now() + 40 * 86_400_000)
  expect([code, error]).toEqual([
    1,
    expect.stringMatching(/ERROR: the new certificate has expired at 2\S+ already: check this machine's clock/),
  ])
})

it('tctl where there is neither an Auth Service nor a sign-in', async () => {
  const { code, error } = await run(tctl, ['status'])
  expect(code).toBe(3)
  expect(error).toMatch(
    /^ERROR: Not logged in\.\nRun tsh login .*, or use tctl on the host of the Auth Service, with --data-dir=DIRECTORY\n$/,
  )
})

it('a proxy that has another CA than the last time: the command that helps is for the same user', async () => {
  const other = await startCluster()
  try {
    await other.saveUser('alice', ['access'])
    const identity = parseIdentityFile(await readFile(await other.identityFileOf('alice'), 'utf8'))
    const profile = { proxy, cluster: 'other', user: 'alice', roles: [], valid_until: '2999-01-01T00:00:00Z' }
    await saveProfile(tshHome(env), profile, identity)
    const { code, error } = await run(tsh, ['login', `--proxy=${proxy}`, '--user=alice', `--password-file=${passwordFile}`])
    expect(code).toBe(1)
    expect(error).toMatch(new RegExp(`run: tsh login --proxy=${proxy} --user=alice --ca-pin=sha256:[0-9a-f]{64}\n$`))
  } finally {
    await other.close()
  }
})

it('an address of a server as it is', async () => {
  const app = { kind: 'app', version: 'v3', metadata: { name: 'a' }, spec: { uri: 'http://127.0.0.1:1/mcp' } }
  await expect(cluster.save(app)).rejects.toThrow('only MCP servers are served (did you mean "mcp+http://127.0.0.1:1…"?)')
})

it('a resource without a version', async () => {
  const file = join(directory.path, 'app.yaml')
  await writeFile(file, 'kind: app\nmetadata: {name: a}\nspec: {uri: "mcp+http://127.0.0.1:1/mcp"}\n')
  const { code, error } = await run(tctl, ['create', file])
  expect([code, error]).toEqual([2, `ERROR: ${file}:1:1 version: required: version: v3\n`])
})

it('a role that is misspelt', async () => {
  await expect(cluster.admin(inviteUser, { name: 'bob', roles: ['raeder'] })).rejects.toThrow(
    'role "raeder" does not exist (did you mean "reader"?): create it first (tctl create role.yaml)',
  )
  await expect(cluster.admin(inviteUser, { name: 'bob', roles: ['x'] })).rejects.toThrow('role "x" does not exist: create it first')
})
