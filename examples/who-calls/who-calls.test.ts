import { readFile, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Cluster, startCluster } from '../../test/cluster.ts'
import { ROOT, runProgram, startProgram, temporaryDirectory } from '../../test/programs.ts'
import { runTctl } from '../../test/tctl.ts'

const here = join(ROOT, 'examples', 'who-calls')
const SAID = 'through the gateway: alice with caller; groups: blue\npast it: turned away\n'

let cluster: Cluster
let home: Awaited<ReturnType<typeof temporaryDirectory>>
let server: ReturnType<typeof startProgram>
let env: Record<string, string>

beforeAll(async () => {
  cluster = await startCluster()
  home = await temporaryDirectory()
  server = startProgram(process.execPath, [join(here, 'server.mjs')], {
    env: { SALLYPORT_URL: cluster.url, CLUSTER: 'test', PORT: '0' },
  })
  await tctl('create', join(here, 'role.yaml'))
  await tctl('users', 'add', 'alice', '--roles=caller', '--traits=groups=blue')
  const token = /spt_\w+/.exec(await tctl('api-tokens', 'add', 'example', '--user=alice', '--ttl=1h'))?.[0] ?? ''
  await server.saw('listening on ')
  const direct = `http://127.0.0.1:${/listening on (\d+)/.exec(server.stdout())?.[1]}/mcp`
  env = { SALLYPORT_TOKEN: token, DIRECT_URL: direct }
}, 60_000)
afterAll(async () => {
  server.kill('SIGTERM')
  await server.ended
  await cluster.close()
  await home.dispose()
})

const tctl = (...args: string[]): Promise<string> => runTctl(cluster.dataDirectory, ...args)

async function createApp(file: string, changes: readonly (readonly [string, string])[]): Promise<void> {
  const written = await readFile(join(here, file), 'utf8')
  const app = join(home.path, file)
  await writeFile(
    app,
    changes.reduce((text, [from, to]) => text.replace(from, to), written),
  )
  await tctl('create', app)
}

const runClient = (name: string) =>
  runProgram(process.execPath, [join(here, 'client.mjs')], { env: { ...env, SALLYPORT_URL: `${cluster.url}/mcp/apps/${name}` } })

test('the server of its README knows who calls through the gateway, and turns away who comes past it', async () => {
  await createApp('app.yaml', [['http://127.0.0.1:4000/mcp', env['DIRECT_URL'] ?? '']])
  expect(await runClient('who-calls')).toMatchObject({ stderr: '', code: 0, stdout: SAID })
  expect(server.stderr()).toContain('refused: ')
})

test('so does the one that is a program, by what each request carries', async () => {
  await createApp('app-stdio.yaml', [
    ['ACCOUNT', userInfo().username],
    ['CLUSTER: CLUSTER', 'CLUSTER: test'],
    ['http://127.0.0.1:3080', cluster.url],
    ['examples/', `${ROOT}/examples/`],
    ['command: node', `command: ${process.execPath}`],
  ])
  expect(await runClient('who-calls-stdio')).toMatchObject({ stderr: '', code: 0, stdout: SAID })
})
