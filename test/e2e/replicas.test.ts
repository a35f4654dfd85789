import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createApiToken, deleteApiToken } from '../../src/api/api-tokens.ts'
import { searchEvents } from '../../src/api/audit.ts'
import { deleteOAuthGrant, listOAuthGrants } from '../../src/api/oauth-grants.ts'
import { deleteResource, upsertResource } from '../../src/api/resources.ts'
import { acceptInvite, inviteUser } from '../../src/api/users.ts'
import { verifyChain } from '../../src/audit/chain.ts'
import { type ApiClient, createApiClient } from '../../src/client/call.ts'
import { createLocalCarrier } from '../../src/client/local-carrier.ts'
import { PASSWORD } from '../cluster.ts'
import { type Balancer, startBalancer } from '../fakes/balancer.ts'
import { type EchoHttp, startEchoHttp } from '../fakes/echo-http.ts'
import { OAuthFlow } from '../fakes/oauth-flow.ts'
import { POSTGRES_BIN, startPostgres, type TestPostgres } from '../fakes/postgres.ts'
import { bin, type Started, startProgram, temporaryDirectory } from '../programs.ts'
import { within } from '../wait.ts'

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

  const start = async (name: string): Promise<Replica> => {
    const config = join(directory.path, `${name}.yaml`)
    const section = {
      teleport: { storage: { type: 'postgresql', conn_string: postgres.connString } },
      auth_service: { cluster_name: 'twins', secret_key_file: join(directory.path, 'secret.key') },
      proxy_service: { web_listen_addr: '127.0.0.1:0', public_addr: `127.0.0.1:${balancer.port}` },
    }
    await writeFile(config, JSON.stringify(section))
    const data = join(directory.path, name)
    const program = startProgram(bin('sallyport'), ['start', '-c', config, '--data-dir', data])
    await program.saw('is up')
    const port = Number(/listening on 127\.0\.0\.1:(\d+)/.exec(program.stdout())?.[1])
    return { program, port, api: createApiClient(createLocalCarrier(data)) }
  }
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
  }, 120_000)
  afterAll(async () => {
    for (const replica of [a, b]) {
      replica?.program.kill('SIGKILL')
      await replica?.program.ended
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
  ])('%s at one replica ends the sessions at the other within a second', async (_, end) => {
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
    expect(over - acted).toBeLessThan(1000)
    expect([401, 403, 404]).toContain(await session.call())
    await a.api(deleteResource, { kind: 'lock', name: 'out' }).catch(() => undefined)
    await a.api(deleteResource, { kind: 'user', name: 'eve' }).catch(() => undefined)
  })

  test('what a person allowed ends everywhere within a second, too', async () => {
    balancer.choose = () => 1
    const tokens = await new OAuthFlow({ url: url() }).signIn('ana', { resource: `${url()}${ECHO}` })
    const session = await openAtB(tokens.access_token)
    const [grant] = (await a.api(listOAuthGrants, { user: 'ana' })).items
    await a.api(deleteOAuthGrant, { id: grant?.id ?? '' })
    const acted = performance.now()
    expect((await within('the stream ends', session.ended)) - acted).toBeLessThan(1000)
    expect(await session.call()).toBe(401)
  })

  test('when one is killed the other goes on with what was begun there, and the audit log of both is one chain', async () => {
    balancer.choose = () => 0
    const flow = new OAuthFlow({ url: url() })
    const tokens = await flow.signIn('ana', { resource: `${url()}${ECHO}`, scope: 'mcp offline_access' })
    const code = await flow.code('ana', { resource: `${url()}${ECHO}` })
    expect((await flow.call(ECHO, tokens.access_token)).status).toBe(200)
    a.program.kill('SIGKILL')
    await a.program.ended
    balancer.choose = () => 1
    expect((await flow.call(ECHO, tokens.access_token)).status).toBe(200)
    const next = await flow.refresh(tokens.refresh_token)
    expect((await flow.call(ECHO, next.access_token)).status).toBe(200)
    expect(await flow.exchange(code)).toMatchObject({ status: 200 })
    await addUser(b, 'bob')

    a = await start('a')
    balancer.targets.splice(0, 1, a.port)
    balancer.choose = () => 0
    expect((await flow.call(ECHO, next.access_token)).status).toBe(200)
    expect(await new OAuthFlow({ url: url() }).signIn('bob', { resource: `${url()}${ECHO}` })).toMatchObject({ status: 200 })
    const { lines } = await b.api(searchEvents, { limit: 1000 })
    expect(await verifyChain(lines)).toMatchObject({ ok: true })
  })
})
