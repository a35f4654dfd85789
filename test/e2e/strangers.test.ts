import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Cluster, startCluster } from '../cluster.ts'
import { askHttp, openHttp, type RawAnswer } from '../fakes/raw-http.ts'
import { headersOf, openSession } from '../fakes/raw-mcp.ts'
import { type DatedServer, startDatedServer } from '../pairs/dated-server.ts'
import { eventually } from '../wait.ts'

// What a client was given to come back with is of use to nobody else: another user, the same user with other roles, another endpoint, another
// request. Each of them is answered to the letter as if it had been made up.

const MODERN = '2026-07-28'
const LEGACY = '2025-11-25'
const INFO = 'io.modelcontextprotocol/'
const META = {
  [`${INFO}protocolVersion`]: MODERN,
  [`${INFO}clientCapabilities`]: { elicitation: { form: {} }, extensions: { [`${INFO}tasks`]: {} } },
}

let cluster: Cluster
let legacy: DatedServer
let modern: DatedServer
/** Bearer tokens: `narrow` is of ana too. */
const tokens = { ana: '', bob: '', narrow: '' }
type Who = keyof typeof tokens

beforeAll(async () => {
  legacy = await startDatedServer(LEGACY)
  modern = await startDatedServer(MODERN)
  cluster = await startCluster()
  const app = (name: string, uri: string) => ({ kind: 'app', version: 'v3', metadata: { name, labels: { env: 'test' } }, spec: { uri } })
  for (const name of ['old', 'old2']) await cluster.save(app(name, legacy.uri))
  for (const name of ['new', 'new2']) await cluster.save(app(name, modern.uri))
  await cluster.running.agent?.announced()
  await cluster.saveRole('all', { allow: { app_labels: { env: 'test' }, mcp: { tools: ['*'] } } })
  await cluster.saveRole('some', { allow: { app_labels: { env: 'test' }, mcp: { tools: ['*'] } } })
  await cluster.saveUser('ana', ['all', 'some'])
  await cluster.saveUser('bob', ['all', 'some'])
  tokens.ana = await cluster.tokenOf('ana')
  tokens.bob = await cluster.tokenOf('bob')
  tokens.narrow = await cluster.tokenOf('ana', { roles: ['some'] })
}, 60_000)

afterAll(async () => {
  await cluster?.close()
  await legacy?.close()
  await modern?.close()
})

const at = (path: string): URL => new URL(path, cluster.url)

/** One request of the stateless revision. */
function ask(who: Who, path: string, method: string, params: Record<string, unknown>, id = 1): Promise<RawAnswer> {
  const name = params['name'] ?? params['taskId']
  const headers = { 'mcp-protocol-version': MODERN, 'mcp-method': method, ...(typeof name === 'string' && { 'mcp-name': name }) }
  const body = JSON.stringify({ jsonrpc: '2.0', id, method, params: { ...params, _meta: META } })
  return askHttp(at(path), { headers: headersOf(tokens[who], headers), body })
}

/** The message in an answer, as JSON or the last of its events. */
function messageOf({ text }: RawAnswer): { result?: Record<string, unknown>; error?: { code: number; message: string } } {
  return JSON.parse(
    text.startsWith('{')
      ? text
      : (text
          .match(/^data: (.+)$/gm)
          ?.at(-1)
          ?.slice('data: '.length) ?? 'null'),
  )
}

function inSession(who: Who, path: string, session: string, message: unknown, method = 'POST'): Promise<RawAnswer> {
  const headers = headersOf(tokens[who], { 'mcp-session-id': session, 'mcp-protocol-version': LEGACY })
  return askHttp(at(path), { method, headers, ...(method === 'POST' && { body: JSON.stringify(message) }) })
}

/** All that a stranger could tell one refusal from another by. */
const shown = ({ status, text, headers }: RawAnswer) => ({
  status,
  text,
  headers: Object.fromEntries(Object.entries(headers).filter(([name]) => name !== 'date')),
})

/** The same text with one byte changed: the first, one in the middle, the last. */
function altered(text: string): string[] {
  return [0, text.length >> 1, text.length - 1].map(
    (place) => `${text.slice(0, place)}${text[place] === 'A' ? 'B' : 'A'}${text.slice(place + 1)}`,
  )
}

describe('the id of a session', () => {
  test.each(['/mcp/apps/old', '/mcp/apps/new', '/mcp'])('at %s', async (path) => {
    const session = await openSession(at(path), tokens.ana)
    const made = `${session.slice(0, 4)}${'x'.repeat(session.length - 4)}`
    const ping = { jsonrpc: '2.0', id: 7, method: 'ping' }
    const elsewhere = ['/mcp/apps/old', '/mcp/apps/old2', '/mcp/apps/new2', '/mcp'].filter((other) => other !== path)
    for (const method of ['POST', 'GET', 'DELETE']) {
      const unknown = shown(await inSession('bob', path, 'made-up', ping, method))
      expect(unknown).toMatchObject({ status: 404 })
      for (const id of [session, made, ...altered(session)])
        expect([id === session, method, shown(await inSession('bob', path, id, ping, method))]).toEqual([id === session, method, unknown])
      for (const id of [made, ...altered(session)])
        expect(shown(await inSession('ana', path, id, ping, method))).toEqual(shown(await inSession('ana', path, 'made-up', ping, method)))
      for (const other of elsewhere)
        expect([other, shown(await inSession('ana', other, session, ping, method))]).toEqual([
          other,
          shown(await inSession('ana', other, 'made-up', ping, method)),
        ])
    }
    expect((await inSession('ana', path, session, ping)).status).toBe(200)
  })
})

test('the place in a stream', async () => {
  const url = at('/mcp/apps/old')
  const session = await openSession(url, tokens.ana)
  const own = { 'mcp-session-id': session, 'mcp-protocol-version': LEGACY }
  const body = '{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"progress","arguments":{},"_meta":{"progressToken":"t"}}}'
  const { text } = await askHttp(url, { headers: headersOf(tokens.ana, own), body })
  const [first] = [...text.matchAll(/^id: (\S+)$/gm)].map(([, id]) => id ?? '')
  expect(first).toBeDefined()
  const comeBack = (who: Who, id: string, lastEventId = first ?? '') =>
    openHttp(url, {
      method: 'GET',
      headers: headersOf(tokens[who], { ...own, 'mcp-session-id': id, accept: 'text/event-stream', 'last-event-id': lastEventId }),
    })
  /** What a stream has to say before the next news of the server. */
  const heard = async (who: Who, id: string, lastEventId?: string): Promise<string[]> => {
    const stream = await comeBack(who, id, lastEventId)
    expect(stream.status).toBe(200)
    legacy.toolsChanged()
    await eventually('news', () => stream.text().includes('list_changed') || undefined)
    stream.leave()
    return stream.text().match(/^data: .+$/gm) ?? []
  }
  const news = ['data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{}}']
  const bobs = await openSession(url, tokens.bob)
  const second = await openSession(url, tokens.ana)
  expect((await comeBack('bob', session)).status).toBe(404)
  expect(await heard('bob', bobs)).toEqual(news)
  expect(await heard('ana', second)).toEqual(news)
  for (const id of ['made-up', ...altered(first ?? '')]) expect(await heard('ana', session, id)).toEqual(news)
  expect(await (await comeBack('ana', session)).ended).toContain('"id":3')
})

describe('the state of a question', () => {
  const call = { name: 'elicit', arguments: {} }
  const answers = { inputResponses: { name: { action: 'accept', content: { name: 'Ada' } } } }
  const begin = async (who: Who, path: string, name = 'elicit'): Promise<{ requestState: string; inputResponses: object }> => {
    const { result } = messageOf(await ask(who, path, 'tools/call', { ...call, name }))
    if (typeof result?.['requestState'] !== 'string') throw new Error(JSON.stringify(result))
    const [key] = Object.keys(result['inputRequests'] ?? {})
    return { requestState: result['requestState'], inputResponses: { [key ?? '']: answers.inputResponses.name } }
  }

  test.each([
    { path: '/mcp/apps/old', other: '/mcp/apps/old2', name: 'elicit', otherName: 'elicit' },
    { path: '/mcp', other: '/mcp', name: 'old_elicit', otherName: 'old2_elicit' },
  ])('at $path', async ({ path, other, name, otherName }) => {
    if (path === '/mcp') await ask('ana', path, 'tools/list', {})
    const given = await begin('ana', path, name)
    const again = (who: Who, where: string, params: Record<string, unknown>) =>
      ask(who, where, 'tools/call', { ...call, name, ...given, ...params })
    const made = shown(await again('bob', path, { requestState: 'made-up' }))
    expect(messageOf({ ...made, headers: {} }).error).toMatchObject({ code: -32602 })
    const refused: Promise<RawAnswer>[] = [
      again('bob', path, {}),
      again('narrow', path, {}),
      again('ana', other, { name: otherName }),
      again('ana', path, { arguments: { a: 1 } }),
      again('ana', path, { requestState: `${given.requestState}A` }),
      ...altered(given.requestState).map((requestState) => again('ana', path, { requestState })),
    ]
    for (const answer of await Promise.all(refused)) expect(shown(answer)).toEqual(made)
    expect(messageOf(await again('ana', path, {})).result).toMatchObject({ content: [{ text: 'accept Ada' }] })
    expect(shown(await again('ana', path, {}))).toEqual(made)
  })
})

describe('the id of a task', () => {
  test('of the stateless revision, at a server with sessions', async () => {
    const begun = messageOf(await ask('ana', '/mcp/apps/old', 'tools/call', { name: 'job-waits', arguments: {} })).result
    const taskId = String(begun?.['taskId'])
    expect(begun).toMatchObject({ resultType: 'task' })
    for (const method of ['tasks/get', 'tasks/update', 'tasks/cancel']) {
      const with_ = method === 'tasks/update' ? { inputResponses: {} } : {}
      const made = shown(await ask('bob', '/mcp/apps/old', method, { ...with_, taskId: 'made-up' }))
      expect(made.text).toContain('-32602')
      for (const id of [taskId, ...altered(taskId)])
        expect(shown(await ask('bob', '/mcp/apps/old', method, { ...with_, taskId: id }))).toEqual(made)
      expect(shown(await ask('narrow', '/mcp/apps/old', method, { ...with_, taskId }))).toEqual(made)
      expect(shown(await ask('ana', '/mcp/apps/old2', method, { ...with_, taskId }))).toEqual(made)
    }
    expect(messageOf(await ask('ana', '/mcp/apps/old', 'tasks/get', { taskId })).result).toMatchObject({ status: 'working' })
  })

  test('of a session, at a server of the stateless revision', async () => {
    const path = '/mcp/apps/new'
    const session = await openTaskSession('ana', path)
    const begin = { jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'job-waits', arguments: {}, task: { ttl: 60_000 } } }
    const begun = messageOf(await inSession('ana', path, session, begin)).result
    const taskId = String(Object(begun?.['task']).taskId)
    const of = (method: string, id: string) => ({ jsonrpc: '2.0', id: 3, method, params: { taskId: id } })
    const bobs = await openTaskSession('bob', path)
    const second = await openTaskSession('ana', path)
    for (const method of ['tasks/get', 'tasks/result', 'tasks/cancel']) {
      const made = shown(await inSession('bob', path, bobs, of(method, 'made-up')))
      expect(messageOf({ ...made, headers: {} }).error).toMatchObject({ code: -32602 })
      for (const id of [taskId, ...altered(taskId)]) expect(shown(await inSession('bob', path, bobs, of(method, id)))).toEqual(made)
      expect(shown(await inSession('ana', path, second, of(method, taskId)))).toEqual(made)
    }
    const listed = messageOf(await inSession('bob', path, bobs, { jsonrpc: '2.0', id: 4, method: 'tasks/list', params: {} }))
    expect(listed.result).toEqual({ tasks: [] })
    expect(messageOf(await inSession('ana', path, session, of('tasks/get', taskId))).result).toMatchObject({ status: 'working' })
  })
})

async function openTaskSession(who: Who, path: string): Promise<string> {
  const capabilities = { tasks: {}, elicitation: {} }
  const params = { protocolVersion: LEGACY, capabilities, clientInfo: { name: 'raw', version: '1' } }
  const body = JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'initialize', params })
  const { headers } = await askHttp(at(path), { headers: headersOf(tokens[who]), body })
  return String(headers['mcp-session-id'])
}

test.each([
  { path: '/mcp/apps/old', server: () => legacy },
  { path: '/mcp/apps/new', server: () => modern },
])('what one session subscribed to, no other ends: $path', async ({ path, server }) => {
  const uri = 'note://one'
  const subscribe = { jsonrpc: '2.0', id: 5, method: 'resources/subscribe', params: { uri } }
  const anas = await openSession(at(path), tokens.ana)
  const bobs = await openSession(at(path), tokens.bob)
  expect((await inSession('ana', path, anas, subscribe)).status).toBe(200)
  await eventually('the subscription', async () => server().subscribers(uri) === 1 || undefined)
  await inSession('bob', path, bobs, { ...subscribe, method: 'resources/unsubscribe' })
  await inSession('bob', path, bobs, { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 5 } })
  expect(server().subscribers(uri)).toBe(1)
  await inSession('ana', path, anas, { ...subscribe, id: 6, method: 'resources/unsubscribe' })
  await eventually('the end of the subscription', async () => server().subscribers(uri) === 0 || undefined)
})

test.each(['/mcp/apps/old', '/mcp/apps/new'])('ids and progress tokens are counted by each session for itself: %s', async (path) => {
  const sessions = { ana: await openSession(at(path), tokens.ana), bob: await openSession(at(path), tokens.bob) }
  const wait = (name: string) => ({
    jsonrpc: '2.0',
    id: 1,
    method: 'tools/call',
    params: { name, arguments: {}, _meta: { progressToken: 1 } },
  })
  const post = (who: 'ana' | 'bob', message: unknown) => {
    const headers = headersOf(tokens[who], { 'mcp-session-id': sessions[who], 'mcp-protocol-version': LEGACY })
    return openHttp(at(path), { headers, body: JSON.stringify(message) })
  }
  const anas = await post('ana', wait('wait'))
  await eventually('her progress', async () => anas.text().includes('notifications/progress') || undefined)
  const bobs = await post('bob', wait('progress'))
  expect((await bobs.ended).match(/"progress":\d/g)).toEqual(['"progress":1', '"progress":2'])
  // A cancellation of his, of the same id, is none of hers.
  await inSession('bob', path, sessions.bob, { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } })
  expect(anas.text().match(/"progress":\d/g)).toEqual(['"progress":1'])
  expect(anas.text()).not.toContain('"error"')
  const before = path.endsWith('old') ? legacy.cancelled() : modern.cancelled()
  await inSession('ana', path, sessions.ana, { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } })
  await eventually('her cancellation', async () => (path.endsWith('old') ? legacy : modern).cancelled() === before + 1 || undefined)
})

describe('after a restart', () => {
  test('what was given out before is as unknown as what was made up', { timeout: 60_000 }, async () => {
    const path = '/mcp/apps/old'
    const session = await openSession(at(path), tokens.ana)
    const { result } = messageOf(await ask('ana', path, 'tools/call', { name: 'elicit', arguments: {} }))
    const begun = messageOf(await ask('ana', path, 'tools/call', { name: 'job-waits', arguments: {} })).result
    const all = await openSession(at('/mcp'), tokens.ana)
    await cluster.restart()
    const ping = { jsonrpc: '2.0', id: 7, method: 'ping' }
    const state = { name: 'elicit', arguments: {}, requestState: result?.['requestState'], inputResponses: {} }
    expect(shown(await inSession('ana', path, session, ping))).toEqual(shown(await inSession('ana', path, 'made-up', ping)))
    expect(shown(await ask('ana', path, 'tools/call', state))).toEqual(
      shown(await ask('ana', path, 'tools/call', { ...state, requestState: 'made-up' })),
    )
    expect(shown(await ask('ana', path, 'tasks/get', { taskId: begun?.['taskId'] }))).toEqual(
      shown(await ask('ana', path, 'tasks/get', { taskId: 'made-up' })),
    )
    // The one URL goes on where it was, for its owner alone.
    expect((await inSession('ana', '/mcp', all, ping)).status).toBe(200)
    for (const id of [all, ...altered(all)])
      expect(shown(await inSession('bob', '/mcp', id, ping))).toEqual(shown(await inSession('bob', '/mcp', 'made-up', ping)))
  })
})
