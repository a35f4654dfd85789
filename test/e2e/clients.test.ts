import { StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { StdioClientTransport as StdioClientTransportV1 } from '@modelcontextprotocol/sdk/client/stdio.js'
import { StreamableHTTPClientTransport as StreamableHTTPClientTransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findEverything } from '../../src/cli/server/demo.ts'
import { type DemoHttpServer, startDemoHttp } from '../../src/cli/server/demo-http.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { ROOT, runProgram } from '../programs.ts'
import { tshConnect } from '../tsh-connect.ts'
import { guestOfV1, guestOfV2 } from './everything-guest.ts'
import { tour } from './everything-tour.ts'

// Official clients of both SDK generations and the Inspector use everything that the Everything server has: what they get through the gateway
// is what they get without it.

let cluster: Cluster
let everythingHttp: DemoHttpServer
let token: string
let identity: string
let direct: { v1: Record<string, unknown>; v2: Record<string, unknown> }

const everything = [findEverything(), 'stdio']

beforeAll(async () => {
  cluster = await startCluster()
  everythingHttp = await startDemoHttp(findEverything())
  await cluster.saveStdioApp('everything', process.execPath, everything)
  await cluster.saveHttpApp('everything-http', everythingHttp.url)
  await cluster.saveRole('all', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } })
  await cluster.saveUser('alice', ['all'])
  token = await cluster.tokenOf('alice')
  identity = await cluster.identityFileOf('alice')
  const command = { command: process.execPath, args: everything, stderr: 'ignore' as const }
  const [v1, v2] = await Promise.all([
    visit(() => guestOfV1(new StdioClientTransportV1(command))),
    visit(() => guestOfV2(new StdioClientTransport(command))),
  ])
  direct = { v1, v2 }
}, 60_000)

afterAll(async () => {
  await cluster.close()
  await everythingHttp.close()
})

async function visit(connect: () => ReturnType<typeof guestOfV1>): Promise<Record<string, unknown>> {
  const guest = await connect()
  try {
    return await tour(guest)
  } finally {
    await guest.close()
  }
}

const authorized = (): { requestInit: RequestInit } => ({ requestInit: { headers: { authorization: `Bearer ${token}` } } })
const tshCommand = (server: string) => tshConnect(cluster, identity, server)

describe.each(['everything', 'everything-http'])('%s', { concurrent: true }, (server) => {
  it('is the same to a client of SDK v1 over HTTP', async () => {
    expect(await visit(() => guestOfV1(new StreamableHTTPClientTransportV1(cluster.mcpUrl(server), authorized())))).toEqual(direct.v1)
  })

  it('is the same to a client of SDK v2 over HTTP', async () => {
    expect(await visit(() => guestOfV2(new StreamableHTTPClientTransport(cluster.mcpUrl(server), authorized())))).toEqual(direct.v2)
  })

  it('is the same to a client of SDK v1 over tsh mcp connect', async () => {
    expect(await visit(() => guestOfV1(new StdioClientTransportV1(tshCommand(server))))).toEqual(direct.v1)
  })

  it('is the same to a client of SDK v2 over tsh mcp connect', async () => {
    expect(await visit(() => guestOfV2(new StdioClientTransport(tshCommand(server))))).toEqual(direct.v2)
  })

  it('serves the Inspector over HTTP', async () => {
    const url = cluster.mcpUrl(server).href
    const called = await inspect(
      url,
      '--transport',
      'http',
      '--header',
      `Authorization: Bearer ${token}`,
      '--method',
      'tools/call',
      '--tool-name',
      'get-sum',
      '--tool-arg',
      'a=1',
      'b=2',
    )
    expect(called).toEqual({ content: [{ type: 'text', text: 'The sum of 1 and 2 is 3.' }] })
  })

  it('serves the Inspector over tsh mcp connect', async () => {
    const tsh = tshCommand(server)
    const listed = await inspect('--method', 'prompts/list', '--', tsh.command, ...tsh.args)
    expect(listed).toMatchObject({
      prompts: [{ name: 'simple-prompt' }, { name: 'args-prompt' }, { name: 'completable-prompt' }, { name: 'resource-prompt' }],
    })
  })
})

it('has every cancelled call in the audit log as one that was not answered', async () => {
  const calls = await cluster.eventsOnceThere({ tool: 'trigger-long-running-operation', outcome: 'failure' }, 8)
  expect(calls.map((call) => call['error'])).toEqual(Array(8).fill(expect.stringMatching(/cancelled by the client$/)))
})

async function inspect(...args: string[]): Promise<unknown> {
  const { code, stdout, stderr } = await runProgram(join(ROOT, 'node_modules', '.bin', 'mcp-inspector'), ['--cli', ...args])
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' })
  return JSON.parse(stdout)
}
