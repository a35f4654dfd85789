import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { deleteUpstreamAccount, listUpstreamAccounts } from '../../src/api/upstream-accounts.ts'
import { type Cluster, PASSWORD, startCluster } from '../cluster.ts'
import { type OAuthUpstream, startOAuthUpstream } from '../fakes/oauth-upstream.ts'
import { PlainBrowser } from '../fakes/plain-browser.ts'
import { bin, runProgram, startProgram } from '../programs.ts'
import { type RemoteAgent, sees, startRemoteAgent } from '../remote-agent.ts'
import { eventually } from '../wait.ts'

// Accounts of callers at MCP servers that agents on other hosts serve, at the one URL and at sets.

let cluster: Cluster
let upstream: OAuthUpstream
let agents: RemoteAgent[]
let token: string

beforeAll(async () => {
  upstream = await startOAuthUpstream()
  cluster = await startCluster({
    file: {
      auth_service: { cluster_name: 'test', oauth: { loopback_documents: 'yes' } },
      app_service: { resources: [{ labels: { env: 'near' } }] },
    },
  })
  await cluster.saveRole('dev', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } })
  await cluster.saveUser('ana', ['dev'])
  await cluster.saveUser('bob', ['dev'])
  token = await cluster.tokenOf('ana')
  const app = { enabled: 'yes', resources: [{ labels: { env: 'far' } }] }
  agents = [await startRemoteAgent(cluster, { app }), await startRemoteAgent(cluster, { app })]
  for (const [name, env] of [
    ['near', 'near'],
    ['far', 'far'],
  ]) {
    const spec = { uri: `mcp+${upstream.url}`, mcp: { oauth: { mode: 'per_user' } } }
    await cluster.save({ kind: 'app', version: 'v3', metadata: { name: name ?? '', labels: { env } }, spec })
  }
  await cluster.save({ kind: 'mcp_set', version: 'v1', metadata: { name: 'some' }, spec: { servers: { names: ['far'] } } })
  await sees(cluster, token, 'far', 'near')
}, 60_000)
afterAll(async () => {
  for (const agent of agents) await agent.close()
  await cluster.close()
  await upstream.close()
})
beforeEach(async () => {
  for (const { id } of (await cluster.admin(listUpstreamAccounts, { user: '*' })).items) await cluster.admin(deleteUpstreamAccount, { id })
})

async function signIn(app: string, user = 'ana'): Promise<void> {
  const browser = new PlainBrowser()
  const first = await browser.open(new URL(`/web/accounts/${app}`, cluster.url))
  const left = await browser.submit(await browser.submit(first, { user, password: PASSWORD }), { action: 'begin' })
  const [, target = ''] = /<a href="([^"]+)" rel="noreferrer">/.exec(left.text) ?? []
  const back = (await new PlainBrowser().open(target.replaceAll('&amp;', '&'))).url
  expect((await browser.open(back)).text).toContain(`are signed in to <b>${app}</b>`)
}

async function connect(path: string, capabilities: Record<string, unknown> = {}) {
  const client = new Client({ name: 'test', version: '1' }, { capabilities })
  const told = Promise.withResolvers<void>()
  client.setNotificationHandler('notifications/tools/list_changed', () => told.resolve())
  await client.connect(
    new StreamableHTTPClientTransport(new URL(path, cluster.url), { requestInit: { headers: { authorization: `Bearer ${token}` } } }),
  )
  const call = (name: string) => client.callTool({ name, arguments: { text: 'hello' } })
  const tools = async (): Promise<string[]> => (await client.listTools()).tools.map(({ name }) => name)
  return { client, call, tools, told: told.promise }
}

test.each([
  ['/mcp', 'near_echo'],
  ['/mcp', 'far_echo'],
  ['/mcp/sets/some', 'far_echo'],
])('at %s the tool %s comes with the account, without the client connecting again, and goes with it', async (path, tool) => {
  const server = tool.split('_')[0] ?? ''
  const address = `${cluster.url}/web/accounts/${server}`
  const { client, call, tools, told } = await connect(path)
  const asking = await connect(path, { elicitation: { url: {} } })
  const { _meta, tools: none } = await client.listTools()
  expect(none).toEqual([])
  expect(JSON.stringify(_meta?.['sallyport.dev/unavailable'])).toContain(`Sign in at ${address} and try again`)
  await signIn(server)
  // Those who have listed are told that there is more now.
  await told
  await eventually('the tool', async () => (await tools()).includes(tool) || undefined)
  expect((await call(tool)).isError).not.toBe(true)
  expect((await asking.tools()).includes(tool)).toBe(true)
  expect((await asking.call(tool)).isError).not.toBe(true)

  const { items } = await cluster.admin(listUpstreamAccounts, { user: 'ana' })
  await cluster.admin(deleteUpstreamAccount, { id: items[0]?.id ?? '' })
  const text = await eventually('the call says where to sign in', async () => {
    const result = await call(tool)
    return result.isError === true ? JSON.stringify(result.content) : undefined
  })
  expect(text).toContain(`Sign in at ${address} and try again`)
  await expect(asking.call(tool)).rejects.toMatchObject({ code: -32042, data: { elicitations: [{ mode: 'url', url: address }] } })
  await signIn(server)
  expect((await call(tool)).isError).not.toBe(true)
  expect((await asking.call(tool)).isError).not.toBe(true)
  await client.close()
  await asking.client.close()
})

test('a token that ended is renewed once, whichever agents ask', async () => {
  await signIn('far')
  // Sessions are spread over both agents.
  const sessions = await Promise.all(Array.from({ length: 8 }, () => connect('/mcp/apps/far')))
  await Promise.all(sessions.map(({ call }) => call('echo')))
  upstream.forget()
  const asked = upstream.asked.length
  const results = await Promise.all(sessions.map(({ call }) => call('echo')))
  expect(results.every(({ isError }) => isError !== true)).toBe(true)
  expect(upstream.asked.length - asked).toBe(1)
  const events = await cluster.eventsOnceThere({ type: 'mcp.session.start', user: 'ana' }, 8)
  expect(new Set(events.map(({ server_id }) => server_id)).size).toBeGreaterThan(1)
  await Promise.all(sessions.map(({ client }) => client.close()))
})

test('an authorization server that is ill is told from one that has ended the account, from far away too', async () => {
  await signIn('far')
  const { client, call } = await connect('/mcp/apps/far')
  await call('echo')
  upstream.forget()
  upstream.broken = { status: 503, body: {} }
  const ill = await call('echo').then((result) => JSON.stringify(result), String)
  expect(ill).toContain('try again in a moment')
  expect(ill).not.toContain('Sign in at')
  expect((await cluster.admin(listUpstreamAccounts, { user: 'ana' })).items).toHaveLength(1)
  upstream.broken = { status: 400, body: { error: 'invalid_grant' } }
  expect(JSON.stringify(await call('echo'))).toContain(`Sign in at ${cluster.url}/web/accounts/far`)
  expect((await cluster.admin(listUpstreamAccounts, { user: 'ana' })).items).toHaveLength(0)
  upstream.broken = undefined
  await signIn('far')
  expect((await call('echo')).isError).not.toBe(true)
  await client.close()
})

test('tsh signs in and out of a server that is far away', async () => {
  const args = ['-i', await cluster.identityFileOf('bob'), '--proxy', new URL(cluster.url).host]
  const login = startProgram(bin('tsh'), [...args, 'mcp', 'login', '--browser=none', 'far'], {})
  await eventually('the address is told', () => Promise.resolve(login.stderr().includes('/web/accounts/far') || undefined))
  await signIn('far', 'bob')
  await login.ended
  expect(login.stdout()).toBe('You are signed in to MCP server "far".\n')
  expect((await runProgram(bin('tsh'), [...args, 'mcp', 'logout', 'far'])).stdout).toBe(
    'Your account at MCP server "far" has been forgotten.\n',
  )
  expect((await cluster.admin(listUpstreamAccounts, { user: 'bob' })).items).toEqual([])
})
