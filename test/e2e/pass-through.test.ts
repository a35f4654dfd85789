import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { explain } from '../../src/client/admin.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { openSession, postMessage } from '../fakes/raw-mcp.ts'
import { ROOT } from '../programs.ts'
import { eventually } from '../wait.ts'

// A server's own methods: refused to everybody, but for whom a role lets them pass.

const everywhere = { app_labels: { '*': '*' } }
const RUN = '{"jsonrpc":"2.0","id":7,"method":"acme/run","params":{"job":1.50,"password":"hunter2"}}'

let cluster: Cluster

beforeAll(async () => {
  cluster = await startCluster()
  await cluster.saveStdioApp('echo', process.execPath, [join(ROOT, 'test/fakes/echo-stdio.ts')])
  await cluster.saveRole('plain', { allow: { ...everywhere, mcp: { tools: ['*'] } } })
  await cluster.saveRole('acme', { allow: { ...everywhere, mcp: { methods: ['acme/*'] } } })
  await cluster.saveRole('no-stop', { deny: { mcp: { methods: ['acme/stop'] } } })
  await cluster.saveUser('plain', ['plain'])
  await cluster.saveUser('ana', ['plain', 'acme', 'no-stop'])
})

afterAll(async () => await cluster?.close())

async function connect(user: string): Promise<(text: string) => Promise<string>> {
  const [url, token] = [cluster.mcpUrl('echo'), await cluster.tokenOf(user)]
  const session = await openSession(url, token)
  return async (text) => (await postMessage(url, token, session, text)).text
}

/** The lines that the server has read. */
async function received(send: (text: string) => Promise<string>): Promise<unknown> {
  const text = await send('{"jsonrpc":"2.0","id":99,"method":"tools/call","params":{"name":"received","arguments":{}}}')
  const answer: unknown = JSON.parse(text.replace(/^.*?data: /s, '')).result.content[0].text
  return JSON.parse(String(answer))
}

test('no server hears of a method that no role lets pass', async () => {
  const send = await connect('plain')
  expect(await send(RUN)).toBe(
    '{"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"method \\"acme/run\\" is not known to this gateway","data":{"reason":"unknown_method"}}}',
  )
  expect(JSON.stringify(await received(send))).not.toContain('acme/run')
})

test('a deny rule takes away what another role lets pass', async () => {
  const send = await connect('ana')
  expect(await send('{"jsonrpc":"2.0","id":1,"method":"acme/stop"}')).toContain('deny_rule')
  expect(JSON.stringify(await received(send))).not.toContain('acme/stop')
})

test('what a role lets pass arrives byte for byte, is the server’s to answer, and stands in the log without its secrets', async () => {
  const send = await connect('ana')
  const answer: unknown = JSON.parse(await send(RUN))
  expect(answer).toMatchObject({ id: 7, error: { code: -32601 } })
  expect(JSON.stringify(answer)).not.toContain('gateway')
  expect(await received(send)).toContain(RUN)
  const passed = await eventually('its event', async () => {
    const events = await cluster.events({ server: 'echo', user: 'ana', type: 'mcp.session.request' })
    return events.find((event) => JSON.stringify(event['message']).includes('acme/run'))
  })
  expect(passed).toMatchObject({ success: false, decision: { allow: true, by: 'acme' }, message: { params: { job: 1.5 } } })
  expect(JSON.stringify(passed)).not.toContain('hunter2')
})

test('tctl access explain says which role it was', async () => {
  const ask = (user: string, method: string) => explain(cluster.admin, { user, server: 'echo', method })
  expect(await ask('plain', 'acme/run')).toMatchObject({ allow: false, by: null })
  expect(await ask('ana', 'acme/stop')).toMatchObject({ allow: false, by: 'no-stop' })
  const { allow, by, steps } = await ask('ana', 'acme/run')
  expect([allow, by]).toEqual([true, 'acme'])
  expect(steps).toContainEqual({ subject: 'method', name: 'acme', verdict: 'allows', detail: 'allow: mcp.methods acme/*: matches' })
})
