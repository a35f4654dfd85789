import { describe, expect, it } from 'vitest'
import { type EraScript, rpcError } from '../../../../test/fakes/era-upstream.ts'
import { result } from '../../../../test/fakes/memory-upstream.ts'
import { eventsOf, never, notification, request, response } from '../../../../test/fakes/outgoing.ts'
import { eventually } from '../../../../test/wait.ts'
import type { Fields } from '../../message.ts'
import type { Outgoing, Reply, UpstreamSession } from '../../upstream/upstream.ts'
import { eventOf, objectOf, readMessage } from '../compose.ts'
import { AppError } from '../../../lib/errors.ts'
import { answerTo, DONE, open, paramsAt, send } from './session.fixture.ts'

// Tasks of a client of 2025-11-25 before a server with the tasks extension of 2026-07-28.

const TIMES = { createdAt: '2026-11-21T00:00:00Z', lastUpdatedAt: '2026-11-21T00:00:01Z', ttlMs: 60_000, pollIntervalMs: 500 }
const LEGACY_TIMES = { createdAt: '2026-11-21T00:00:00Z', lastUpdatedAt: '2026-11-21T00:00:01Z', ttl: 60_000, pollInterval: 500 }
const CALL = { name: 't', arguments: {}, task: { ttl: 1000 } }
const EXTENSION = { 'io.modelcontextprotocol/tasks': {} }
const RELATED = { 'io.modelcontextprotocol/related-task': { taskId: 't-1' } }
const CAPABILITIES = 'io.modelcontextprotocol/clientCapabilities'
const ELICIT = { method: 'elicitation/create', params: { mode: 'form', message: 'Who?', requestedSchema: { type: 'object' } } }

/** A server that makes a task of every call and answers `tasks/get` by these states, the last one for ever. */
function working(states: object[], more: Record<string, (message: Outgoing) => Reply> = {}): EraScript {
  return (message) => {
    const { method } = message
    const own = method === undefined ? undefined : more[method]
    if (own) return own(message)
    if (method === 'tools/call') return result(message, JSON.stringify({ resultType: 'task', taskId: 't-1', status: 'working', ...TIMES }))
    if (method !== 'tasks/get') return result(message, '{"resultType":"complete"}')
    const state = states.length > 1 ? states.shift() : states[0]
    return result(message, JSON.stringify({ resultType: 'complete', taskId: 't-1', ...TIMES, ...state }))
  }
}

const CANCELLED = new AppError('cancelled', 'the wait was cancelled')
const COMPLETED = { status: 'completed', result: { content: [{ type: 'text', text: 'done' }], resultType: 'complete' } }

/** Waits for as long as anybody wants it to. */
const untilAborted = (_ms: number, signal: AbortSignal): Promise<never> =>
  new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(CANCELLED), { once: true }))

const about = (id: string, method: string, taskId = 't-1'): Outgoing => request(id, method, { taskId })
const begin = (session: UpstreamSession): Promise<unknown> => answerTo(session, request('1', 'tools/call', CALL))

/** Reads a stream to its end, answering every question with `answer`. */
async function follow(session: UpstreamSession, reply: Reply, answer: object): Promise<Fields[]> {
  const seen: Fields[] = []
  for await (const { data } of eventsOf(reply)) {
    const message = readMessage(data) ?? {}
    seen.push(message)
    if (message['id'] === undefined || message['method'] === undefined) continue
    const bytes = Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: message['id'], ...answer }))
    await send(session, { ...response(JSON.stringify(message['id']), {}), bytes })
  }
  return seen
}

describe('refused is', () => {
  it.each(['tasks/get', 'tasks/result', 'tasks/cancel'])('a task that this session did not make: %s', async (method) => {
    const { session, inner } = await open(working([COMPLETED]))
    await begin(session)
    const message = 'this session has no such task'
    expect(await answerTo(session, about('2', method, 't-2'))).toEqual({ jsonrpc: '2.0', id: 2, error: { code: -32602, message } })
    expect(inner.arrived).toHaveLength(1)
  })

  it.each([['2025-06-18'], ['2024-11-05']])('every task where the client’s revision %s has none', async (protocolVersion) => {
    const { session, inner } = await open(() => result(request('1', 'x'), DONE), { who: { protocolVersion } })
    await begin(session)
    expect(await answerTo(session, request('2', 'tasks/list'))).toMatchObject({ error: { code: -32601 } })
    expect(paramsAt(inner, 0)).not.toHaveProperty('task')
    expect(JSON.stringify(paramsAt(inner, 0))).not.toContain('io.modelcontextprotocol/tasks')
  })

  it('a task that cannot be read, and one of a call that asked for none', async () => {
    const { session } = await open((message) => result(message, '{"resultType":"task","taskId":7}'))
    expect(await begin(session)).toMatchObject({ result: { isError: true } })
    expect(await answerTo(session, request('2', 'tools/call', { name: 't' }))).toMatchObject({ result: { isError: true } })
  })

  it('one more than a session may have, before it reaches the server', async () => {
    let count = 0
    const { session, inner } = await open((message) =>
      result(message, JSON.stringify({ resultType: 'task', taskId: `t-${++count}`, status: 'working' })),
    )
    for (let at = 0; at < 200; at++) await begin(session)
    await expect(begin(session)).rejects.toMatchObject({ code: 'resource_exhausted' })
    expect(inner.arrived).toHaveLength(200)
  })
})

describe('a task', () => {
  it('is asked for with the extension, and shown as 2025-11-25 has it', async () => {
    const { session, inner } = await open(working([{ status: 'working', statusMessage: 'half' }]))
    expect(await begin(session)).toEqual({
      jsonrpc: '2.0',
      id: 1,
      result: { task: { taskId: 't-1', status: 'working', ...LEGACY_TIMES } },
    })
    expect(paramsAt(inner, 0)).not.toHaveProperty('task')
    expect(objectOf(paramsAt(inner, 0)['_meta'])?.[CAPABILITIES]).toMatchObject({ extensions: EXTENSION })
    expect(await answerTo(session, about('2', 'tasks/get'))).toEqual({
      jsonrpc: '2.0',
      id: 2,
      result: { taskId: 't-1', status: 'working', statusMessage: 'half', ...LEGACY_TIMES },
    })
    expect(inner.arrived[1]).toMatchObject({ headers: { 'mcp-name': 't-1' }, message: { method: 'tasks/get' } })
    expect(await answerTo(session, request('3', 'tasks/list'))).toMatchObject({ result: { tasks: [{ taskId: 't-1' }] } })
    await answerTo(session, request('4', 'tools/call', { name: 't' }))
    expect(JSON.stringify(paramsAt(inner, 2))).not.toContain('io.modelcontextprotocol/tasks')
  })

  it('with a status that nobody knows is at work', async () => {
    const { session } = await open(working([{ status: 'paused' }]))
    await begin(session)
    expect(await answerTo(session, about('2', 'tasks/get'))).toMatchObject({
      result: { status: 'working', statusMessage: 'the MCP server says "paused"' },
    })
  })

  it('has its result as soon as it is over', async () => {
    const { session } = await open(working([{ status: 'working' }, { status: 'working' }, COMPLETED]))
    await begin(session)
    const reply = await send(session, about('2', 'tasks/result'))
    const answer = { jsonrpc: '2.0', id: 2, result: { content: [{ type: 'text', text: 'done' }], _meta: RELATED } }
    expect(await follow(session, reply, {})).toEqual([answer])
    expect(await answerTo(session, about('3', 'tasks/result'))).toEqual({ ...answer, id: 3 })
    expect(await answerTo(session, about('4', 'tasks/cancel'))).toMatchObject({ error: { code: -32602 } })
  })

  it.each([
    ['a tool that failed', { status: 'completed', result: { content: [], isError: true } }, { result: { isError: true, _meta: RELATED } }],
    ['an error', { status: 'failed', error: { code: -32000, message: 'no' } }, { error: { code: -32000, message: 'no' } }],
    ['nothing', { status: 'failed' }, { error: { code: -32603 } }],
  ])('ends with %s', async (_, state, outcome) => {
    const { session } = await open(working([state]))
    await begin(session)
    expect(await answerTo(session, about('2', 'tasks/get'))).toMatchObject({ result: { status: 'failed' } })
    expect(await answerTo(session, about('3', 'tasks/result'))).toMatchObject(outcome)
  })

  it('that the server forgot is forgotten', async () => {
    const { session } = await open(working([COMPLETED], { 'tasks/get': (message) => rpcError(message, -32602) }))
    await begin(session)
    expect(await answerTo(session, about('2', 'tasks/get'))).toMatchObject({ error: { code: -32602, message: 'error -32602' } })
    expect(await answerTo(session, request('3', 'tasks/list'))).toMatchObject({ result: { tasks: [] } })
  })

  it('is made by the gateway when the server answers at once', async () => {
    const { session, inner } = await open((message) => result(message, '{"content":[],"isError":true,"resultType":"complete"}'))
    const begun = readMessage(JSON.stringify(await begin(session)))
    const task = objectOf(objectOf(begun?.['result'])?.['task'])
    expect(task).toMatchObject({ status: 'failed', ttl: 600_000, createdAt: '1970-01-01T00:00:00.000Z' })
    const taskId = String(task?.['taskId'])
    expect(await answerTo(session, about('2', 'tasks/get', taskId))).toMatchObject({ result: { status: 'failed', taskId } })
    expect(await answerTo(session, about('3', 'tasks/result', taskId))).toMatchObject({
      result: { isError: true, _meta: { 'io.modelcontextprotocol/related-task': { taskId } } },
    })
    expect(inner.arrived).toHaveLength(1)
  })

  it('is not made of an error', async () => {
    const { session } = await open((message) => rpcError(message, -32602))
    expect(await begin(session)).toMatchObject({ error: { code: -32602 } })
  })

  it('can be cancelled, and stays so', async () => {
    const { session, inner } = await open(working([{ status: 'working' }, COMPLETED]))
    await begin(session)
    expect(await answerTo(session, about('2', 'tasks/cancel'))).toMatchObject({ result: { taskId: 't-1', status: 'cancelled' } })
    expect(inner.arrived[1]?.message).toMatchObject({ method: 'tasks/cancel', params: { taskId: 't-1' } })
    expect(await answerTo(session, about('3', 'tasks/get'))).toMatchObject({ result: { status: 'cancelled' } })
    expect(await answerTo(session, about('4', 'tasks/result'))).toMatchObject({ error: { code: -32602 } })
  })

  it('is waited for by four requests at most: the oldest gives way', async () => {
    const { session } = await open(working([{ status: 'working' }]), { limits: { wait: untilAborted } })
    await begin(session)
    const replies: Promise<Fields[]>[] = []
    for (const id of ['2', '3', '4', '5', '6']) replies.push(follow(session, await send(session, about(id, 'tasks/result')), {}))
    expect(await replies[0]).toMatchObject([{ id: 2, error: { code: -32603 } }])
    const all = Promise.allSettled(replies)
    await session.close()
    expect((await all).map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected', 'rejected', 'rejected'])
  })

  it('that is cancelled ends the wait for its result', async () => {
    const { session } = await open(working([{ status: 'working' }]), { limits: { wait: untilAborted } })
    await begin(session)
    const waiting = follow(session, await send(session, about('2', 'tasks/result')), {})
    await answerTo(session, about('3', 'tasks/cancel'))
    expect(await waiting).toMatchObject([{ id: 2, error: { code: -32602, message: 'the task was cancelled: it has no result' } }])
  })
})

describe('a task that asks', () => {
  const ASKING = { status: 'input_required', inputRequests: { who: ELICIT } }

  it('asks on the stream of tasks/result, once, and gets the answer by tasks/update', async () => {
    const { session, inner } = await open(working([ASKING, ASKING, COMPLETED]))
    await begin(session)
    const reply = await send(session, about('2', 'tasks/result'))
    const seen = await follow(session, reply, { result: { action: 'accept', content: { name: 'Ada' } } })
    expect(seen).toMatchObject([
      { method: 'elicitation/create', params: { message: 'Who?', _meta: RELATED } },
      { id: 2, result: { content: [{ text: 'done' }], _meta: RELATED } },
    ])
    expect(inner.arrived.map(({ message }) => message['method'])).toEqual([
      'tools/call',
      'tasks/get',
      'tasks/update',
      'tasks/get',
      'tasks/get',
    ])
    expect(paramsAt(inner, 2)).toMatchObject({
      taskId: 't-1',
      inputResponses: { who: { action: 'accept', content: { name: 'Ada' } } },
    })
  })

  it.each([
    ['what the client refuses', {}, 'the client refused elicitation/create: no (code -1)'],
    ['what the client cannot', { capabilities: {} }, 'asks for elicitation by form, which this client'],
  ])('%s fails in words, and is cancelled at the server', async (_, who, words) => {
    const { session, inner } = await open(working([ASKING]), { who })
    await begin(session)
    const seen = await follow(session, await send(session, about('2', 'tasks/result')), { error: { code: -1, message: 'no' } })
    const content = [{ type: 'text', text: expect.stringContaining(words) }]
    expect(seen.at(-1)).toMatchObject({ id: 2, result: { isError: true, content, _meta: RELATED } })
    expect(await answerTo(session, about('3', 'tasks/get'))).toMatchObject({ result: { status: 'failed' } })
    await eventually('the cancellation', () => inner.arrived.find(({ message }) => message['method'] === 'tasks/cancel'))
  })

  it('asks again when the wait for its result was cancelled', async () => {
    const { session } = await open(working([ASKING]))
    await begin(session)
    const first = eventsOf(await send(session, about('2', 'tasks/result')))[Symbol.asyncIterator]()
    await first.next()
    await send(session, notification('notifications/cancelled', { requestId: 2 }))
    await expect(first.next()).rejects.toMatchObject({ code: 'cancelled' })
    const second = eventsOf(await send(session, about('3', 'tasks/result')))[Symbol.asyncIterator]()
    const { value } = await second.next()
    expect(readMessage(value?.data ?? '')).toMatchObject({ method: 'elicitation/create' })
    await second.return?.()
  })
})

it('changes of a task are told on the stream of the session', async () => {
  const listens: Fields[] = []
  const script: EraScript = (message, signal) => {
    if (message.method !== 'subscriptions/listen') return working([{ status: 'working' }])(message, signal)
    const wanted = objectOf(objectOf(readMessage(message.bytes)?.['params'])?.['notifications']) ?? {}
    listens.push(wanted)
    const told = { taskId: 't-1', status: 'completed', ...TIMES, result: { content: [] } }
    return { kind: 'events', events: streamOf(wanted, told, signal) }
  }
  const { session } = await open(script)
  const events = eventsOf(await session.listen({}, never))[Symbol.asyncIterator]()
  await begin(session)
  const { value } = await events.next()
  expect(readMessage(value?.data ?? '')).toEqual({
    jsonrpc: '2.0',
    method: 'notifications/tasks/status',
    params: { taskId: 't-1', status: 'completed', ...LEGACY_TIMES },
  })
  expect(listens).toContainEqual({ toolsListChanged: true, resourcesListChanged: true, taskIds: ['t-1'] })
  await session.close()
})

/** A subscription that tells of a task, if that is wanted, and stays open. */
async function* streamOf(notifications: Fields, told: object, signal: AbortSignal) {
  yield eventOf({ jsonrpc: '2.0', method: 'notifications/subscriptions/acknowledged', params: { notifications } })
  for (const taskId of ['t-9', 't-1']) {
    if ('taskIds' in notifications) yield eventOf({ jsonrpc: '2.0', method: 'notifications/tasks', params: { ...told, taskId } })
  }
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}
