import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { StdioClientTransport as StdioClientTransportV1 } from '@modelcontextprotocol/sdk/client/stdio.js'
import { StreamableHTTPClientTransport as StreamableHTTPClientTransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { deleteApiToken, listApiTokens } from '../../src/api/api-tokens.ts'
import { deleteResource } from '../../src/api/resources.ts'
import { resetUser } from '../../src/api/users.ts'
import { findEverything } from '../../src/cli/server/demo.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { startEchoHttp } from '../fakes/echo-http.ts'
import { type ModernHttp, startModernHttp } from '../fakes/modern-server.ts'
import { openHttp } from '../fakes/raw-http.ts'
import { headersOf, openSession, postMessage } from '../fakes/raw-mcp.ts'
import { ECHO_STDIO } from '../fakes/stdio-app.ts'
import { ROOT } from '../programs.ts'
import { AT_ONCE_MS, eventually, within } from '../wait.ts'
import { wholeList } from '../whole-list.ts'
import { asGuestOf } from './aggregate-guest.ts'
import { guestOfV1, guestOfV2 } from './everything-guest.ts'
import { tour } from './everything-tour.ts'

// One URL for all servers: what a client gets through it is what it gets at the single URLs, and nothing more.

const MODERN = '2026-07-28'

let cluster: Cluster
let echoHttp: Awaited<ReturnType<typeof startEchoHttp>>
let modernHttp: ModernHttp
let silent: Server

beforeAll(async () => {
  cluster = await startCluster({ file: { app_service: { mcp_demo_server: true } } })
  echoHttp = await startEchoHttp()
  modernHttp = await startModernHttp()
  silent = createServer(() => undefined) // takes requests and never answers
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  // A listening TCP server has an address with a port.
  const { port } = silent.address() as AddressInfo
  await cluster.saveStdioApp('everything', process.execPath, [findEverything(), 'stdio'], { env: 'test', kind: 'everything' })
  await cluster.saveStdioApp('local', process.execPath, [ECHO_STDIO])
  await cluster.saveHttpApp('remote', echoHttp.url)
  await cluster.saveHttpApp('modern-http', modernHttp.url, { env: 'modern' })
  await cluster.saveStdioApp('modern-stdio', process.execPath, [join(ROOT, 'test/fakes/modern-server.ts')], { env: 'modern' })
  await cluster.saveHttpApp('dead', 'http://127.0.0.1:1/mcp', { env: 'broken' })
  await cluster.saveHttpApp('hanging', `http://127.0.0.1:${port}/mcp`, { env: 'broken' })
  await cluster.saveStdioApp('secret', process.execPath, [ECHO_STDIO], { env: 'secret' })
  await user('alice', { env: 'test' }, { deny: ['get-env'] })
}, 60_000)

afterAll(async () => {
  await cluster.close()
  await echoHttp.close()
  await modernHttp.close()
  silent.closeAllConnections()
  silent.close()
})

/** A user with a role of the same name. */
async function user(name: string, labels: Record<string, string | string[]>, { tools = ['*'], deny = [] as string[] } = {}): Promise<void> {
  await grant(name, labels, { tools, deny })
  await cluster.saveUser(name, [name])
}
const grant = (name: string, labels: Record<string, string | string[]>, { tools = ['*'], deny = [] as string[] } = {}): Promise<void> =>
  cluster.saveRole(name, { allow: { app_labels: labels, mcp: { tools } }, deny: { mcp: { tools: deny } } })

const at = (path: string): URL => new URL(path, cluster.url)
const authorized = (token: string): { requestInit: RequestInit } => ({ requestInit: { headers: { authorization: `Bearer ${token}` } } })

async function connect(name: string, path = '/mcp', mode: 'legacy' | { pin: string } = 'legacy', token?: string): Promise<Client> {
  const client = new Client({ name: 'guest', version: '1' }, { capabilities: { elicitation: { form: {} } }, versionNegotiation: { mode } })
  client.setRequestHandler('elicitation/create', async () => ({ action: 'accept', content: { colour: 'green' } }))
  await client.connect(new StreamableHTTPClientTransport(at(path), authorized(token ?? (await cluster.tokenOf(name)))))
  return client
}

const namesOf = async (client: Client): Promise<string[]> => (await wholeList(() => client.listTools())).tools.map(({ name }) => name)

describe('what is not allowed', () => {
  it('is neither shown nor done', async () => {
    const client = await connect('alice')
    const names = await namesOf(client)
    expect(names).not.toContain('everything_get-env')
    expect(names.filter((name) => name.startsWith('secret_'))).toEqual([])
    await expect(client.callTool({ name: 'everything_get-env', arguments: {} })).rejects.toMatchObject({ code: -32602 })
    await user('mallory', { env: 'secret' })
    const other = await connect('mallory')
    expect(await namesOf(other)).toContain('secret_echo')
    await expect(client.callTool({ name: 'secret_echo', arguments: { text: 'x' } })).rejects.toMatchObject({ code: -32602 })
    await expect(client.readResource({ uri: 'sallyport://secret/demo://x' })).rejects.toThrow('no such resource is here')
    await Promise.all([client.close(), other.close()])
  })

  it('is another owner’s session', async () => {
    const [mine, theirs] = [await cluster.tokenOf('alice'), await cluster.tokenOf('mallory')]
    const session = await openSession(at('/mcp'), mine)
    expect((await postMessage(at('/mcp'), theirs, session, '{"jsonrpc":"2.0","id":1,"method":"ping"}')).status).toBe(404)
    expect((await postMessage(at('/mcp/sets/none'), mine, session, '{"jsonrpc":"2.0","id":1,"method":"ping"}')).status).toBe(404)
    expect((await postMessage(at('/mcp'), mine, session, '{"jsonrpc":"2.0","id":1,"method":"ping"}')).status).toBe(200)
  })

  it('is what a narrowed token is not for', async () => {
    const client = await connect('alice', '/mcp', 'legacy', await cluster.tokenOf('alice', { servers: ['local'] }))
    const servers = new Set((await namesOf(client)).map((name) => name.split('_')[0]))
    expect([...servers]).toEqual(['local'])
    await client.close()
  })
})

describe('everything of a server', () => {
  const command = { command: process.execPath, args: [findEverything(), 'stdio'], stderr: 'ignore' as const }
  const compared = async (guest: Awaited<ReturnType<typeof guestOfV1>>): Promise<Record<string, unknown>> => {
    try {
      // What the server says of itself is said by the gateway, and a tool that is unknown is so before the server hears of it.
      const { server: _, 'unknown tool': __, 'tool get-env': ___, ...seen } = await tour(guest)
      return seen
    } finally {
      await guest.close()
    }
  }

  it('is the same to a client of SDK v1', { timeout: 60_000 }, async () => {
    await user('tourist1', { kind: 'everything' })
    const transport = new StreamableHTTPClientTransportV1(at('/mcp'), authorized(await cluster.tokenOf('tourist1')))
    const there = await compared(asGuestOf('everything', await guestOfV1(transport)))
    expect(there).toEqual(await compared(await guestOfV1(new StdioClientTransportV1(command))))
  })

  it('is the same to a client of SDK v2', { timeout: 60_000 }, async () => {
    await user('tourist2', { kind: 'everything' })
    const transport = new StreamableHTTPClientTransport(at('/mcp'), authorized(await cluster.tokenOf('tourist2')))
    const there = await compared(asGuestOf('everything', await guestOfV2(transport)))
    expect(there).toEqual(await compared(await guestOfV2(new StdioClientTransport(command))))
  })
})

it('shows the tools of all servers, and the audit log has each call under its own name', async () => {
  const client = await connect('alice')
  const names = await namesOf(client)
  expect(names).toEqual(expect.arrayContaining(['everything_get-sum', 'local_echo', 'remote_echo']))
  expect(await client.callTool({ name: 'everything_get-sum', arguments: { a: 1, b: 2 } })).toMatchObject({
    content: [{ text: 'The sum of 1 and 2 is 3.' }],
  })
  expect(await client.callTool({ name: 'local_echo', arguments: { text: 'one' } })).toMatchObject({ content: [{ text: 'one' }] })
  expect(await client.callTool({ name: 'remote_echo', arguments: { text: 'two' } })).toMatchObject({ content: [{ text: 'two' }] })
  await client.close()
  for (const [server, tool] of [
    ['everything', 'get-sum'],
    ['local', 'echo'],
    ['remote', 'echo'],
  ]) {
    const [call] = await cluster.eventsOnceThere({ server, tool, user: 'alice' }, 1)
    expect(call).toMatchObject({ event: 'mcp.session.request', user: 'alice', server, tool, outcome: 'success' })
  }
})

it('shows the demo server too', async () => {
  await user('dora', { 'teleport.internal/resource-type': 'demo' })
  const client = await connect('dora')
  const info = (await namesOf(client)).find((name) => name.includes('user_info')) ?? ''
  expect(await client.callTool({ name: info, arguments: {} })).toMatchObject({ content: [{ text: expect.stringContaining('"dora"') }] })
  await client.close()
})

describe('a modern client', () => {
  it('lists, calls, reads, is asked for input, and listens', async () => {
    await user('mo', { env: 'modern' })
    const client = await connect('mo', '/mcp', { pin: MODERN })
    const names = await namesOf(client)
    expect((await wholeList(() => client.listPrompts())).prompts.map(({ name }) => name).toSorted()).toEqual([
      'modern-http_greet',
      'modern-stdio_greet',
    ])
    for (const server of ['modern-http', 'modern-stdio']) {
      expect(names).toContain(`${server}_add`)
      expect(await client.callTool({ name: `${server}_add`, arguments: { a: 2, b: 3 } })).toMatchObject({ content: [{ text: '5' }] })
      expect(await client.callTool({ name: `${server}_paint`, arguments: { what: 'the gate' } })).toMatchObject({
        content: [{ text: 'painting the gate green' }],
      })
      expect(await client.readResource({ uri: `sallyport://${server}/note://one` })).toMatchObject({
        contents: [{ uri: `sallyport://${server}/note://one`, text: 'a note' }],
      })
      expect(await client.getPrompt({ name: `${server}_greet`, arguments: { name: 'Ada' } })).toMatchObject({
        messages: [{ content: { text: 'Hello Ada' } }],
      })
    }
    const changed = Promise.withResolvers<void>()
    client.setNotificationHandler('notifications/tools/list_changed', async () => changed.resolve())
    const subscription = await client.listen({ toolsListChanged: true })
    modernHttp.toolsChanged()
    await within('the notification', changed.promise)
    await subscription.close()
    await client.close()
    expect(await cluster.eventsOnceThere({ server: 'modern-http', tool: 'paint' }, 2)).toMatchObject([{ user: 'mo' }, { user: 'mo' }])
  })
})

describe('what an administrator does', () => {
  it('takes tools away at once, and tells a client that listens', async () => {
    await user('bob', { env: 'test' })
    const client = await connect('bob')
    const changed = Promise.withResolvers<void>()
    client.setNotificationHandler('notifications/tools/list_changed', async () => changed.resolve())
    expect(await namesOf(client)).toEqual(expect.arrayContaining(['local_echo', 'local_pid', 'remote_echo']))
    await grant('bob', { env: 'test' }, { tools: ['echo'] })
    await expect(client.callTool({ name: 'local_pid', arguments: {} })).rejects.toMatchObject({ code: -32602 })
    expect((await namesOf(client)).toSorted()).toEqual(['everything_echo', 'local_echo', 'remote_echo'])
    await within('the notification', changed.promise)
    await grant('bob', { env: 'none' })
    await expect(client.callTool({ name: 'local_echo', arguments: { text: 'x' } })).rejects.toMatchObject({ code: -32602 })
    expect(await namesOf(client)).toEqual([])
    await client.close()
  })

  it.each([
    ['a lock', 403, 'is in force: lunch', (name: string) => lock(name)],
    ['the end of the token', 401, 'not valid', (name: string) => revoke(name)],
    ['the end of the user', 401, '', (name: string) => cluster.admin(deleteResource, { kind: 'user', name })],
    ['a reset of the user', 401, '', (name: string) => cluster.admin(resetUser, { name })],
  ])('%s ends session, stream and running call at once', async (_, status, why, act) => {
    const name = `leaver${leavers++}`
    await user(name, { env: 'test' })
    const bearer = await cluster.tokenOf(name)
    const session = await openSession(at('/mcp'), bearer)
    await postMessage(at('/mcp'), bearer, session, '{"jsonrpc":"2.0","id":1,"method":"tools/list"}')
    const stream = await openHttp(at('/mcp'), { method: 'GET', headers: headersOf(bearer, { 'mcp-session-id': session }) })
    expect(stream.status).toBe(200)
    const running = runHanging(bearer, session)
    await running.began
    await act(name)
    await within('the end of both', Promise.all([stream.ended, running.ended]), AT_ONCE_MS)
    const hung = await cluster.eventsOnceThere({ type: 'mcp.session.request', user: name, tool: 'hang' }, 1)
    expect(hung).toMatchObject([{ server: 'local', success: false }])
    const next = await postMessage(at('/mcp'), bearer, session, '{"jsonrpc":"2.0","id":2,"method":"ping"}')
    expect([next.status, next.text]).toEqual([status, expect.stringContaining(why)])
  })
  let leavers = 0

  it.each([
    ['the loss of the role', (name: string) => grant(name, { env: 'none' }), async () => undefined],
    ['another label of the server', () => saveLocal('other'), () => saveLocal('test')],
    ['the end of the server', () => cluster.admin(deleteResource, { kind: 'app', name: 'local' }), () => saveLocal('test')],
  ])('%s ends a running call at once, and the session goes on', async (_, act, undo) => {
    const name = `loser${leavers++}`
    await user(name, { env: 'test' })
    const bearer = await cluster.tokenOf(name)
    const session = await openSession(at('/mcp'), bearer)
    const running = runHanging(bearer, session)
    await running.began
    await act(name)
    const { text } = await within('the end of the call', running.ended, AT_ONCE_MS)
    expect(text).toContain('"error"')
    const next = await postMessage(at('/mcp'), bearer, session, '{"jsonrpc":"2.0","id":2,"method":"ping"}')
    expect(next.status).toBe(200)
    const hung = await cluster.eventsOnceThere({ type: 'mcp.session.request', user: name, tool: 'hang' }, 1)
    expect(hung).toMatchObject([{ server: 'local', success: false }])
    await undo()
  })
  const saveLocal = (env: string): Promise<void> => cluster.saveStdioApp('local', process.execPath, [ECHO_STDIO], { env })

  /** A call that is never answered; `began` when the server has it. */
  function runHanging(bearer: string, session: string) {
    const call = (id: number, name: string) => `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"local_${name}"}}`
    const ended = postMessage(at('/mcp'), bearer, session, call(10, 'hang'))
    const began = eventually('the call at the server', async () => {
      const { text } = await postMessage(at('/mcp'), bearer, session, call(11, 'received'))
      return text.includes('hang') || undefined
    })
    return { ended, began }
  }

  it('ends the sessions of one token, not those of another', async () => {
    await user('twin', { env: 'test' })
    const gone = await cluster.tokenOf('twin')
    const [leaving] = (await cluster.admin(listApiTokens, { user: 'twin' })).items
    const kept = await cluster.tokenOf('twin')
    const sessions = await Promise.all([gone, kept].map((bearer) => openSession(at('/mcp'), bearer)))
    await cluster.admin(deleteApiToken, { id: leaving?.id ?? '' })
    const ping = (bearer: string, session = '') => postMessage(at('/mcp'), bearer, session, '{"jsonrpc":"2.0","id":1,"method":"ping"}')
    expect([(await ping(gone, sessions[0])).status, (await ping(kept, sessions[0])).status]).toEqual([401, 404])
    expect((await ping(kept, sessions[1])).status).toBe(200)
  })

  const revoke = async (user: string): Promise<void> => {
    for (const { id } of (await cluster.admin(listApiTokens, { user })).items) await cluster.admin(deleteApiToken, { id })
  }
  const lock = (name: string): Promise<void> =>
    cluster.save({ kind: 'lock', version: 'v2', metadata: { name }, spec: { target: { user: name }, message: 'lunch' } })
})

it('one dead and one hanging server neither delay nor empty the rest', async () => {
  await user('carol', { env: ['test', 'broken'] })
  const began = performance.now()
  const client = await connect('carol')
  expect(performance.now() - began).toBeLessThan(AT_ONCE_MS)
  const listed = await within('the list', client.listTools())
  expect(listed.tools.map(({ name }) => name)).toEqual(expect.arrayContaining(['everything_echo', 'local_echo', 'remote_echo']))
  expect(listed._meta?.['sallyport.dev/unavailable']).toEqual(
    expect.arrayContaining([expect.objectContaining({ server: 'dead' }), expect.objectContaining({ server: 'hanging' })]),
  )
  await client.close()
  for (const name of ['dead', 'hanging']) await cluster.admin(deleteResource, { kind: 'app', name })
})

describe('a set', () => {
  beforeAll(async () => {
    await cluster.save({
      kind: 'mcp_set',
      version: 'v1',
      metadata: { name: 'few' },
      spec: {
        servers: { labels: { kind: 'everything' }, names: ['local', 'secret'] },
        tools: { include: ['everything/get-*', 'local/echo', 'secret/*'], exclude: ['get-tiny-image', '^get-resource-.*$'] },
        rename: [{ server: 'local', tool: 'echo', name: 'say' }],
        instructions: 'Say what you have to say.',
      },
    })
    await cluster.save({
      kind: 'mcp_set',
      version: 'v1',
      metadata: { name: 'searched' },
      spec: { servers: { names: ['everything'] }, discovery: 'search' },
    })
  })

  it('that does not exist is absent, and one without servers for the caller is empty', async () => {
    await expect(connect('alice', '/mcp/sets/none')).rejects.toThrow('MCP set')
    const client = await connect('mo', '/mcp/sets/few')
    expect(await namesOf(client)).toEqual([])
    await client.close()
  })

  it('shows its servers and tools as far as the caller may use them, under its names', async () => {
    const client = await connect('alice', '/mcp/sets/few')
    expect(client.getInstructions()).toContain('Say what you have to say.')
    expect((await namesOf(client)).toSorted()).toEqual([
      'everything_get-annotated-message',
      'everything_get-structured-content',
      'everything_get-sum',
      'say',
    ])
    expect(await client.callTool({ name: 'say', arguments: { text: 'hello' } })).toMatchObject({ content: [{ text: 'hello' }] })
    for (const name of ['local_echo', 'local_pid', 'everything_echo', 'everything_get-tiny-image', 'secret_echo', 'remote_echo'])
      await expect(client.callTool({ name, arguments: {} })).rejects.toMatchObject({ code: -32602 })
    await client.close()
  })

  it('may be searched instead of listed', async () => {
    const client = await connect('alice', '/mcp/sets/searched')
    expect((await namesOf(client)).toSorted()).toEqual(['call_tool', 'search_tools'])
    const found = await client.callTool({ name: 'search_tools', arguments: { query: 'sum of two numbers' } })
    expect(JSON.stringify(found)).toContain('everything_get-sum')
    const call = (name: string, args: object) => client.callTool({ name: 'call_tool', arguments: { name, arguments: args } })
    expect(await call('everything_get-sum', { a: 2, b: 2 })).toMatchObject({ content: [{ text: 'The sum of 2 and 2 is 4.' }] })
    await expect(call('everything_get-env', {})).rejects.toMatchObject({ code: -32602 })
    await client.close()
  })
})

it('names are the same after a server went and came back, and after a restart', { timeout: 60_000 }, async () => {
  const tools = async (): Promise<string[]> => {
    const client = await connect('alice')
    const names = await namesOf(client)
    await client.close()
    return names
  }
  const before = await tools()
  await cluster.admin(deleteResource, { kind: 'app', name: 'local' })
  expect(await tools()).toEqual(before.filter((name) => !name.startsWith('local_')))
  await cluster.saveStdioApp('local', process.execPath, [ECHO_STDIO])
  expect(await tools()).toEqual(before)
  await cluster.restart()
  const client = await connect('alice')
  // A name is known before any list was asked for.
  expect(await client.callTool({ name: 'local_echo', arguments: { text: 'again' } })).toMatchObject({ content: [{ text: 'again' }] })
  expect(await namesOf(client)).toEqual(before)
  await client.close()
})
