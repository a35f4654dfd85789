import { describe, expect, it } from 'vitest'
import { faultOf } from '../../../../test/fakes/outgoing.ts'
import { eventually } from '../../../../test/wait.ts'
import { fieldsOf } from '../../message.ts'
import { askedIn, connectModern, createLegacyServer, messagesOf, type ModernClient, type PlayedCall } from './legacy-server.fixture.ts'

// What a legacy server asks while a call runs becomes rounds of one request of a modern client.

const CAN = { sampling: {}, elicitation: {}, roots: {} }
const GREET = { name: 'greet', arguments: { to: 'x' } }
const ELICIT = { message: 'Who?', requestedSchema: { type: 'object', properties: {} } }
const ACCEPTED = { action: 'accept', content: { name: 'Ada' } }
const NOT_VALID = {
  code: 'invalid_argument',
  origin: 'gateway',
  message: 'the requestState is not valid: send the request again without it and without inputResponses',
}

/** Asks once and answers with what it heard. */
async function greet(call: PlayedCall): Promise<void> {
  call.send({ id: 'q1', method: 'elicitation/create', params: ELICIT })
  call.result({ heard: (await call.answered('q1'))['result'] })
}

async function asked(client: ModernClient, can: object = CAN): Promise<{ key: string; requestState: string }> {
  const { inputRequests, requestState } = askedIn(await client.answerTo('1', 'tools/call', GREET, { can }))
  return { key: Object.keys(inputRequests)[0] ?? '', requestState }
}

describe('a state', () => {
  it.each([
    ['another method', 'prompts/get', GREET],
    ['other parameters', 'tools/call', { ...GREET, arguments: { to: 'y' } }],
    ['another tool', 'tools/call', { ...GREET, name: 'other' }],
  ])('is refused with %s, and the call goes on waiting', async (_name, method, params) => {
    const server = createLegacyServer(greet)
    const client = await connectModern(server)
    const { key, requestState } = await asked(client)
    const retry = { requestState, inputResponses: { [key]: ACCEPTED } }
    expect(await faultOf(client.ask('2', method, { ...params, ...retry }, { can: CAN }))).toEqual(NOT_VALID)
    expect(server.sessions.map(({ received }) => received.length)).toEqual([2])
    expect(await client.answerTo('3', 'tools/call', { ...GREET, ...retry }, { can: CAN })).toMatchObject({ result: { heard: ACCEPTED } })
  })

  it('is refused when it is tampered with, of another caller, or no text', async () => {
    const server = createLegacyServer(greet)
    const alice = await connectModern(server)
    const bob = await connectModern(server, 'bob')
    const { key, requestState } = await asked(alice)
    const retry = (state: unknown): object => ({ ...GREET, requestState: state, inputResponses: { [key]: ACCEPTED } })
    const changed = `${requestState.slice(0, 20)}${requestState[20] === 'A' ? 'B' : 'A'}${requestState.slice(21)}`
    expect(await faultOf(alice.ask('2', 'tools/call', retry(changed), { can: CAN }))).toEqual(NOT_VALID)
    expect(await faultOf(alice.ask('2', 'tools/call', retry(7), { can: CAN }))).toEqual(NOT_VALID)
    // The same key material on purpose: it is the owner that differs.
    expect(await faultOf(bob.ask('2', 'tools/call', retry(requestState), { can: CAN }))).toEqual(NOT_VALID)
    expect(server.sessions.length).toBe(1)
  })

  it.each([null, 7, [], 'text', { key: 12345 }, { key: null }])(
    'answers without one that are none are refused: %j',
    async (inputResponses) => {
      const server = createLegacyServer()
      const client = await connectModern(server)
      expect(await faultOf(client.ask('1', 'tools/call', { ...GREET, inputResponses }, { can: CAN }))).toMatchObject({
        code: 'invalid_argument',
        message: 'inputResponses must be an object of objects',
      })
      expect(server.sessions).toEqual([])
    },
  )

  it('keeps the conversation in use until it has come back', async () => {
    const client = await connectModern(createLegacyServer(greet))
    expect(client.session.isWaiting).toBe(false)
    const { key, requestState } = await asked(client)
    expect(client.session.isWaiting).toBe(true)
    await client.answerTo('2', 'tools/call', { ...GREET, requestState, inputResponses: { [key]: ACCEPTED } }, { can: CAN })
    expect(client.session.isWaiting).toBe(false)
  })

  it('serves once', async () => {
    const server = createLegacyServer(greet)
    const client = await connectModern(server)
    const { key, requestState } = await asked(client)
    const retry = { ...GREET, requestState, inputResponses: { [key]: ACCEPTED } }
    expect(await client.answerTo('2', 'tools/call', retry, { can: CAN })).toMatchObject({ id: 2, result: { heard: ACCEPTED } })
    expect(await faultOf(client.ask('3', 'tools/call', retry, { can: CAN }))).toEqual(NOT_VALID)
  })

  it('is the same for parameters in another order', async () => {
    const client = await connectModern(createLegacyServer(greet))
    const twoArguments = { name: 'greet', arguments: { to: 'x', from: 'y' } }
    const { requestState } = askedIn(await client.answerTo('1', 'tools/call', twoArguments, { can: CAN }))
    const reordered = { inputResponses: { 'input-1': ACCEPTED }, arguments: { from: 'y', to: 'x' }, requestState, name: 'greet' }
    expect(await client.answerTo('2', 'tools/call', reordered, { can: CAN })).toMatchObject({ result: { heard: ACCEPTED } })
  })

  it('serves one of two retries that come at once', async () => {
    const client = await connectModern(createLegacyServer(greet))
    const { key, requestState } = await asked(client)
    const retry = { ...GREET, requestState, inputResponses: { [key]: ACCEPTED } }
    const both = await Promise.allSettled([
      client.ask('2', 'tools/call', retry, { can: CAN }),
      client.ask('3', 'tools/call', retry, { can: CAN }),
    ])
    expect(both.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
  })

  it('expires after ten minutes, and the call with it', async () => {
    const server = createLegacyServer(greet)
    let signal: AbortSignal | undefined
    server.play = (call) => {
      signal ??= call.signal
      return greet(call)
    }
    const client = await connectModern(server)
    const { key, requestState } = await asked(client)
    client.clock.now += 10 * 60_000
    const retry = { ...GREET, requestState, inputResponses: { [key]: ACCEPTED } }
    expect(await faultOf(client.ask('2', 'tools/call', retry, { can: CAN }))).toEqual(NOT_VALID)
    expect(signal?.aborted).toBe(true)
    expect(server.sessions[0]?.answers.get('q1')).toMatchObject({ error: { message: 'the client went away' } })
  })
})

describe('limits', () => {
  it('keeps 32 calls waiting and refuses the next, which is cancelled', async () => {
    const server = createLegacyServer(greet)
    const client = await connectModern(server)
    for (let n = 0; n < 32; n++) await asked(client)
    expect(await faultOf(client.ask('2', 'tools/call', GREET, { can: CAN }))).toMatchObject({ code: 'resource_exhausted' })
    expect(server.sessions.length).toBe(33)
    expect(server.sessions[32]?.answers.get('q1')).toMatchObject({ error: { message: 'the client went away' } })
  })

  it('shows a client 32 questions at a time, and refuses the server the rest', async () => {
    const server = createLegacyServer((call) => {
      for (let n = 1; n <= 40; n++) call.send({ id: n, method: 'roots/list' })
    })
    const client = await connectModern(server)
    const { inputRequests } = askedIn(await client.answerTo('1', 'tools/call', GREET, { can: CAN }))
    expect(Object.keys(inputRequests).length).toBe(32)
    expect([...(server.sessions[0]?.answers.keys() ?? [])]).toEqual([33, 34, 35, 36, 37, 38, 39, 40])
  })

  it('refuses the server a question of more than 4 MiB', async () => {
    const server = createLegacyServer(async (call) => {
      call.send({ id: 1, method: 'elicitation/create', params: { ...ELICIT, message: 'x'.repeat(4 * 1024 * 1024) } })
      call.result({ heard: await call.answered(1) })
    })
    const client = await connectModern(server)
    expect(await client.answerTo('1', 'tools/call', GREET, { can: CAN })).toMatchObject({ result: { heard: { error: { code: -32603 } } } })
  })

  it('gives a call up that asks for an eleventh time', async () => {
    const server = createLegacyServer(async (call) => {
      for (let n = 1; n <= 11; n++) {
        call.send({ id: n, method: 'roots/list' })
        await call.answered(n)
      }
      call.result({})
    })
    const client = await connectModern(server)
    let more = {}
    for (let round = 1; round <= 10; round++) {
      const { inputRequests, requestState } = askedIn(await client.answerTo('1', 'tools/call', { ...GREET, ...more }, { can: CAN }))
      expect(inputRequests).toEqual({ [`input-${round}`]: { method: 'roots/list' } })
      more = { requestState, inputResponses: { [`input-${round}`]: { roots: [] } } }
    }
    expect(await faultOf(client.ask('2', 'tools/call', { ...GREET, ...more }, { can: CAN }))).toEqual({
      code: 'resource_exhausted',
      origin: 'gateway',
      message: 'the MCP server asked for input more than 10 times: the call was given up',
    })
  })
})

describe('answers', () => {
  it.each([
    ['missing', undefined],
    ['no object', 'yes'],
    ['without an action', { content: {} }],
    ['of an unknown action', { action: 'maybe' }],
  ])('that are %s are asked for again', async (_name, response) => {
    const server = createLegacyServer(greet)
    const client = await connectModern(server)
    const { key, requestState } = await asked(client)
    const again = await client.answerTo('2', 'tools/call', { ...GREET, requestState, inputResponses: { [key]: response } }, { can: CAN })
    const second = askedIn(again)
    expect(second.inputRequests).toEqual({ [key]: { method: 'elicitation/create', params: ELICIT } })
    expect(second.requestState).not.toBe(requestState)
    expect(server.sessions[0]?.answers.size).toBe(0)
    const retry = { ...GREET, requestState: second.requestState, inputResponses: { [key]: { action: 'decline' } } }
    expect(await client.answerTo('3', 'tools/call', retry, { can: CAN })).toMatchObject({ result: { heard: { action: 'decline' } } })
  })

  it('of several questions go to the server under its own ids, the missing ones later', async () => {
    const server = createLegacyServer(async (call) => {
      call.send({ id: 1, method: 'elicitation/create', params: ELICIT })
      call.send({ id: '1', method: 'roots/list', params: { _meta: { progressToken: 3 } } })
      call.result({ heard: [(await call.answered(1))['result'], (await call.answered('1'))['result']] })
    })
    const client = await connectModern(server)
    const first = askedIn(await client.answerTo('1', 'tools/call', GREET, { can: CAN }))
    expect(first.inputRequests).toEqual({
      'input-1': { method: 'elicitation/create', params: ELICIT },
      'input-2': { method: 'roots/list' },
    })
    const half = { ...GREET, requestState: first.requestState, inputResponses: { 'input-1': ACCEPTED, other: 1 } }
    const second = askedIn(await client.answerTo('2', 'tools/call', half, { can: CAN }))
    expect(second.inputRequests).toEqual({ 'input-2': { method: 'roots/list' } })
    const rest = { ...GREET, requestState: second.requestState, inputResponses: { 'input-2': { roots: [{ uri: 'file:///a' }] } } }
    expect(await client.answerTo('3', 'tools/call', rest, { can: CAN })).toMatchObject({
      id: 3,
      result: { heard: [ACCEPTED, { roots: [{ uri: 'file:///a' }] }], resultType: 'complete' },
    })
  })
})

describe('a server', () => {
  it.each([
    ['sampling/createMessage', {}, -32601],
    ['roots/list', {}, -32601],
    ['tasks/get', {}, -32601],
    ['elicitation/create', { mode: 'url', message: 'm', url: 'https://a.example' }, -32602],
    ['elicitation/create', { mode: 'mind', message: 'm' }, -32602],
  ])('is refused what the client did not declare: %s', async (method, params, code) => {
    const server = createLegacyServer(async (call) => {
      call.send({ id: 5, method, params })
      call.result({ heard: await call.answered(5) })
    })
    const client = await connectModern(server)
    expect(await client.answerTo('1', 'tools/call', GREET, { can: { elicitation: {} } })).toMatchObject({
      result: { heard: { id: 5, error: { code } } },
    })
  })

  it('is refused sampling with tools by a client without them', async () => {
    const server = createLegacyServer(async (call) => {
      call.send({ id: 5, method: 'sampling/createMessage', params: { messages: [], tools: [] } })
      call.result({ heard: await call.answered(5) })
    })
    const client = await connectModern(server)
    expect(await client.answerTo('1', 'tools/call', GREET, { can: CAN })).toMatchObject({ result: { heard: { error: { code: -32602 } } } })
  })

  it('is answered by the gateway when it pings, and refused when nothing runs or the method has no rounds', async () => {
    const server = createLegacyServer(async (call) => {
      call.send({ id: 1, method: 'ping' })
      call.send({ id: 2, method: 'roots/list' })
      call.result({ tools: [], heard: [await call.answered(1), await call.answered(2)] })
    })
    const client = await connectModern(server)
    expect(await client.answerTo('1', 'tools/list', {}, { can: CAN })).toMatchObject({
      result: {
        heard: [
          { id: 1, result: {} },
          { id: 2, error: { code: -32601 } },
        ],
      },
    })
    const [session] = server.sessions
    session?.emit({ id: 3, method: 'roots/list' })
    expect(await eventually('the refusal', () => session?.answers.get(3))).toMatchObject({ error: { code: -32601 } })
  })

  it('may ask on its other stream, and take a question back', async () => {
    const server = createLegacyServer(async (call) => {
      call.session.emit({ id: 1, method: 'roots/list' })
      call.session.emit({ id: 2, method: 'elicitation/create', params: ELICIT })
      await call.answered(1)
      call.result({ heard: call.session.answers.size })
    })
    const client = await connectModern(server)
    const { inputRequests, requestState } = askedIn(await client.answerTo('1', 'tools/call', GREET, { can: CAN }))
    expect(Object.keys(inputRequests)).toEqual(['input-1', 'input-2'])
    server.sessions[0]?.emit({ method: 'notifications/cancelled', params: { requestId: 2 } })
    server.sessions[0]?.emit({ id: 3, method: 'ping' })
    await eventually('the cancellation to be read', () => server.sessions[0]?.answers.get(3))
    const retry = { ...GREET, requestState, inputResponses: { 'input-1': { roots: [] } } }
    expect(await client.answerTo('2', 'tools/call', retry, { can: CAN })).toMatchObject({ result: { heard: 2 } })
  })
})

describe('a client', () => {
  it('that goes away while a call runs cancels it', async () => {
    const away = new AbortController()
    let signal: AbortSignal | undefined
    const server = createLegacyServer((call) => {
      signal = call.signal
      away.abort()
    })
    const client = await connectModern(server)
    expect(await faultOf(client.ask('1', 'tools/call', GREET, { can: CAN, signal: away.signal }))).toMatchObject({ code: 'cancelled' })
    expect(signal?.aborted).toBe(true)
  })

  it('that goes away after the question finds the call waiting, with what came meanwhile', async () => {
    const server = createLegacyServer(async (call) => {
      call.send({ id: 1, method: 'roots/list' })
      await call.answered(1)
      call.send({ method: 'notifications/progress', params: { progressToken: call.id, progress: 1 } })
      call.result({ done: true })
    })
    const client = await connectModern(server)
    const away = new AbortController()
    const first = await client.answerTo('1', 'tools/call', GREET, { can: CAN, meta: { progressToken: 'a' }, signal: away.signal })
    away.abort()
    const { requestState } = askedIn(first)
    const retry = { ...GREET, requestState, inputResponses: { 'input-1': { roots: [] } } }
    const messages = await messagesOf(await client.ask('2', 'tools/call', retry, { can: CAN, meta: { progressToken: 'b' } }))
    expect(messages).toMatchObject([
      { method: 'notifications/progress', params: { progressToken: 'b', progress: 1 } },
      { id: 2, result: { done: true } },
    ])
  })

  it('gets the answer that came while it was away, without having said anything', async () => {
    const finish = Promise.withResolvers<void>()
    const server = createLegacyServer(async (call) => {
      call.send({ id: 1, method: 'roots/list' })
      await finish.promise
      call.result({ done: true })
    })
    const client = await connectModern(server)
    let { requestState } = askedIn(await client.answerTo('1', 'tools/call', GREET, { can: CAN }))
    finish.resolve()
    const last = await eventually('the answer', async () => {
      const message = await client.answerTo('2', 'tools/call', { ...GREET, requestState }, { can: CAN })
      if (fieldsOf(message['result'])?.['done'] === true) return message
      requestState = askedIn(message).requestState
      return undefined
    })
    expect(last).toMatchObject({ id: 2, result: { resultType: 'complete' } })
  })
})

describe('-32042', () => {
  const URLS = { elicitations: [{ mode: 'url', elicitationId: 'e', url: 'https://a.example/in', message: 'Sign in' }] }

  it('is -32021 for a client that did not declare url elicitation', async () => {
    const client = await connectModern(createLegacyServer((call) => call.error(-32042, 'sign in', URLS)))
    expect(await client.answerTo('1', 'tools/call', GREET, { can: CAN })).toEqual({
      jsonrpc: '2.0',
      id: 1,
      error: { code: -32021, message: 'sign in', data: { requiredCapabilities: { elicitation: { url: {} } } } },
    })
  })

  it('asks for the URLs, then sends the call anew', async () => {
    let calls = 0
    const server = createLegacyServer((call) => (++calls === 1 ? call.error(-32042, 'sign in', URLS) : call.result({ calls })))
    const client = await connectModern(server)
    const can = { elicitation: { url: {} } }
    const { inputRequests, requestState } = askedIn(await client.answerTo('1', 'tools/call', GREET, { can }))
    expect(inputRequests).toEqual({
      'url-1': { method: 'elicitation/create', params: { mode: 'url', message: 'Sign in', url: 'https://a.example/in' } },
    })
    const retry = { ...GREET, requestState, inputResponses: { 'url-1': { action: 'accept' } } }
    expect(await client.answerTo('2', 'tools/call', retry, { can })).toMatchObject({ id: 2, result: { calls: 2 } })
  })

  it('ends after ten rounds', async () => {
    const client = await connectModern(createLegacyServer((call) => call.error(-32042, 'sign in', URLS)))
    const can = { elicitation: { url: {} } }
    let more = {}
    for (let round = 1; round <= 10; round++) {
      const { requestState } = askedIn(await client.answerTo('1', 'tools/call', { ...GREET, ...more }, { can }))
      more = { requestState, inputResponses: { 'url-1': { action: 'accept' } } }
    }
    expect(await faultOf(client.ask('2', 'tools/call', { ...GREET, ...more }, { can }))).toMatchObject({ code: 'resource_exhausted' })
  })
})
