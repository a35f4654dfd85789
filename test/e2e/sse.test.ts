import { spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { ToolListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { findEverything } from '../../src/cli/server/demo.ts'
import { type DemoHttpServer, startDemoHttp } from '../../src/cli/server/demo-http.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { startForgetfulHttp } from '../fakes/forgetful-http.ts'
import { ECHO_STDIO } from '../fakes/stdio-app.ts'
import { eventually } from '../wait.ts'

// The transport of 2024-11-05 on both sides of the gateway, and sessions that survive the loss of their server.

let cluster: Cluster
let http: DemoHttpServer
let sse: { url: string; close(): Promise<void> }
let alice: string
let bob: string

beforeAll(async () => {
  cluster = await startCluster()
  http = await startDemoHttp(findEverything())
  sse = await startEverythingSse()
  await cluster.saveStdioApp('echo', process.execPath, [ECHO_STDIO])
  await cluster.saveStdioApp('everything', process.execPath, [findEverything(), 'stdio'])
  await cluster.saveHttpApp('everything-http', http.url)
  await cluster.saveHttpApp('everything-sse', `sse+${sse.url}`)
  await cluster.saveRole('all', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } })
  await cluster.saveUser('alice', ['all'])
  await cluster.saveUser('bob', ['all'])
  alice = await cluster.tokenOf('alice')
  bob = await cluster.tokenOf('bob')
}, 60_000)

afterAll(async () => {
  await cluster.close()
  await http.close()
  await sse.close()
})

test("another's stream is as unknown as none, and its messages are not taken", async () => {
  const stream = await openRaw('everything', alice)
  try {
    const body = '{"jsonrpc":"2.0","id":1,"method":"ping"}'
    const post = (path: string, token: string): Promise<number> =>
      fetch(new URL(path, cluster.url), {
        method: 'POST',
        body,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      }).then(({ status }) => status)
    expect(await post(stream.endpoint, bob)).toBe(404)
    expect(await post('/mcp/apps/everything?sessionId=guessed', alice)).toBe(404)
    expect(await post(stream.endpoint, alice)).toBe(202)
  } finally {
    stream.leave()
  }
})

test.each(['everything', 'everything-http', 'everything-sse'])('a client of the old transport uses %s', async (server) => {
  const client = await connect(new SSEClientTransport(new URL(`/mcp/apps/${server}/sse`, cluster.url), authorized(alice)))
  try {
    expect((await client.listTools()).tools.map(({ name }) => name)).toContain('get-sum')
    expect(await client.callTool({ name: 'get-sum', arguments: { a: 1, b: 2 } })).toMatchObject({
      content: [{ text: 'The sum of 1 and 2 is 3.' }],
    })
    const progress: number[] = []
    const long = { name: 'trigger-long-running-operation', arguments: { duration: 0.3, steps: 3 } }
    await client.callTool(long, undefined, { onprogress: ({ progress: step }) => progress.push(step) })
    // The SDK may drop the last, which comes together with the answer.
    expect(progress.slice(0, 2)).toEqual([1, 2])
    await expect(client.callTool({ name: 'no-such-tool' })).resolves.toMatchObject({ isError: true })
  } finally {
    await client.close()
  }
  // The end of its stream is the end of the session.
  const ends = await cluster.eventsOnceThere({ type: 'mcp.session.end', server }, 1)
  expect(ends.length).toBeGreaterThan(0)
})

test('a client of streamable HTTP uses a server of the old transport', async () => {
  const client = await connect(new StreamableHTTPClientTransport(cluster.mcpUrl('everything-sse'), authorized(alice)))
  try {
    expect(await client.callTool({ name: 'echo', arguments: { message: 'hi' } })).toMatchObject({ content: [{ text: 'Echo: hi' }] })
    expect((await client.listPrompts()).prompts.length).toBeGreaterThan(0)
  } finally {
    await client.close()
  }
})

test('a program that was killed is started again, and its client notices nothing', async () => {
  const client = await connect(new StreamableHTTPClientTransport(cluster.mcpUrl('echo'), authorized(alice)))
  try {
    const first = await pidOf(client)
    process.kill(first, 'SIGKILL')
    // Not before it is gone: until then the call could still go to it.
    await eventually('the end of the program', () => (isAlive(first) ? undefined : true))
    expect(await pidOf(client)).not.toBe(first)
  } finally {
    await client.close()
  }
})

test('a server that forgets its sessions is healed', async () => {
  const server = await startForgetfulHttp()
  await cluster.saveHttpApp('forgetful', server.url)
  const client = await connect(new StreamableHTTPClientTransport(cluster.mcpUrl('forgetful'), authorized(alice)))
  try {
    expect(await client.callTool({ name: 'which' })).toEqual({ content: [{ type: 'text', text: 'session 1' }] })
    server.forget()
    const answers = await Promise.all([client.callTool({ name: 'which' }), client.callTool({ name: 'which' })])
    expect(answers).toEqual(Array(2).fill({ content: [{ type: 'text', text: 'session 2' }] }))
    expect(server.taken).toEqual([
      'initialize 1',
      'notifications/initialized 1',
      'tools/call 1',
      'initialize 2',
      'notifications/initialized 2',
      'tools/call 2',
      'tools/call 2',
    ])
  } finally {
    await client.close()
    await server.close()
  }
})

test('a killed program is healed for a client of the old transport too', async () => {
  const client = await connect(new SSEClientTransport(cluster.mcpUrl('everything'), authorized(alice)))
  const changed = Promise.withResolvers<void>()
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => changed.resolve())
  try {
    const pids = await childrenNamed(findEverything())
    expect(pids.length).toBeGreaterThan(0)
    for (const pid of pids) process.kill(pid, 'SIGKILL')
    await changed.promise
    expect((await client.listTools()).tools.length).toBeGreaterThan(0)
  } finally {
    await client.close()
  }
})

const authorized = (token: string): { requestInit: RequestInit } => ({ requestInit: { headers: { authorization: `Bearer ${token}` } } })

async function connect(transport: SSEClientTransport | StreamableHTTPClientTransport): Promise<Client> {
  const client = new Client({ name: 'test', version: '1' })
  await client.connect(transport)
  return client
}

async function pidOf(client: Client): Promise<number> {
  const { content } = await client.callTool({ name: 'pid' })
  const [first] = Array.isArray(content) ? content : []
  return Number(first?.text)
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false // there is none
  }
}

/** Programs over stdio that were started by this process. */
async function childrenNamed(script: string): Promise<number[]> {
  const { promise, resolve } = Promise.withResolvers<string>()
  const ps = spawn('ps', ['-o', 'pid=,args=', '--ppid', String(process.pid)], { stdio: ['ignore', 'pipe', 'ignore'] })
  let text = ''
  ps.stdout.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')))
  ps.once('close', () => resolve(text))
  const lines = (await promise).split('\n').filter((line) => line.includes(`${script} stdio`))
  return lines.map((line) => Number.parseInt(line.trim(), 10))
}

async function openRaw(server: string, token: string): Promise<{ endpoint: string; leave(): void }> {
  const gone = new AbortController()
  const response = await fetch(cluster.mcpUrl(server), {
    headers: { accept: 'text/event-stream', authorization: `Bearer ${token}` },
    signal: gone.signal,
  })
  const reader = response.body?.getReader()
  let text = ''
  while (!text.includes('\n\n')) text += Buffer.from((await reader?.read())?.value ?? []).toString('utf8')
  const [, endpoint = ''] = /^event: endpoint\ndata: (\S+)\n\n/.exec(text) ?? []
  return { endpoint, leave: () => gone.abort() }
}

async function startEverythingSse(): Promise<{ url: string; close(): Promise<void> }> {
  const port = await findFreePort()
  const preloads = ['loopback-only.ts', 'end-with-parent.ts'].flatMap((file) => [
    '--import',
    new URL(`../../src/cli/server/${file}`, import.meta.url).href,
  ])
  const child = spawn(process.execPath, [...preloads, findEverything(), 'sse'], {
    env: { PATH: process.env['PATH'], PORT: String(port) },
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const url = `http://127.0.0.1:${port}/sse`
  await eventually('the server listens', () =>
    fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(1000) }).then(
      () => true,
      () => undefined,
    ),
  )
  return {
    url,
    close: () => {
      child.kill('SIGKILL')
      return exited
    },
  }
}

function findFreePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => (typeof address === 'object' && address ? resolve(address.port) : reject(new Error('no port'))))
    })
  })
}
