import { describe, expect, it } from 'vitest'
import { faultOf } from '../../../../test/fakes/outgoing.ts'
import { type Fields, fieldsOf } from '../../message.ts'
import { connectModern, createLegacyServer, type LegacyServer, type ModernClient, type PlayedCall } from './legacy-server.fixture.ts'

// Tasks of a client of 2026-07-28 with the tasks extension before a server of 2025-11-25 with tasks of the core.

const CAN = { can: { elicitation: {}, extensions: { 'io.modelcontextprotocol/tasks': {} } } }
const TASKS = { list: {}, cancel: {}, requests: { tools: { call: {} } } }
const TIMES = { createdAt: '1970-01-01T00:00:01Z', lastUpdatedAt: '1970-01-01T00:00:01Z', ttl: 7_200_000, pollInterval: 500 }
const MODERN_TIMES = { createdAt: '1970-01-01T00:00:01Z', lastUpdatedAt: '1970-01-01T00:00:01Z', ttlMs: 7_200_000, pollIntervalMs: 500 }
const LISTED = {
  tools: [
    { name: 'slow', execution: { taskSupport: 'required' } },
    { name: 'either', execution: { taskSupport: 'optional' } },
    { name: 'quick' },
  ],
}
const RELATED = { 'io.modelcontextprotocol/related-task': { taskId: 's-1' } }
const FORM = { message: 'Who?', requestedSchema: { type: 'object' } }

type Play = (call: PlayedCall) => unknown

/** A server that makes a task of every call that asks for one. */
function createTaskServer(more: Record<string, Play> = {}): LegacyServer {
  const server = createLegacyServer((call) => {
    const own = more[call.method]
    if (own) return void own(call)
    if (call.method === 'tools/list') return call.result(LISTED)
    if (call.method !== 'tools/call') return call.result({})
    return call.result(call.params['task'] === undefined ? { content: [] } : { task: { taskId: 's-1', status: 'working', ...TIMES } })
  })
  server.hello = { ...server.hello, capabilities: { tools: {}, tasks: TASKS } }
  return server
}

const state =
  (status: string): Play =>
  (call) =>
    call.result({ taskId: 's-1', status, ...TIMES })
const resultOf = (message: Fields): Fields => fieldsOf(message['result']) ?? {}

async function begin(client: ModernClient): Promise<string> {
  return String(resultOf(await client.answerTo('1', 'tools/call', { name: 'slow' }, CAN))['taskId'])
}

const methodsOf = (server: LegacyServer): unknown[] => server.sessions.flatMap(({ received }) => received.map(({ method }) => method))

describe('refused is', () => {
  it('a tool that runs as a task only, to a client without the extension', async () => {
    const client = await connectModern(createTaskServer())
    await client.answerTo('1', 'tools/list')
    const fault = await client.ask('2', 'tools/call', { name: 'slow' }).catch((thrown: unknown) => thrown)
    expect(fault).toMatchObject({
      message: expect.stringContaining('the extension io.modelcontextprotocol/tasks only: use a client that declares it'),
      details: { rpc: -32021, data: { requiredCapabilities: { extensions: { 'io.modelcontextprotocol/tasks': {} } } } },
    })
  })

  it('to ask for a task without the extension', async () => {
    const client = await connectModern(createTaskServer())
    const taskId = await begin(client)
    const fault = await client.ask('2', 'tasks/get', { taskId }).catch((thrown: unknown) => thrown)
    expect(fault).toMatchObject({ details: { rpc: -32021 } })
  })

  it.each(['tasks/get', 'tasks/update', 'tasks/cancel'])('a task that is not the client’s: %s', async (method) => {
    const server = createTaskServer()
    const other = await begin(await connectModern(server, 'bob'))
    const client = await connectModern(server)
    await begin(client)
    for (const taskId of [other.replace(/^./, '-'), 's-1', 7])
      expect(await client.answerTo('2', method, { taskId }, CAN)).toEqual({
        jsonrpc: '2.0',
        id: 2,
        error: { code: -32602, message: 'this client has no such task' },
      })
  })

  it.each(['tasks/list', 'tasks/result'])('what the extension has not: %s', async (method) => {
    const client = await connectModern(createTaskServer())
    expect(await client.answerTo('1', method, {}, CAN)).toMatchObject({ error: { code: -32601 } })
  })

  it('one more than a client may have, before it reaches the server', async () => {
    const server = createTaskServer()
    const client = await connectModern(server)
    for (let at = 0; at < 64; at++) await begin(client)
    const calls = methodsOf(server).length
    expect(await faultOf(begin(client))).toMatchObject({ code: 'resource_exhausted' })
    expect(methodsOf(server)).toHaveLength(calls)
  })
})

describe('a call', () => {
  it('becomes a task as the extension has it', async () => {
    const server = createTaskServer({ 'tasks/get': state('working') })
    const client = await connectModern(server)
    expect(resultOf(await client.answerTo('0', 'server/discover', {}, CAN))['capabilities']).toEqual({
      tools: {},
      extensions: { 'io.modelcontextprotocol/tasks': {} },
    })
    const begun = resultOf(await client.answerTo('1', 'tools/call', { name: 'slow', arguments: { a: 1 } }, CAN))
    const taskId = begun['taskId']
    expect(begun).toMatchObject({ resultType: 'task', status: 'working', ...MODERN_TIMES })
    expect(taskId).not.toBe('s-1')
    expect(server.sessions[0]?.received.at(-1)).toMatchObject({ params: { name: 'slow', arguments: { a: 1 }, task: {} } })
    expect(resultOf(await client.answerTo('2', 'tasks/get', { taskId }, CAN))).toEqual({
      resultType: 'complete',
      taskId,
      status: 'working',
      ...MODERN_TIMES,
      _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'old', version: '1' } },
    })
    expect(server.sessions[0]?.received.at(-1)).toMatchObject({ method: 'tasks/get', params: { taskId: 's-1' } })
  })

  it.each([
    ['slow', CAN, true],
    ['either', CAN, true],
    ['either', {}, false],
    ['quick', CAN, false],
    ['unlisted', CAN, false],
  ])('of %s with %j is a task: %s', async (name, more, isTask) => {
    const server = createTaskServer()
    const client = await connectModern(server)
    const answer = resultOf(await client.answerTo('1', 'tools/call', { name, task: { ttl: 1 } }, more))
    expect(answer['resultType']).toBe(isTask ? 'task' : 'complete')
    await client.answerTo('2', 'tools/call', { name }, more)
    expect(methodsOf(server).filter((method) => method === 'tools/list').length).toBeLessThan(2)
  })

  it('is a task wherever in the list its tool stands', async () => {
    const cursors: unknown[] = []
    const server = createTaskServer({
      'tools/list': ({ params, result }) => {
        cursors.push(params['cursor'])
        result(params['cursor'] === 'b' ? LISTED : { tools: [{ name: 'first', execution: { taskSupport: 'optional' } }], nextCursor: 'b' })
      },
    })
    const client = await connectModern(server)
    await client.answerTo('1', 'tools/list')
    for (const name of ['first', 'slow'])
      expect(resultOf(await client.answerTo('2', 'tools/call', { name }, CAN))['resultType']).toBe('task')
    expect(cursors).toEqual([undefined, undefined, 'b'])
  })

  it('is none before a server without tasks', async () => {
    const server = createTaskServer()
    server.hello = { ...server.hello, capabilities: { tools: {}, tasks: { list: {} } } }
    const client = await connectModern(server)
    expect(resultOf(await client.answerTo('1', 'tools/call', { name: 'slow' }, CAN))).toMatchObject({ resultType: 'complete' })
    expect(methodsOf(server)).toEqual(['notifications/initialized', 'tools/call'])
  })
})

describe('a task', () => {
  it.each<[string, string, Play, object]>([
    [
      'a result',
      'completed',
      (call) => call.result({ content: [], n: 1, _meta: { ...RELATED, own: 1 } }),
      { status: 'completed', result: { content: [], n: 1, _meta: { own: 1 }, resultType: 'complete' } },
    ],
    [
      'a tool that failed',
      'failed',
      (call) => call.result({ content: [], isError: true }),
      { status: 'completed', result: { content: [], isError: true, resultType: 'complete' } },
    ],
    ['an error', 'failed', (call) => call.error(-32000, 'no'), { status: 'failed', error: { code: -32000, message: 'no' } }],
  ])('ends with %s', async (_, status, end, expected) => {
    const client = await connectModern(createTaskServer({ 'tasks/get': state(status), 'tasks/result': end }))
    const taskId = await begin(client)
    const seen = resultOf(await client.answerTo('2', 'tasks/get', { taskId }, CAN))
    expect(seen).toMatchObject({ resultType: 'complete', taskId, ...expected })
    expect(seen['result']).toEqual(fieldsOf(expected)?.['result'])
  })

  it('that the server forgot is forgotten', async () => {
    const client = await connectModern(createTaskServer({ 'tasks/get': (call) => call.error(-32602, 'expired') }))
    const taskId = await begin(client)
    expect(await faultOf(client.ask('2', 'tasks/get', { taskId }, CAN))).toMatchObject({ message: 'expired' })
    expect(await client.answerTo('3', 'tasks/get', { taskId }, CAN)).toMatchObject({ error: { code: -32602 } })
  })

  it('fails with the session that it ran in', async () => {
    const server = createTaskServer()
    const client = await connectModern(server)
    const taskId = await begin(client)
    server.sessions[0]?.exit()
    expect(await client.answerTo('2', 'tasks/get', { taskId }, CAN)).toMatchObject({
      result: { status: 'failed', error: { code: -32603 } },
    })
  })

  it('keeps its session, and is forgotten when nobody asks for it', async () => {
    const server = createTaskServer({ 'tasks/get': state('working') })
    const client = await connectModern(server)
    const taskId = await begin(client)
    client.clock.now += 30 * 60_000
    expect(await client.answerTo('2', 'tasks/get', { taskId }, CAN)).toMatchObject({ result: { status: 'working' } })
    client.clock.now += 60 * 60_000
    expect(await client.answerTo('3', 'tasks/get', { taskId }, CAN)).toMatchObject({ error: { code: -32602 } })
  })

  it('can be cancelled', async () => {
    const server = createTaskServer()
    const client = await connectModern(server)
    const taskId = await begin(client)
    expect(resultOf(await client.answerTo('2', 'tasks/cancel', { taskId }, CAN))).toMatchObject({ resultType: 'complete' })
    expect(server.sessions[0]?.received.at(-1)).toMatchObject({ method: 'tasks/cancel', params: { taskId: 's-1' } })
  })
})

describe('a task that asks', () => {
  const asking = (): LegacyServer => {
    let status = 'input_required'
    return createTaskServer({
      'tasks/get': (call) => state(status)(call),
      'tasks/result': async (call) => {
        call.send({ id: 5, method: 'elicitation/create', params: { ...FORM, _meta: RELATED } })
        const heard = await call.answered(5)
        status = 'completed'
        call.result({ content: [], heard: heard['result'] ?? heard['error'] })
      },
    })
  }

  it('shows what it asks until that is answered by tasks/update', async () => {
    const client = await connectModern(asking())
    const taskId = await begin(client)
    const inputRequests = { 'input-1': { method: 'elicitation/create', params: FORM } }
    for (const id of ['2', '3'])
      expect(await client.answerTo(id, 'tasks/get', { taskId }, CAN)).toMatchObject({ result: { status: 'input_required', inputRequests } })
    const update = (responses: object): Promise<Fields> => client.answerTo('4', 'tasks/update', { taskId, inputResponses: responses }, CAN)
    expect(resultOf(await update({ 'input-1': { action: 'maybe' }, other: {} }))).toMatchObject({ resultType: 'complete' })
    expect(await client.answerTo('5', 'tasks/get', { taskId }, CAN)).toMatchObject({ result: { inputRequests } })
    await update({ 'input-1': { action: 'accept', content: { name: 'Ada' } } })
    expect(await client.answerTo('6', 'tasks/get', { taskId }, CAN)).toMatchObject({
      result: { status: 'completed', result: { content: [] } },
    })
  })

  it('is told of on any stream of its session, and of another task’s nothing', async () => {
    const server = createTaskServer({ 'tasks/get': state('input_required'), 'tasks/result': () => undefined })
    const client = await connectModern(server)
    const taskId = await begin(client)
    const [session] = server.sessions
    const other = { 'io.modelcontextprotocol/related-task': { taskId: 's-2' } }
    session?.emit({ id: 7, method: 'elicitation/create', params: { ...FORM, message: 'Other?', _meta: other } })
    session?.emit({ id: 8, method: 'elicitation/create', params: { ...FORM, _meta: RELATED } })
    const seen = resultOf(await client.answerTo('2', 'tasks/get', { taskId }, CAN))
    expect(seen['inputRequests']).toEqual({ 'input-1': { method: 'elicitation/create', params: FORM } })
    expect(session?.answers.get(7)).toMatchObject({ error: { code: -32601 } })
    session?.emit({ method: 'notifications/cancelled', params: { requestId: 8 } })
    // By its answer the server's word is there.
    await client.answerTo('9', 'tasks/get', { taskId }, CAN)
    await client.answerTo('3', 'tasks/update', { taskId, inputResponses: { 'input-1': { action: 'accept' } } }, CAN)
    expect(session?.answers.get(8)).toBeUndefined()
  })

  it('is refused what the client did not declare', async () => {
    const can = { can: { extensions: { 'io.modelcontextprotocol/tasks': {} } } }
    const client = await connectModern(asking())
    const begun = resultOf(await client.answerTo('1', 'tools/call', { name: 'slow' }, can))
    const { taskId } = begun
    await client.answerTo('2', 'tasks/get', { taskId }, can)
    expect(await client.answerTo('3', 'tasks/get', { taskId }, can)).toMatchObject({ result: { status: 'completed' } })
  })
})
