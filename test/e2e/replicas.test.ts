import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createApiToken, deleteApiToken } from '../../src/api/api-tokens.ts'
import { getStatus } from '../../src/api/cluster.ts'
import { searchEvents } from '../../src/api/audit.ts'
import { deleteOAuthGrant, listOAuthGrants } from '../../src/api/oauth-grants.ts'
import { deleteResource, upsertResource } from '../../src/api/resources.ts'
import { acceptInvite, inviteUser } from '../../src/api/users.ts'
import { verifyChain } from '../../src/audit/chain.ts'
import { type ApiClient, createApiClient } from '../../src/client/call.ts'
import { createLocalCarrier } from '../../src/client/local-carrier.ts'
import { PASSWORD } from '../cluster.ts'
import { type Balancer, inTurn, startBalancer } from '../fakes/balancer.ts'
import { type EchoHttp, startEchoHttp } from '../fakes/echo-http.ts'
import { OAuthFlow } from '../fakes/oauth-flow.ts'
import { OAuthSession } from '../fakes/oauth-session.ts'
import { PlainBrowser } from '../fakes/plain-browser.ts'
import { POSTGRES_BIN, startPostgres, type TestPostgres } from '../fakes/postgres.ts'
import { bin, type Started, startProgram, temporaryDirectory } from '../programs.ts'
import { AT_ONCE_MS, eventually, within } from '../wait.ts'
import { wholeList } from '../whole-list.ts'

// Two `sallyport start` on one PostgreSQL, behind one address.

interface Replica {
  program: Started
  port: number
  api: ApiClient
}

const ECHO = '/mcp/apps/echo'
const ALL = { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } }

describe.skipIf(POSTGRES_BIN === undefined)('two processes on one PostgreSQL', () => {
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>
  let postgres: TestPostgres
  let balancer: Balancer
  let echo: EchoHttp
  let a: Replica
  let b: Replica
  let agent: Started
  let readyToken: string

  const start = async (name: string): Promise<Replica> => {
    const config = join(directory.path, `${name}.yaml`)
    const section = {
      teleport: { storage: { type: 'postgresql', conn_string: postgres.connString } },
      auth_service: { cluster_name: 'twins', secret_key_file: join(directory.path, 'secret.key') },
      proxy_service: { web_listen_addr: '127.0.0.1:0', public_addr: `127.0.0.1:${balancer.port}` },
      app_service: { enabled: 'no' },
    }
    await writeFile(config, JSON.stringify(section))
    const data = join(directory.path, name)
    const program = startProgram(bin('sallyport'), ['start', '-c', config, '--data-dir', data])
    await program.saw('is up')
    const port = Number(/listening on 127\.0\.0\.1:(\d+)/.exec(program.stdout())?.[1])
    return { program, port, api: createApiClient(createLocalCarrier(data)) }
  }
  /** An agent on its own, which finds both by the one address. */
  const startAgent = async (): Promise<Started> => {
    const token = { roles: ['App'], join_method: 'token' }
    await save(a, 'token', 'agents-join', 'v2', token)
    const { ca_pins } = await b.api(getStatus, {})
    const config = join(directory.path, 'agent.yaml')
    const section = {
      teleport: {
        proxy_server: `127.0.0.1:${balancer.port}`,
        join_params: { method: 'token', token_name: 'agents-join' },
        ca_pin: ca_pins[0],
      },
      auth_service: { enabled: 'no' },
      proxy_service: { enabled: 'no' },
      app_service: { enabled: 'yes', resources: [{ labels: { '*': '*' } }] },
    }
    await writeFile(config, JSON.stringify(section))
    return startProgram(bin('sallyport'), ['start', '-c', config, '--data-dir', join(directory.path, 'agent')])
  }
  /** Whether both have the agent. */
  const served = (port: number) =>
    eventually(
      'the agent is there',
      async () => {
        balancer.choose = () => balancer.targets.indexOf(port)
        const { status } = await new OAuthFlow({ url: url() }).call(ECHO, readyToken)
        return status === 200 || undefined
      },
      60_000,
    )
  const save = ({ api }: Replica, kind: string, name: string, version: string, spec: unknown) =>
    api(upsertResource, { kind, name, resource: { kind, version, metadata: { name, labels: { env: 'test' } }, spec } })
  const addUser = async ({ api }: Replica, name: string): Promise<void> => {
    const { path } = await api(inviteUser, { name, roles: ['all'] })
    await api(acceptInvite, { token: path.split('/').at(-1) ?? '', password: PASSWORD })
  }
  const url = () => `http://127.0.0.1:${balancer.port}`

  beforeAll(async () => {
    directory = await temporaryDirectory()
    ;[postgres, balancer, echo] = await Promise.all([startPostgres(), startBalancer(), startEchoHttp()])
    // Both on a store with nothing in it, at once: one makes the cluster, and the other finds it made.
    ;[a, b] = await Promise.all([start('a'), start('b')])
    balancer.targets.push(a.port, b.port)
    await save(a, 'role', 'all', 'v8', ALL)
    await save(a, 'role', 'nothing', 'v8', {})
    await save(b, 'app', 'echo', 'v3', { uri: `mcp+${echo.url}` })
    await addUser(a, 'ana')
    readyToken = (await a.api(createApiToken, { user: 'ana' })).token
    agent = await startAgent()
    for (const { port } of [a, b]) await served(port)
  }, 120_000)
  afterAll(async () => {
    for (const program of [agent, a?.program, b?.program]) {
      program?.kill('SIGKILL')
      await program?.ended
    }
    await balancer?.close()
    await echo?.close()
    await postgres?.close()
    await directory?.dispose()
  })

  /** A live MCP session at B; `ended` settles with how long its stream went on after `since` was called. */
  const openAtB = async (token: string) => {
    balancer.choose = () => 1
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
    const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'raw', version: '1' } }
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params })
    const opened = await fetch(`${url()}${ECHO}`, { method: 'POST', headers, body })
    await opened.text()
    expect(opened.status).toBe(200)
    const session = { ...headers, 'mcp-session-id': opened.headers.get('mcp-session-id') ?? '', 'mcp-protocol-version': '2025-11-25' }
    const stream = await fetch(`${url()}${ECHO}`, { headers: session })
    expect(stream.status).toBe(200)
    const ended = stream.text().then(
      () => performance.now(),
      () => performance.now(), // broken off
    )
    const call = JSON.stringify({ jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'echo', arguments: { text: 'x' } } })
    return { ended, call: async () => (await fetch(`${url()}${ECHO}`, { method: 'POST', headers: session, body: call })).status }
  }

  test.each([
    ['an API token that is deleted', async (id: string) => await a.api(deleteApiToken, { id })],
    ['a lock', async () => await save(a, 'lock', 'out', 'v2', { target: { user: 'eve' } })],
    ['a role that allows nothing any more', async () => await save(a, 'role', 'own', 'v8', { allow: {} })],
    ['a role that is taken from a user', async () => await save(a, 'user', 'eve', 'v2', { roles: ['nothing'] })],
    ['a user who is deleted', async () => await a.api(deleteResource, { kind: 'user', name: 'eve' })],
  ])('%s at one replica ends the sessions at the other at once', async (_, end) => {
    await save(a, 'role', 'own', 'v8', ALL)
    const { path } = await b.api(inviteUser, { name: 'eve', roles: ['own'] })
    expect(path).toContain('/web/signup/')
    const { item, token } = await a.api(createApiToken, { user: 'eve' })
    const session = await openAtB(token)
    expect(await session.call()).toBe(200)
    const began = performance.now()
    await end(item.id)
    const acted = performance.now()
    const over = await within('the stream ends', session.ended)
    expect(over).toBeGreaterThan(began)
    expect(over - acted).toBeLessThan(AT_ONCE_MS)
    expect([401, 403, 404]).toContain(await session.call())
    await a.api(deleteResource, { kind: 'lock', name: 'out' }).catch(() => undefined)
    await a.api(deleteResource, { kind: 'user', name: 'eve' }).catch(() => undefined)
  })

  test('what a person allowed ends everywhere at once, too', async () => {
    balancer.choose = () => 1
    const tokens = await new OAuthFlow({ url: url() }).signIn('ana', { resource: `${url()}${ECHO}` })
    const session = await openAtB(tokens.access_token)
    const [grant] = (await a.api(listOAuthGrants, { user: 'ana' })).items
    await a.api(deleteOAuthGrant, { id: grant?.id ?? '' })
    const acted = performance.now()
    expect((await within('the stream ends', session.ended)) - acted).toBeLessThan(AT_ONCE_MS)
    expect(await session.call()).toBe(401)
  })

  test.each(['/mcp', ECHO])('a client of the SDK signs in and works at %s, with each request at another replica', async (path) => {
    balancer.choose = inTurn()
    const target = new URL(path, url())
    const session = new OAuthSession()
    const authProvider = session.provider()
    const first = new StreamableHTTPClientTransport(target, { authProvider })
    await expect(new Client({ name: 'c', version: '1' }).connect(first)).rejects.toThrow()
    const back = await new PlainBrowser().allow(session.authorizationUrl ?? '', 'ana')
    await first.finishAuth(back.searchParams.get('code') ?? '')
    const client = new Client({ name: 'c', version: '1' })
    await client.connect(new StreamableHTTPClientTransport(target, { authProvider }))
    const name = path === '/mcp' ? 'echo_echo' : 'echo'
    expect((await wholeList(() => client.listTools())).tools.map((tool) => tool.name)).toContain(name)
    for (let call = 0; call < 4; call++)
      expect(JSON.stringify(await client.callTool({ name, arguments: { text: `call ${call}` } }))).toContain(`call ${call}`)
    await client.close()
    expect(session.issued).toHaveLength(1)
  })

  test('when one is killed the other goes on with what was begun there, and the audit log of both is one chain', async () => {
    balancer.choose = () => 0
    const flow = new OAuthFlow({ url: url() })
    const tokens = await flow.signIn('ana', { resource: `${url()}${ECHO}`, scope: 'mcp offline_access' })
    const code = await flow.code('ana', { resource: `${url()}${ECHO}` })
    expect((await flow.call(ECHO, tokens.access_token)).status).toBe(200)
    const session = new Client({ name: 'survivor', version: '1' })
    await session.connect(
      new StreamableHTTPClientTransport(new URL(`${url()}/mcp`), { requestInit: { headers: { authorization: `Bearer ${readyToken}` } } }),
    )
    expect(await wholeList(() => session.listTools())).toMatchObject({
      tools: expect.arrayContaining([expect.objectContaining({ name: 'echo_echo' })]),
    })
    a.program.kill('SIGKILL')
    await a.program.ended
    balancer.choose = () => 1
    expect((await flow.call(ECHO, tokens.access_token)).status).toBe(200)
    expect(JSON.stringify(await session.callTool({ name: 'echo_echo', arguments: { text: 'still here' } }))).toContain('still here')
    await session.close()
    const next = await flow.refresh(tokens.refresh_token)
    expect((await flow.call(ECHO, next.access_token)).status).toBe(200)
    expect(await flow.exchange(code)).toMatchObject({ status: 200 })
    await addUser(b, 'bob')

    a = await start('a')
    balancer.targets.splice(0, 1, a.port)
    await served(a.port)
    expect((await flow.call(ECHO, next.access_token)).status).toBe(200)
    expect(await new OAuthFlow({ url: url() }).signIn('bob', { resource: `${url()}${ECHO}` })).toMatchObject({ status: 200 })
    const { lines } = await b.api(searchEvents, { limit: 1000 })
    expect(await verifyChain(lines)).toMatchObject({ ok: true })
  })
})
