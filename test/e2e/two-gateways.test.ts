import { copyFile, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createApiToken } from '../../src/api/api-tokens.ts'
import { listResources, upsertResource } from '../../src/api/resources.ts'
import { acceptInvite, inviteUser } from '../../src/api/users.ts'
import { fetchAllEvents } from '../../src/client/audit.ts'
import { type ApiClient, createApiClient } from '../../src/client/call.ts'
import { createLocalCarrier } from '../../src/client/local-carrier.ts'
import { PASSWORD } from '../cluster.ts'
import { type EchoHttp, startEchoHttp } from '../fakes/echo-http.ts'
import { POSTGRES_BIN, startPostgres, type TestPostgres } from '../fakes/postgres.ts'
import { bin, type Started, startProgram, temporaryDirectory } from '../programs.ts'
import { succeeds } from '../wait.ts'

// Two gateways on one PostgreSQL, and an agent that was told of the first alone: it serves through both, and through the second when the first is killed.

let directory: Awaited<ReturnType<typeof temporaryDirectory>>
let postgres: TestPostgres
let echo: EchoHttp
const started: Started[] = []
const path = (...names: string[]): string => join(directory.path, ...names)

beforeAll(async () => {
  if (POSTGRES_BIN === undefined) return
  directory = await temporaryDirectory()
  postgres = await startPostgres()
  echo = await startEchoHttp()
  await postgres.admin('create database sallyport')
})
afterAll(async () => {
  for (const each of started) {
    each.kill('SIGKILL')
    await each.ended
  }
  await echo?.close()
  await postgres?.close()
  await directory?.dispose()
})

interface Gateway {
  process: Started
  address: string
  api: ApiClient
}

async function startGateway(name: string): Promise<Gateway> {
  const file = path(`${name}.yaml`)
  const store = `postgresql://postgres@127.0.0.1:${postgres.port}/sallyport?sslmode=disable`
  await writeFile(
    file,
    `teleport:\n  storage: {type: postgresql, conn_string: "${store}"}\nproxy_service: {web_listen_addr: "127.0.0.1:0"}\napp_service: {enabled: no}\ndb_service: {enabled: no}\n`,
  )
  const process = startProgram(bin('sallyport'), ['start', '-c', file, '--data-dir', path(name)])
  started.push(process)
  await process.saw('is up')
  const address = `127.0.0.1:${/listening on 127\.0\.0\.1:(\d+)/.exec(process.stdout())?.[1]}`
  return { process, address, api: createApiClient(createLocalCarrier(path(name))) }
}

function saveApp({ api }: Gateway, name: string): Promise<unknown> {
  const resource = { kind: 'app', version: 'v3', metadata: { name, labels: { env: 'dev' } }, spec: { uri: `mcp+${echo.url}` } }
  return api(upsertResource, { kind: 'app', name, resource })
}

async function makeUser({ api }: Gateway): Promise<string> {
  const role = {
    kind: 'role',
    version: 'v8',
    metadata: { name: 'dev' },
    spec: { allow: { app_labels: { env: 'dev' }, mcp: { tools: ['*'] } } },
  }
  await api(upsertResource, { kind: 'role', name: 'dev', resource: role })
  const { path: link } = await api(inviteUser, { name: 'alice', roles: ['dev'] })
  await api(acceptInvite, { token: link.split('/').at(-1) ?? '', password: PASSWORD })
  return (await api(createApiToken, { user: 'alice' })).token
}

function transport({ address }: Gateway, server: string, token: string, sessionId?: string): StreamableHTTPClientTransport {
  return new StreamableHTTPClientTransport(new URL(`http://${address}/mcp/apps/${server}`), {
    requestInit: { headers: { authorization: `Bearer ${token}` } },
    ...(sessionId !== undefined && { sessionId }),
  })
}

/** A session there, as soon as there can be one; its id. */
async function begin(gateway: Gateway, server: string, token: string): Promise<string> {
  return await succeeds(`a session with ${server} at ${gateway.address}`, async () => {
    const way = transport(gateway, server, token)
    await new Client({ name: 'test', version: '1' }).connect(way)
    return way.sessionId ?? ''
  })
}

async function call(gateway: Gateway, server: string, token: string, sessionId: string): Promise<number> {
  const answer = await fetch(`http://${gateway.address}/mcp/apps/${server}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-session-id': sessionId,
    },
    body: '{"jsonrpc":"2.0","id":7,"method":"tools/list"}',
  })
  await answer.text()
  return answer.status
}

describe.skipIf(POSTGRES_BIN === undefined)('an agent of a cluster with two gateways', () => {
  it('serves through both, and goes on with the second when the first is killed', { timeout: 120_000 }, async () => {
    const first = await startGateway('a')
    await mkdir(path('b'), { mode: 0o700 })
    await copyFile(path('a', 'secret.key'), path('b', 'secret.key'))
    const second = await startGateway('b')
    const token = await makeUser(first)
    await first.api(upsertResource, {
      kind: 'token',
      name: 'agents-secret',
      resource: { kind: 'token', version: 'v2', metadata: { name: 'agents-secret' }, spec: { roles: ['App'] } },
    })
    const args = ['start', '--roles=app', `--auth-server=${first.address}`, '--token=agents-secret', '--data-dir', path('agent')]
    // The second hears of the agent no sooner than it dials.
    process.kill(second.process.pid, 'SIGSTOP')
    const agent = startProgram(bin('sallyport'), args)
    started.push(agent)
    await agent.saw('is up')
    process.kill(second.process.pid, 'SIGCONT')
    await saveApp(first, 'tools')
    const session = await begin(first, 'tools', token)
    await begin(second, 'tools', token)
    expect((await second.api(listResources, { kind: 'proxy' })).items).toHaveLength(2)
    expect(await call(second, 'tools', token, session)).toBe(200)
    expect(await Array.fromAsync(fetchAllEvents(first.api, { type: 'access.denied' }))).toEqual([])
    first.process.kill('SIGKILL')
    await first.process.ended
    expect(await call(second, 'tools', token, session)).toBe(200)
    await saveApp(second, 'more')
    await begin(second, 'more', token)
    expect(await call(second, 'tools', token, session)).toBe(200)
  })
})
