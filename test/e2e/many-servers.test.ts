import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Cluster, startCluster } from '../cluster.ts'
import { askHttp, openHttp } from '../fakes/raw-http.ts'
import { headersOf, openSession } from '../fakes/raw-mcp.ts'
import { json, type ScriptedHttp, sse, startScriptedHttp } from '../fakes/scripted-http.ts'
import { eventually } from '../wait.ts'

// Fifty servers as one: one of them never answers, one fails, one answers with nonsense, and one changes its list all the while. Many clients at
// once, with arguments and answers of every size.

const SERVERS = 50
const ILL = ['s00', 's01', 's02']
const BUSY = 's03'

let cluster: Cluster
let token: string
const servers: ScriptedHttp[] = []
let changes = 0
let silent: { url: string; close(): void }

const nameOf = (n: number): string => `s${String(n).padStart(2, '0')}`

beforeAll(async () => {
  cluster = await startCluster()
  silent = await startSilent()
  for (let n = 0; n < SERVERS; n++) {
    const server = await startScriptedHttp()
    servers.push(server)
    const name = nameOf(n)
    server.script = (id, body, response) => {
      if (name === ILL[1]) return void response.writeHead(500).end('no')
      if (name === ILL[2]) return json(response, `{"jsonrpc":"2.0","id":${id},"result":{"tools":{"name":7}}}`)
      const tools = name === BUSY ? `{"name":"echo"},{"name":"t${++changes}"}` : '{"name":"echo"}'
      if (body.includes('tools/list')) return json(response, `{"jsonrpc":"2.0","id":${id},"result":{"tools":[${tools}]}}`)
      const size = Number(/"size":(\d+)/.exec(body)?.[1] ?? 2)
      const answer = `{"jsonrpc":"2.0","id":${id},"result":{"content":[{"type":"text","text":"${'x'.repeat(size)}"}]}}`
      if (size % 2 === 1) sse(response, answer)
      else json(response, answer)
    }
    await cluster.save({
      kind: 'app',
      version: 'v3',
      metadata: { name, labels: { env: 'test' } },
      spec: { uri: `mcp+${name === ILL[0] ? silent.url : server.url}` },
    })
  }
  await cluster.running.agent?.announced()
  await cluster.saveRole('guest', { allow: { app_labels: { env: 'test' }, mcp: { tools: ['*'] } } })
  await cluster.saveUser('ana', ['guest'])
  token = await cluster.tokenOf('ana')
}, 120_000)

afterAll(async () => {
  await cluster?.close()
  silent?.close()
  for (const server of servers) await server.close()
})

/** Takes requests and says nothing. */
async function startSilent(): Promise<{ url: string; close(): void }> {
  const server = createServer(() => undefined)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // A listening TCP server has an address with a port.
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/mcp`,
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

const url = (): URL => new URL('/mcp', cluster.url)
const post = (session: string, body: string) => askHttp(url(), { headers: headersOf(token, { 'mcp-session-id': session }), body })

async function listTools(session: string): Promise<string[]> {
  const { text } = await post(session, '{"jsonrpc":"2.0","id":1,"method":"tools/list"}')
  return JSON.parse(text.startsWith('{') ? text : (text.match(/^data: (.+)$/m)?.[1] ?? '{}')).result.tools.map(
    (tool: { name: string }) => tool.name,
  )
}

test('the list is that of those who are well, at once, and the same for everybody', { timeout: 60_000 }, async () => {
  const session = await openSession(url(), token)
  const names = await eventually('all who are well', async () => {
    const listed = await listTools(session)
    return listed.filter((name) => name.endsWith('_echo')).length === SERVERS - ILL.length ? listed : undefined
  })
  expect(ILL.filter((name) => names.includes(`${name}_echo`))).toEqual([])
  expect(names).toEqual(names.toSorted())
  // Not slower by the one that never answers: it is shown by what it said last.
  const lists = await Promise.all(Array.from({ length: 8 }, () => listTools(session)))
  for (const list of lists) expect(list.filter((name) => !name.startsWith(BUSY))).toEqual(names.filter((name) => !name.startsWith(BUSY)))
})

test('64 clients at once, with bodies of 10 KB and 1 MB in both directions', { timeout: 120_000 }, async () => {
  const session = await openSession(url(), token)
  await listTools(session)
  const before = process.memoryUsage.rss()
  const results = await Promise.all(
    Array.from({ length: 64 }, async (_, n) => {
      const size = n % 8 === 0 ? 1_000_000 + (n % 16 === 0 ? 1 : 0) : 10_000 + (n % 2)
      const name = `${nameOf(4 + (n % (SERVERS - 4)))}_echo`
      const filling = 'y'.repeat(size)
      const { status, text } = await post(
        session,
        `{"jsonrpc":"2.0","id":${100 + n},"method":"tools/call","params":{"name":"${name}","arguments":{"size":${size},"text":"${filling}"}}}`,
      )
      return status === 200 && text.includes(`"id":${100 + n}`) && text.includes('x'.repeat(size))
    }),
  )
  expect(results.filter(Boolean)).toHaveLength(64)
  expect(process.memoryUsage.rss() - before).toBeLessThan(400 * 1024 * 1024)
})

test('a client that reads slowly holds the server back, and memory with it', { timeout: 60_000 }, async () => {
  const server = servers[10]
  if (!server) throw new Error('no server')
  let written = 0
  const event = `data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"${'z'.repeat(60_000)}"}}\n\n`
  const usual = server.script
  server.script = (_id, _body, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const more = (): void => {
      for (;;) {
        written += event.length
        if (written > 512 * 1024 * 1024) return void response.end()
        if (!response.write(event)) return
      }
    }
    response.on('drain', more)
    more()
  }
  const session = await openSession(url(), token)
  const before = process.memoryUsage.rss()
  const streams = await Promise.all(
    Array.from({ length: 4 }, (_, n) =>
      openHttp(url(), {
        headers: headersOf(token, { 'mcp-session-id': session }),
        body: `{"jsonrpc":"2.0","id":${500 + n},"method":"tools/call","params":{"name":"s10_echo"}}`,
      }),
    ),
  )
  for (const stream of streams) stream.pause()
  let last = -1
  let still = 0
  await eventually('the server to be held back', () => {
    still = written === last ? still + 1 : 0
    last = written
    return still > 25 || undefined
  })
  expect(written).toBeLessThan(128 * 1024 * 1024)
  expect(process.memoryUsage.rss() - before).toBeLessThan(256 * 1024 * 1024)
  for (const stream of streams) stream.leave()
  server.script = usual
})
