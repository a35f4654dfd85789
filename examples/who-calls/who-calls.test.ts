import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Cluster, startCluster } from '../../test/cluster.ts'
import { ROOT, runProgram, startProgram, temporaryDirectory } from '../../test/programs.ts'
import { runTctl } from '../../test/tctl.ts'

const here = join(ROOT, 'examples', 'who-calls')

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

test('the server of its README knows who calls through the gateway, and turns away who comes past it', async () => {
  const server = startProgram(process.execPath, [join(here, 'server.mjs')], {
    env: { SALLYPORT_URL: cluster.url, CLUSTER: 'test', PORT: '0' },
  })
  try {
    await server.saw('listening on ')
    const direct = `http://127.0.0.1:${/listening on (\d+)/.exec(server.stdout())?.[1]}/mcp`
    const written = await readFile(join(here, 'app.yaml'), 'utf8')
    const app = join(home.path, 'app.yaml')
    await writeFile(app, written.replace('http://127.0.0.1:4000/mcp', direct))
    await tctl('create', app)
    await tctl('create', join(here, 'role.yaml'))
    await tctl('users', 'add', 'alice', '--roles=caller', '--traits=groups=blue')
    const token = /spt_\w+/.exec(await tctl('api-tokens', 'add', 'example', '--user=alice', '--ttl=1h'))?.[0] ?? ''
    const env = { SALLYPORT_URL: `${cluster.url}/mcp/apps/who-calls`, SALLYPORT_TOKEN: token, DIRECT_URL: direct }
    const { code, stdout, stderr } = await runProgram(process.execPath, [join(here, 'client.mjs')], { env })
    expect(stderr).toBe('')
    expect(code).toBe(0)
    expect(stdout).toBe('through the gateway: alice with caller; groups: blue\npast it: turned away\n')
    expect(server.stderr()).toContain('refused: ')
  } finally {
    server.kill('SIGTERM')
    await server.ended
  }
})
