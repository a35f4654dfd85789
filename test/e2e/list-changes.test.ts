import { afterEach, beforeEach, expect, it } from 'vitest'
import { type Cluster, startCluster } from '../cluster.ts'
import { startEchoHttp } from '../fakes/echo-http.ts'
import { type OpenAnswer, openHttp } from '../fakes/raw-http.ts'
import { headersOf, openSession, postMessage } from '../fakes/raw-mcp.ts'
import { eventually } from '../wait.ts'

// Clients with a session at one server hear that what they may use there is not what it was.

let cluster: Cluster
let echoHttp: Awaited<ReturnType<typeof startEchoHttp>>
let token: string

const app = (labels: Record<string, string>) =>
  cluster.save({ kind: 'app', version: 'v3', metadata: { name: 'echo', labels }, spec: { uri: `mcp+${echoHttp.url}` } })
const allow = (tools: string[], labels: Record<string, string> = { '*': '*' }) =>
  cluster.saveRole('some', { allow: { app_labels: labels, mcp: { tools } } })

beforeEach(async () => {
  cluster = await startCluster()
  echoHttp = await startEchoHttp()
  await app({ env: 'test' })
  await cluster.running.agent?.announced()
  await allow(['echo'])
  await cluster.saveRole('none', { allow: { app_labels: { '*': '*' } } })
  await cluster.saveUser('alice', ['some'])
  await cluster.saveUser('bob', ['none'])
  token = await cluster.tokenOf('alice')
}, 60_000)

afterEach(async () => {
  await cluster.close()
  await echoHttp.close()
})

async function listen(bearer: string, session: string): Promise<OpenAnswer> {
  const stream = await openHttp(cluster.mcpUrl('echo'), { method: 'GET', headers: headersOf(bearer, { 'mcp-session-id': session }) })
  await eventually('the beginning of the stream', () => stream.text() || undefined)
  return stream
}

const toldTools = (stream: OpenAnswer): number => stream.text().split('notifications/tools/list_changed').length - 1

async function toolsOf(session: string): Promise<string[]> {
  const { text } = await postMessage(cluster.mcpUrl('echo'), token, session, '{"jsonrpc":"2.0","id":1,"method":"tools/list"}')
  return [...text.matchAll(/"name":"(\w+)"/g)].map(([, name]) => String(name))
}

it('a role, a user and the labels of a server change what clients are shown, and they are told', { timeout: 60_000 }, async () => {
  const bob = await cluster.tokenOf('bob')
  const session = await openSession(cluster.mcpUrl('echo'), token)
  const streams = [await listen(token, session), await listen(bob, await openSession(cluster.mcpUrl('echo'), bob))] as const
  expect(await toolsOf(session)).toEqual(['echo'])

  await allow(['echo', 'stream'])
  await eventually('the word of a role', () => toldTools(streams[0]) === 1 || undefined)
  expect(await toolsOf(session)).toEqual(['echo', 'stream'])
  expect(toldTools(streams[1])).toBe(0)

  await allow(['echo', 'stream'], { env: 'test' })
  await eventually('the word of the same role', () => toldTools(streams[0]) === 2 || undefined)
  // The session stays, with another label that the role is content with, and ends with one that it is not.
  await app({ env: 'test', team: 'a' })
  await eventually('the word of a label', () => (toldTools(streams[0]) === 3 && toldTools(streams[1]) === 1) || undefined)
  expect(await toolsOf(session)).toEqual(['echo', 'stream'])
  await app({ env: 'other' })
  await streams[0].ended
  // By the agent, which knows no such session, until it has told the Auth Service of the label: then by that.
  const { status } = await postMessage(cluster.mcpUrl('echo'), token, session, '{"jsonrpc":"2.0","id":1,"method":"ping"}')
  expect([403, 404]).toContain(status)
})
