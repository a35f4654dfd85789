import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Cluster, startCluster } from '../cluster.ts'
import { freePort } from '../free-port.ts'
import { ROOT } from '../programs.ts'
import { tshConnect } from '../tsh-connect.ts'

let cluster: Cluster

beforeAll(async () => {
  cluster = await startCluster({ file: { proxy_service: { web_listen_addr: `127.0.0.1:${await freePort()}` } } })
  await cluster.saveStdioApp('echo', process.execPath, [join(ROOT, 'test/fakes/echo-stdio.ts')])
  await cluster.saveRole('all', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } })
  await cluster.saveUser('ana', ['all'])
})

afterAll(async () => {
  await cluster?.close()
})

test('what tsh does over after a restart of the gateway is no failure in the audit log', async () => {
  const client = new Client({ name: 'test', version: '1' })
  await client.connect(new StdioClientTransport(tshConnect(cluster, await cluster.identityFileOf('ana'), 'echo')))
  await client.callTool({ name: 'echo', arguments: { text: 'before' } })
  await cluster.restart()
  expect(await client.callTool({ name: 'echo', arguments: { text: 'after' } })).toMatchObject({
    content: [{ text: expect.stringContaining('after') }],
  })
  await client.close()
  const outdated = await cluster.eventsOnceThere({ type: 'mcp.session.begin_again', user: 'ana', server: 'echo' }, 2)
  expect(outdated.map(({ code, reason, tool }) => [code, reason, tool])).toEqual([
    ['SPMCP001I', 'the route assertion is no longer valid: get a new one', 'echo'],
    ['SPMCP001I', 'unknown MCP session: initialize again', 'echo'],
  ])
  const calls = await cluster.eventsOnceThere({ type: 'mcp.session.request', tool: 'echo' }, 2)
  expect(calls.map(({ outcome }) => outcome)).toEqual(['success', 'success'])
  // That the gateway went down with a session open is what a reviewer wants to know.
  expect((await cluster.events({ outcome: 'failure' })).map(({ event }) => event)).toEqual(['mcp.session.end'])
})
