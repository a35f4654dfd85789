import { afterAll, beforeAll, expect, test } from 'vitest'
import { deleteApiToken, listApiTokens } from '../../src/api/api-tokens.ts'
import { deleteResource } from '../../src/api/resources.ts'
import { resetUser } from '../../src/api/users.ts'
import { loadHostId } from '../../src/cli/server/host-id.ts'
import { type AuditEvent, type Cluster, startCluster } from '../cluster.ts'
import { openHttp, type RawAnswer } from '../fakes/raw-http.ts'
import { headersOf, openSession, postMessage } from '../fakes/raw-mcp.ts'
import { ECHO_STDIO } from '../fakes/stdio-app.ts'
import { AT_ONCE_MS, eventually, within } from '../wait.ts'

// What an administrator does holds at once: for requests under way, open streams, running programs, and whatever comes next.

let cluster: Cluster

beforeAll(async () => {
  cluster = await startCluster()
  await cluster.saveStdioApp('local', process.execPath, [ECHO_STDIO])
  await cluster.saveRole('other', {})
})

afterAll(() => cluster.close())

const call = (id: string, params: string) => `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":${params}}`

interface Live {
  bearer: string
  id: string
  /** Ends with what the client was told. */
  request: Promise<RawAnswer>
  stream: Promise<string>
  child: Promise<void>
}

/** A user with a request under way, an open stream, and a program that serves the session. */
async function live(user: string): Promise<Live> {
  const bearer = await cluster.tokenOf(user)
  const id = await openSession(cluster.mcpUrl('local'), bearer)
  const pid = Number(
    JSON.parse((await postMessage(cluster.mcpUrl('local'), bearer, id, call('1', '{"name":"pid"}'))).text).result.content[0].text,
  )
  const stream = await openHttp(cluster.mcpUrl('local'), { method: 'GET', headers: headersOf(bearer, { 'mcp-session-id': id }) })
  const request = postMessage(cluster.mcpUrl('local'), bearer, id, call('2', '{"name":"hang"}'))
  await eventually('the request at the server', async () => {
    const { text } = await postMessage(cluster.mcpUrl('local'), bearer, id, call('3', '{"name":"received"}'))
    return text.includes('hang') || undefined
  })
  const child = eventually(`the end of process ${pid}`, () => (isRunning(pid) ? undefined : true)).then(() => undefined)
  return { bearer, id, request, stream: stream.ended, child }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

interface Way {
  what: string
  /** What the client is told. */
  why: string
  status?: number
  act: (user: string) => Promise<unknown>
  /** So that the next one finds all as it was. */
  undo?: (user: string) => Promise<unknown>
}

const saveLocal = (env: string) => cluster.saveStdioApp('local', process.execPath, [ECHO_STDIO], { env })

const WAYS: Way[] = [
  { what: 'a lock of the user', why: 'lock targeting user:"u0" is in force: lunch', act: (user) => lock(user, { user }) },
  {
    what: 'a lock of the role',
    why: 'lock targeting role:"role-u1" is in force: lunch',
    act: (user) => lock(user, { role: `role-${user}` }),
  },
  {
    what: 'a lock of the host',
    why: 'is in force: lunch',
    act: async (user) => lock(user, { server_id: await loadHostId(cluster.dataDirectory) }),
    undo: (user) => cluster.admin(deleteResource, { kind: 'lock', name: user }),
  },
  { what: 'the end of the user', why: 'no longer exists', act: (user) => cluster.admin(deleteResource, { kind: 'user', name: user }) },
  { what: 'a reset of the user', why: 'no longer exists', act: (user) => cluster.admin(resetUser, { name: user }) },
  { what: 'the end of the token', why: 'was revoked', act: revoke },
  {
    what: 'the loss of the role',
    why: 'denied',
    act: (user) => cluster.save({ kind: 'user', version: 'v2', metadata: { name: user }, spec: { roles: ['other'] } }),
  },
  {
    what: 'another rule about servers',
    why: 'denied',
    act: (user) => cluster.saveRole(`role-${user}`, { allow: { app_labels: { env: 'none' } } }),
  },
  { what: 'another label of the server', why: 'denied', act: () => saveLocal('none'), undo: () => saveLocal('test') },
  {
    what: 'the end of the server',
    why: 'no longer served',
    status: 404,
    act: () => cluster.admin(deleteResource, { kind: 'app', name: 'local' }),
    undo: () => saveLocal('test'),
  },
]

test.each(WAYS)('$what ends request, stream and program at once, and that is recorded once', async ({ why, status = 403, act, undo }) => {
  const user = `u${users++}`
  await cluster.saveRole(`role-${user}`, { allow: { app_labels: { env: 'test' }, mcp: { tools: ['*'] } } })
  await cluster.saveUser(user, [`role-${user}`])
  const { bearer, id, request, stream, child } = await live(user)
  await act(user)
  const [answer, streamed] = await within(`the end of all after ${why}`, Promise.all([request, stream, child]), AT_ONCE_MS)
  expect(answer.status).toBe(status)
  expect(JSON.parse(answer.text)).toMatchObject({ id: 2, error: { message: expect.stringContaining(why) } })
  expect(streamed).toContain(why)
  const next = await postMessage(cluster.mcpUrl('local'), bearer, id, call('3', '{"name":"pid"}'))
  expect([401, 403, 404]).toContain(next.status)
  if (why.startsWith('lock')) expect(next).toMatchObject({ status: 403, text: expect.stringContaining('is in force: lunch') })
  const failure = { success: false, outcome: 'failure' }
  expect(await cluster.eventsOnceThere({ type: 'mcp.session.end', user }, 1)).toMatchObject([
    { ...failure, reason: expect.stringContaining(why) },
  ])
  expect(await cluster.eventsOnceThere({ type: 'mcp.session.request', user, tool: 'hang' }, 1)).toMatchObject([
    { ...failure, error: expect.stringContaining(why) },
  ])
  await undo?.(user)
})
let users = 0

async function lock(name: string, target: Record<string, string>): Promise<void> {
  await cluster.save({ kind: 'lock', version: 'v2', metadata: { name }, spec: { target, message: 'lunch' } })
}

async function revoke(user: string): Promise<void> {
  const { items } = await cluster.admin(listApiTokens, { user })
  for (const { id } of items) await cluster.admin(deleteApiToken, { id })
}

test('the next call and the next list obey a changed role, a changed user too', async () => {
  await cluster.saveRole('changing', { allow: { app_labels: { env: 'test' }, mcp: { tools: ['echo'] } } })
  await cluster.saveUser('zoe', ['changing', 'other'])
  const bearer = await cluster.tokenOf('zoe')
  const id = await openSession(cluster.mcpUrl('local'), bearer)
  const ask = async (): Promise<AuditEvent> =>
    JSON.parse((await postMessage(cluster.mcpUrl('local'), bearer, id, call('1', '{"name":"echo"}'))).text)
  for (let round = 0; round < 5; round++) {
    expect(await ask()).toHaveProperty('result')
    await cluster.saveRole('changing', { allow: { app_labels: { env: 'test' }, mcp: { tools: ['nothing'] } } })
    expect(await ask()).toMatchObject({ error: { code: -32602 } })
    await cluster.saveRole('changing', { allow: { app_labels: { env: 'test' }, mcp: { tools: ['echo'] } } })
    expect(await ask()).toHaveProperty('result')
    await cluster.save({ kind: 'user', version: 'v2', metadata: { name: 'zoe' }, spec: { roles: ['changing'] } })
  }
})
