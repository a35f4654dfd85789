import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { silentLogger } from '../../src/lib/log.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { startEchoHttp } from '../fakes/echo-http.ts'
import { type ModernHttp, startModernHttp } from '../fakes/modern-server.ts'
import { type OpenAnswer, openHttp } from '../fakes/raw-http.ts'
import { headersOf, openSession, postMessage } from '../fakes/raw-mcp.ts'
import { eventually, within } from '../wait.ts'

// What clients see of a gateway that goes down: the end of their streams, at once, and no talk of lists that changed.

let cluster: Cluster
let echoHttp: Awaited<ReturnType<typeof startEchoHttp>>
let modernHttp: ModernHttp
let token: string
const warnings: string[] = []

beforeEach(async () => {
  warnings.length = 0
  cluster = await startCluster({ log: { ...silentLogger, warn: (message) => void warnings.push(message) } })
  echoHttp = await startEchoHttp()
  modernHttp = await startModernHttp()
  await cluster.saveHttpApp('echo', echoHttp.url)
  await cluster.saveHttpApp('modern', modernHttp.url, { env: 'modern' })
  await cluster.saveRole('all', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } })
  await cluster.saveUser('alice', ['all'])
  token = await cluster.tokenOf('alice')
}, 60_000)

afterEach(async () => {
  await cluster.close()
  await echoHttp.close()
  await modernHttp.close()
})

const HANG = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"hang"}}'

const at = (path: string): URL => new URL(path, cluster.url)

/** A `subscriptions/listen` of 2026-07-28 that has been acknowledged. */
async function listen(path: string): Promise<OpenAnswer> {
  const meta = { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {} }
  const params = { notifications: { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true }, _meta: meta }
  const headers = headersOf(token, { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'subscriptions/listen' })
  const body = JSON.stringify({ jsonrpc: '2.0', id: 7, method: 'subscriptions/listen', params })
  const stream = await openHttp(at(path), { headers, body })
  await eventually('the acknowledgement', () => stream.text().includes('subscriptions/acknowledged') || undefined)
  return stream
}

/** Nothing was taken for a call, which would be given five seconds. */
const waitedForNothing = (): void => expect(warnings).not.toContain(CUT_OFF)
const CUT_OFF = 'calls that are still under way are cut off'

describe('a gateway that goes down', () => {
  it('waits for a call, says so when it cuts it off, and tells the client', async () => {
    const session = await openSession(at('/mcp/apps/echo'), token)
    const hanging = postMessage(at('/mcp/apps/echo'), token, session, HANG)
    await eventually('the call at the server', () => echoHttp.seen.some(({ body }) => body.includes('hang')) || undefined)
    await within('the end of the gateway', cluster.running.close())
    expect(warnings).toContain(CUT_OFF)
    expect((await hanging).text).toContain('the gateway is shutting down')
  })

  it('ends a subscription to all servers with its result, and says of no list that it changed', async () => {
    const stream = await listen('/mcp')
    await within('the end of the gateway', cluster.running.close())
    waitedForNothing()
    const text = await within('the end of the stream', stream.ended)
    expect(text).not.toContain('list_changed')
    expect(text).toContain('"id":7,"result":{"resultType":"complete"')
  })

  it('ends a subscription to one server with its result too', async () => {
    const stream = await listen('/mcp/apps/modern')
    await within('the end of the gateway', cluster.running.close())
    waitedForNothing()
    const text = await within('the end of the stream', stream.ended)
    expect(text).not.toContain('list_changed')
    expect(text).toContain('"id":7,"result":{"resultType":"complete"')
  })

  it('tells a session of all servers of no change, and leaves each server in good order', async () => {
    const session = await openSession(at('/mcp'), token)
    await postMessage(at('/mcp'), token, session, '{"jsonrpc":"2.0","id":1,"method":"tools/list"}')
    const stream = await openHttp(at('/mcp'), { method: 'GET', headers: headersOf(token, { 'mcp-session-id': session }) })
    await within('the end of the gateway', cluster.running.close())
    waitedForNothing()
    expect(await within('the end of the stream', stream.ended)).not.toContain('list_changed')
    await cluster.restart()
    expect(await cluster.events({ type: 'mcp.session.invalid_http_request' })).toEqual([])
    expect(await cluster.eventsOnceThere({ type: 'mcp.session.end', server: 'echo' }, 1)).toMatchObject([{ outcome: 'success' }])
  })
})
