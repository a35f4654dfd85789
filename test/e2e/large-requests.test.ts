import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Cluster, startCluster } from '../cluster.ts'
import { json, type ScriptedHttp, startScriptedHttp } from '../fakes/scripted-http.ts'
import { eventually } from '../wait.ts'
import { openRawSession } from './raw-session.ts'

/** One caller may have 64 MiB of large requests. */
const LARGE = { text: 'x'.repeat(40_000_000) }

let cluster: Cluster
let server: ScriptedHttp

beforeAll(async () => {
  server = await startScriptedHttp()
  cluster = await startCluster({ file: { proxy_service: { web_listen_addr: '127.0.0.1:0', max_request_bytes: 64 * 1024 * 1024 } } })
  await cluster.saveHttpApp('web', server.url)
  await cluster.saveRole('all', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } })
  for (const user of ['ana', 'bob']) await cluster.saveUser(user, ['all'])
})

afterAll(async () => {
  await cluster.close()
  await server.close()
})

test('whoever fills their share of the room for large requests has no more with another token or URL, and takes nothing from others', async () => {
  const due: (() => void)[] = []
  server.script = (id, body, response) => {
    if (body.includes('tools/list'))
      return json(response, `{"jsonrpc":"2.0","id":${id},"result":{"tools":[{"name":"slow","inputSchema":{"type":"object"}}]}}`)
    due.push(() => json(response, `{"jsonrpc":"2.0","id":${id},"result":{"content":[]}}`))
  }
  const open = async (user: string, url = cluster.mcpUrl('web')) => openRawSession(url, await cluster.tokenOf(user))
  const [first, second, bob] = [await open('ana'), await open('ana'), await open('bob')]
  const all = await open('ana', new URL('/mcp', cluster.url))
  await all.post({ jsonrpc: '2.0', id: 'list', method: 'tools/list' })
  const held = first.call('slow', LARGE)
  await eventually('the first call', async () => due.length === 1 || undefined)
  const refusal = { status: 503, message: { error: { message: expect.stringContaining('as much of large requests as it may') } } }
  expect(await second.call('slow', LARGE)).toMatchObject(refusal)
  expect(await all.call('web_slow', LARGE)).toMatchObject(refusal)
  const others = [bob.call('slow', LARGE), second.call('slow', { text: 'small' })]
  await eventually('the others', async () => due.length === 3 || undefined)
  for (const answer of due.splice(0)) answer()
  for (const answer of await Promise.all([held, ...others])) expect(answer.status).toBe(200)
  const again = second.call('slow', LARGE)
  await eventually('the call after the first', async () => due.length === 1 || undefined)
  due[0]?.()
  expect((await again).status).toBe(200)
})
