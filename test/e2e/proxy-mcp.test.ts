import { StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { StreamableHTTPClientTransport as StreamableHTTPClientTransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { findEverything } from '../../src/cli/server/demo.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { bin, runProgram, type Started, startProgram } from '../programs.ts'
import { guestOfV1, guestOfV2 } from './everything-guest.ts'
import { tour } from './everything-tour.ts'

// A client that speaks HTTP and knows no tokens uses a server through a port of this machine, with the credentials of tsh.

let cluster: Cluster
let proxy: Started
let url: URL

beforeAll(async () => {
  cluster = await startCluster()
  await cluster.saveStdioApp('everything', process.execPath, [findEverything(), 'stdio'])
  await cluster.saveRole('all', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } })
  await cluster.saveUser('alice', ['all'])
  const identity = await cluster.identityFileOf('alice')
  proxy = startProgram(bin('tsh'), ['-i', identity, `--proxy=${new URL(cluster.url).host}`, 'proxy', 'mcp', 'everything'])
  await proxy.saw('Proxying connections')
  url = new URL(/http\S+/.exec(proxy.stdout())?.[0] ?? '')
}, 60_000)

afterAll(async () => {
  proxy.kill('SIGTERM')
  await proxy.ended
  await cluster.close()
})

it('serves clients of both SDK generations as the door itself does', async () => {
  const token = await cluster.tokenOf('alice')
  const through = { requestInit: { headers: { authorization: `Bearer ${token}` } } }
  for (const [guestOf, own] of [
    [
      () => guestOfV1(new StreamableHTTPClientTransportV1(url)),
      () => guestOfV1(new StreamableHTTPClientTransportV1(cluster.mcpUrl('everything'), through)),
    ],
    [
      () => guestOfV2(new StreamableHTTPClientTransport(url)),
      () => guestOfV2(new StreamableHTTPClientTransport(cluster.mcpUrl('everything'), through)),
    ],
  ] as const) {
    const [local, direct] = [await guestOf(), await own()]
    expect(await tour(local)).toEqual(await tour(direct))
    await Promise.all([local.close(), direct.close()])
  }
}, 60_000)

it('says at once that there are no credentials', async () => {
  const { code, stderr } = await runProgram(bin('tsh'), ['-i', '/nowhere/identity', '--proxy=127.0.0.1:1', 'proxy', 'mcp', 'everything'])
  expect(code).not.toBe(0)
  expect(stderr).toContain('there is no identity file at /nowhere/identity')
})
