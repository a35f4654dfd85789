import { createHash } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createSseParser } from '../../src/lib/sse.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { openHttp } from '../fakes/raw-http.ts'
import { headersOf, openSession } from '../fakes/raw-mcp.ts'
import { json, type ScriptedHttp, sse, startScriptedHttp } from '../fakes/scripted-http.ts'

// Memory that large answers were read into is used again: nobody may get a byte of somebody else's.

let cluster: Cluster
let server: ScriptedHttp
let token: string

beforeAll(async () => {
  server = await startScriptedHttp()
  cluster = await startCluster()
  await cluster.saveHttpApp('web', server.url)
  await cluster.saveRole('guest', { allow: { app_labels: { env: 'test' }, mcp: { tools: ['echo'] } } })
  await cluster.saveUser('ana', ['guest'])
  token = await cluster.tokenOf('ana')
})

afterAll(async () => {
  await cluster.close()
  await server.close()
})

/** As many bytes as the id asks for, others for each id. */
function textFor(id: number): string {
  const block = createHash('sha256').update(String(id)).digest('hex')
  return block.repeat(Math.ceil((id % 7919) * 2.5)).slice(0, (id % 7919) * 150)
}

const answerFor = (id: number): string => `{"jsonrpc":"2.0","id":${id},"result":{"content":[{"type":"text","text":"${textFor(id)}"}]}}`

beforeEach(() => {
  server.script = (rawId, body, response) => {
    const id = Number(rawId)
    if (!body.includes('tools/call'))
      return json(response, `{"jsonrpc":"2.0","id":${rawId},"result":{"tools":[{"name":"echo","inputSchema":{"type":"object"}}]}}`)
    FORMS[id % FORMS.length]?.(response, answerFor(id))
  }
})

/** The ways in which servers answer. */
const FORMS: readonly ((response: ServerResponse, text: string) => void)[] = [
  json,
  sse,
  // Without a length, in pieces.
  (response, text) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    for (let at = 0; at < text.length; at += 70_000) response.write(text.slice(at, at + 70_000))
    response.end()
  },
  // An event over several lines.
  (response, text) => sse(response, text.replace('"result":', '\ndata: "result":').replace('"content":', '\ndata: "content":')),
]

test.each([
  { path: '/mcp/apps/web', tool: 'echo' },
  { path: '/mcp', tool: 'web_echo' },
])(
  'many at a time at $path, with readers that are slow or go away: each is what was asked for',
  { timeout: 120_000 },
  async ({ path, tool }) => {
    const url = new URL(path, cluster.url)
    const session = await openSession(url, token)
    const ask = (id: number, method = 'tools/call') =>
      openHttp(url, {
        headers: headersOf(token, { 'mcp-session-id': session }),
        body: `{"jsonrpc":"2.0","id":${id},"method":"${method}","params":{"name":"${tool}","arguments":{}}}`,
      })
    await ask(7919, 'tools/list').then(({ ended }) => ended)
    const wrong: number[] = []
    const check = (text: string, id: number): void => {
      const message = text.startsWith('{') ? text : createSseParser().push(Buffer.from(text)).at(-1)?.data.toString()
      if (!isAnswer(message ?? '', id)) wrong.push(id)
    }
    const read = async (first: number): Promise<void> => {
      for (let turn = 0; turn < 6; turn++) {
        const slow = first * 1009 + turn * 2361
        const [left, quick] = [slow + 787, slow + 1574]
        const waiting = await ask(slow)
        waiting.pause()
        await ask(left).then((answer) => answer.leave())
        check(await ask(quick).then(({ ended }) => ended), quick)
        waiting.resume()
        check(await waiting.ended, slow)
      }
    }
    await Promise.all(Array.from({ length: 12 }, (_, first) => read(first + 1)))
    expect(wrong).toEqual([])
  },
)

function isAnswer(text: string, id: number): boolean {
  try {
    const { id: answered, result } = JSON.parse(text)
    return answered === id && result.content[0].text === textFor(id)
  } catch {
    return false // broken off, or mixed with another
  }
}
