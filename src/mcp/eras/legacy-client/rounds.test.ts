import { describe, expect, it } from 'vitest'
import { call, eventsOf, readData, request, response } from '../../../../test/fakes/outgoing.ts'
import type { Reply, UpstreamSession } from '../../upstream/upstream.ts'
import { objectOf, readMessage } from '../compose.ts'
import { answering, answerTo, DONE, open, paramsAt, send } from './session.fixture.ts'

const asking = (requests: object, state?: string): string =>
  JSON.stringify({ resultType: 'input_required', inputRequests: requests, ...(state !== undefined && { requestState: state }) })
const ELICIT = { method: 'elicitation/create', params: { mode: 'form', message: 'Who?', requestedSchema: { type: 'object' } } }
const URL_ELICIT = { method: 'elicitation/create', params: { mode: 'url', message: 'Go', url: 'https://example.com' } }
const SAMPLE = { method: 'sampling/createMessage', params: { messages: [], maxTokens: 1 } }
const ROOTS = { method: 'roots/list' }

describe('input that the server wants', () => {
  /** Reads events, answers questions by method, and gives the data of everything else. */
  async function converse(session: UpstreamSession, reply: Reply, answers: Record<string, object>): Promise<unknown[]> {
    const seen: unknown[] = []
    for await (const { data } of eventsOf(reply)) {
      const message = readMessage(data) ?? {}
      const answer = answers[String(message['method'])]
      if (message['id'] !== undefined && answer) {
        const bytes = Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: message['id'], ...answer }))
        await send(session, { ...response(JSON.stringify(message['id']), {}), bytes })
      }
      seen.push(JSON.parse(data.toString()))
    }
    return seen
  }

  it.each<[string, object, object, string]>([
    ['sampling', { said: SAMPLE }, { capabilities: {} }, 'sampling'],
    ['roots', { r: ROOTS }, { capabilities: {} }, 'its roots'],
    ['a form', { who: ELICIT }, { capabilities: { elicitation: { url: {} } } }, 'elicitation by form'],
    ['a form before 2025-06-18', { who: ELICIT }, { protocolVersion: '2025-03-26' }, 'elicitation by form'],
    ['a URL', { who: URL_ELICIT }, { capabilities: { elicitation: {} } }, 'elicitation by URL'],
    ['a URL before 2025-11-25', { who: URL_ELICIT }, { protocolVersion: '2025-06-18' }, 'elicitation by URL'],
    ['sampling with tools', { said: { ...SAMPLE, params: { tools: [] } } }, {}, 'sampling with tools'],
    ['something unknown', { x: { method: 'x/y' } }, {}, 'an answer to "x/y"'],
  ])('%s is refused in words when the client cannot give it', async (_, requests, who, missing) => {
    const { session, inner } = await open(answering(asking(requests, 's')), { who })
    const words = expect.stringContaining(`MCP server "s" asks for ${missing}, which this client`)
    expect(await answerTo(session, call('1', 't'))).toMatchObject({ result: { isError: true, content: [{ type: 'text', text: words }] } })
    expect(await answerTo(session, request('2', 'prompts/get', { name: 'p' }))).toMatchObject({ error: { code: -32602, message: words } })
    expect(inner.arrived).toHaveLength(2)
  })

  it.each([
    ['no requests and no state', '{"resultType":"input_required"}'],
    ['requests that are none', '{"resultType":"input_required","inputRequests":[1]}'],
    ['a request without a method', '{"resultType":"input_required","inputRequests":{"a":{}}}'],
    ['a state that is no text', '{"resultType":"input_required","requestState":7}'],
  ])('with %s is an error in words', async (_, text) => {
    const { session } = await open(answering(text))
    expect(await answerTo(session, call('1', 't'))).toMatchObject({ result: { isError: true } })
  })

  it('is not asked for by a list', async () => {
    const { session } = await open(answering(asking({ r: ROOTS })))
    expect(await answerTo(session, request('1', 'prompts/list'))).toMatchObject({ error: { code: -32602 } })
  })

  it('is more than can be asked at once', async () => {
    const { session } = await open(answering(asking(Object.fromEntries(Array.from({ length: 33 }, (_, n) => [`k${n}`, ROOTS])))))
    expect(await answerTo(session, call('1', 't'))).toMatchObject({ result: { isError: true } })
  })

  it('is asked for on the stream of the call, and goes up under the keys and with the state of the server', async () => {
    const { session, inner } = await open(answering(asking({ who: ELICIT, __proto__x: SAMPLE, r: ROOTS }, 'état "1"'), DONE))
    const reply = await send(session, call('"c"', 't', { a: 1 }, { progressToken: '"p"' }))
    const seen = await converse(session, reply, {
      'elicitation/create': { result: { action: 'accept', content: { n: 1 } } },
      'sampling/createMessage': { result: { role: 'assistant', model: 'm', content: { type: 'text', text: 'x' } } },
      'roots/list': { result: { roots: [] } },
    })
    expect(seen).toEqual([
      { jsonrpc: '2.0', id: 'sallyport-1', ...ELICIT },
      { jsonrpc: '2.0', id: 'sallyport-2', ...SAMPLE },
      { jsonrpc: '2.0', id: 'sallyport-3', ...ROOTS },
      { jsonrpc: '2.0', id: 'c', result: { content: [] } },
    ])
    expect(inner.arrived[1]?.message['id']).toBe(2)
    expect(paramsAt(inner, 1)).toMatchObject({
      name: 't',
      arguments: { a: 1 },
      _meta: { progressToken: 'p' },
      requestState: 'état "1"',
      inputResponses: {
        who: { action: 'accept', content: { n: 1 } },
        __proto__x: { role: 'assistant', model: 'm', content: { type: 'text', text: 'x' } },
        r: { roots: [] },
      },
    })
  })

  it('is asked for in the words of the client’s revision', async () => {
    const { session } = await open(answering(asking({ u: URL_ELICIT })))
    const first = await readData(eventsOf(await send(session, call('1', 't'))), 1)
    expect(first.map((data) => JSON.parse(data) as unknown)).toMatchObject([
      { params: { mode: 'url', url: 'https://example.com', elicitationId: 'AQEBAQEBAQEBAQEB' } },
    ])
    const messages = [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'a' },
          { type: 'text', text: 'b' },
        ],
      },
    ]
    const old = await open(answering(asking({ e: ELICIT, s: { ...SAMPLE, params: { messages } } })), {
      who: { protocolVersion: '2025-06-18' },
    })
    const asked = await readData(eventsOf(await send(old.session, call('1', 't'))), 2)
    expect(asked.map((data) => objectOf(readMessage(data)?.['params']))).toEqual([
      { message: 'Who?', requestedSchema: { type: 'object' } },
      {
        messages: [
          { role: 'user', content: { type: 'text', text: 'a' } },
          { role: 'user', content: { type: 'text', text: 'b' } },
        ],
      },
    ])
  })

  it('that the client refuses ends the call in words, and the other questions with it', async () => {
    const { session, inner } = await open(answering(asking({ s: SAMPLE, r: ROOTS })))
    const reply = await send(session, call('1', 't'))
    const seen = await converse(session, reply, { 'sampling/createMessage': { error: { code: -1, message: 'rejected' } } })
    expect(seen.slice(2)).toMatchObject([
      { method: 'notifications/cancelled', params: { requestId: 'sallyport-2' } },
      { id: 1, result: { isError: true, content: [{ text: 'the client refused sampling/createMessage: rejected (code -1)' }] } },
    ])
    expect(inner.arrived).toHaveLength(1)
  })

  it('that does not come ends the call in words', async () => {
    const { session } = await open(answering(asking({ r: ROOTS })), { limits: { answerMs: 1 } })
    const data = await readData(eventsOf(await send(session, call('1', 't'))))
    expect(data.map((one) => JSON.parse(one) as unknown)).toMatchObject([
      { method: 'roots/list' },
      { method: 'notifications/cancelled' },
      { result: { isError: true, content: [{ text: expect.stringContaining('did not answer') }] } },
    ])
  })

  it('is none when the server only wants the request again: with its state, and not at once', async () => {
    const pauses: number[] = []
    const wait = async (ms: number): Promise<void> => void pauses.push(ms)
    const { session, inner } = await open(answering('{"resultType":"input_required","requestState":"later"}', DONE), { limits: { wait } })
    expect(await answerTo(session, call('1', 't'))).toMatchObject({ result: { content: [] } })
    expect(pauses).toEqual([250])
    expect(paramsAt(inner, 1)).toMatchObject({ requestState: 'later' })
    expect(paramsAt(inner, 1)).not.toHaveProperty('inputResponses')
  })

  it('comes to an end after ten rounds', async () => {
    const { session, inner } = await open(answering('{"resultType":"input_required","requestState":"again"}'))
    expect(await answerTo(session, call('1', 't'))).toMatchObject({
      result: { isError: true, content: [{ text: 'MCP server "s" asked for input 10 times without coming to an end' }] },
    })
    expect(inner.arrived).toHaveLength(11)
  })
})
