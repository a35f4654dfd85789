import { describe, expect, it } from 'vitest'
import { httpError, rpcError } from '../../../../test/fakes/era-upstream.ts'
import { eventsOf as events } from '../../../../test/fakes/memory-upstream.ts'
import { call, eventsOf, readData, request } from '../../../../test/fakes/outgoing.ts'
import { answering, answerTo, DONE, open, send } from './session.fixture.ts'

/** Every tool of a server with the tasks extension. */
const execution = { taskSupport: 'optional' }

describe('what comes down', () => {
  it.each([
    ['prompts/list', '{"prompts":[],"resultType":"complete","ttlMs":1,"cacheScope":"public"}', { prompts: [] }],
    ['completion/complete', '{"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"x"}}}', {}],
    ['resources/list', '{"resources":[],"_meta":{"a":1}}', { resources: [], _meta: { a: 1 } }],
    [
      'tools/list',
      '{"tools":[{"name":"a","outputSchema":{"type":"array"}},{"name":"b","outputSchema":{"type":"object"}},{"name":"c"}]}',
      {
        tools: [
          { name: 'a', execution },
          { name: 'b', outputSchema: { type: 'object' }, execution },
          { name: 'c', execution },
        ],
      },
    ],
    ['tools/call', '{"content":[],"structuredContent":[1]}', { content: [{ type: 'text', text: '[1]' }] }],
    ['tools/call', '{"content":[{"type":"text","text":"x"}],"structuredContent":1.0}', { content: [{ type: 'text', text: 'x' }] }],
  ])('a result of %s has nothing modern in it', async (method, modern, expected) => {
    const { session } = await open(answering(modern))
    expect(await answerTo(session, request('"i"', method, { name: 'a' }))).toEqual({ jsonrpc: '2.0', id: 'i', result: expected })
  })

  it('a result of a type nobody knows is an error in words', async () => {
    const { session } = await open(answering('{"resultType":"task","taskId":"1"}'))
    expect(await answerTo(session, call('1', 't'))).toMatchObject({
      result: { isError: true, content: [{ text: expect.stringContaining('a result of type "task"') }] },
    })
    expect(await answerTo(session, request('2', 'prompts/get', { name: 'p' }))).toMatchObject({ error: { code: -32603 } })
  })

  it.each<[string, number, unknown, object]>([
    ['resources/read', -32602, { uri: 'a:b' }, { code: -32002, data: { uri: 'a:b' } }],
    ['resources/read', -32602, undefined, { code: -32602 }],
    ['prompts/get', -32602, { uri: 'a:b' }, { code: -32602 }],
    [
      'prompts/get',
      -32021,
      { requiredCapabilities: { sampling: {} } },
      { code: -32602, message: expect.stringContaining('offers sampling') },
    ],
    ['prompts/get', -32020, undefined, { code: -32603 }],
    ['prompts/get', -32022, undefined, { code: -32603 }],
    ['no/such', -32601, undefined, { code: -32601 }],
    ['tools/call', -32000, { a: 1 }, { code: -32000, data: { a: 1 } }],
  ])('an error of %s with code %i is one that legacy clients know', async (method, code, data, expected) => {
    const { session, contradicted } = await open((message) => rpcError(message, code, data))
    expect(await answerTo(session, request('1', method))).toMatchObject({ id: 1, error: expected })
    expect(contradicted()).toBe(code === -32022 ? 1 : 0)
  })

  it('an HTTP error with a JSON-RPC error in it is that error', async () => {
    const { session } = await open((message) =>
      httpError(404, `{"jsonrpc":"2.0","id":${message.id},"error":{"code":-32601,"message":"no"}}`),
    )
    expect(await answerTo(session, request('1', 'no/such'))).toEqual({ jsonrpc: '2.0', id: 1, error: { code: -32601, message: 'no' } })
  })

  it.each([401, 404, 500])('HTTP %i alone is a failure of the server, and no lost session', async (status) => {
    const { session } = await open(() => httpError(status))
    await expect(send(session, call('1', 't'))).rejects.toMatchObject({ code: 'unavailable', origin: 'upstream' })
  })

  it('old clients get content they cannot read as text', async () => {
    const content = [
      { type: 'audio', data: 'AA==', mimeType: 'audio/wav' },
      { type: 'resource_link', uri: 'note://one', name: 'note', mimeType: 'text/plain' },
      { type: 'text', text: 'x' },
    ]
    const { session } = await open(answering(JSON.stringify({ content })), { who: { protocolVersion: '2024-11-05' } })
    expect(await answerTo(session, call('1', 't'))).toMatchObject({
      result: {
        content: [
          { type: 'text', text: '[audio, audio/wav]' },
          { type: 'text', text: '[link to a resource, note, note://one, text/plain]' },
          { type: 'text', text: 'x' },
        ],
      },
    })
  })

  it('what belongs to a call comes with it; requests of the server, and answers to others, do not', async () => {
    const progress = '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p","progress":1}}'
    const { session } = await open((message) =>
      events([
        '{"jsonrpc":"2.0","id":9,"method":"sampling/createMessage","params":{}}',
        '{"jsonrpc":"2.0","id":"1","result":{"content":[{"type":"text","text":"of another"}]}}',
        '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"a"}}',
        progress,
        `{"jsonrpc":"2.0","id":${message.id},"result":${DONE}}`,
      ]),
    )
    const reply = await send(session, call('"a"', 't'))
    expect(await readData(eventsOf(reply))).toEqual([progress, '{"jsonrpc":"2.0","id":"a","result":{"content":[]}}'])
  })

  it('a stream without an answer is a failure', async () => {
    const { session } = await open(() => events([]))
    await expect(readData(eventsOf(await send(session, call('1', 't'))))).rejects.toMatchObject({ code: 'unavailable', origin: 'upstream' })
  })
})
