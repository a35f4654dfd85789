import { expect, test } from 'vitest'
import { createFixture } from '../../test/fakes/mcp-endpoint.ts'
import { eventsOf, result } from '../../test/fakes/memory-upstream.ts'
import type { Reply } from './upstream/upstream.ts'

const CALL = '{"jsonrpc":"2.0","id":6,"method":"tools/call","params":{"name":"echo"}}'
const LARGE = 'x'.repeat(100_000)

/** As HTTP servers give what is large: in pieces. */
function chunked(text: string, bytes = 30_000): Reply {
  const all = Buffer.from(text)
  const chunks = (async function* () {
    for (let at = 0; at < all.length; at += bytes) yield all.subarray(at, at + bytes)
  })()
  return { kind: 'stream', chunks }
}

const UNCLEAR: [string, string][] = [
  ['the id of another request', `{"jsonrpc":"2.0","id":5,"result":"${LARGE}"}`],
  ['the id of another request at its end', `{"jsonrpc":"2.0","result":"${LARGE}","id":5}`],
  ['two ids', `{"jsonrpc":"2.0","id":6,"result":"${LARGE}","id":5}`],
  ['an id in capitals', `{"jsonrpc":"2.0","id":6,"result":"${LARGE}","ID":5}`],
  ['an escaped id', `{"jsonrpc":"2.0","id":6,"\\u0069d":5,"result":"${LARGE}"}`],
  ['a result in capitals', `{"jsonrpc":"2.0","id":6,"result":"${LARGE}","RESULT":{"tools":[]}}`],
  ['a method', `{"jsonrpc":"2.0","id":6,"result":"${LARGE}","method":"roots/list"}`],
  ['no id', `{"jsonrpc":"2.0","result":"${LARGE}"}`],
  ['more after it', `{"jsonrpc":"2.0","id":6,"result":"${LARGE}"}{"jsonrpc":"2.0","id":5,"result":1}`],
  ['no end', `{"jsonrpc":"2.0","id":6,"result":"${LARGE}"`],
]

test.each(UNCLEAR)('a large answer with %s is no answer, in one piece or in many', async (_, text) => {
  const f = createFixture()
  const session = await f.open()
  f.upstream.script = () => ({ kind: 'message', bytes: Buffer.from(text) })
  expect(await f.call(session, CALL)).toMatchObject({ status: 502, text: expect.stringContaining('"id":6,"error":{"code":-32603') })
  f.upstream.script = () => chunked(text)
  const streamed = await f.call(session, CALL)
  // What may have left by then is shown to be not all.
  expect([await streamed.ended, streamed.status]).toEqual(streamed.status === 200 ? ['aborted', 200] : ['ended', 502])
  expect(streamed.text.length).toBeLessThan(text.length)
  expect(f.events.slice(-2).map(({ success }) => success)).toEqual([false, false])
})

test.each(UNCLEAR.map(([what, text]) => [what, text.replace(LARGE, 'small')]))('a small answer with %s is none either', async (_, text) => {
  const f = createFixture()
  const session = await f.open()
  f.upstream.script = () => ({ kind: 'message', bytes: Buffer.from(text) })
  expect(await f.call(session, CALL)).toMatchObject({ status: 502, text: expect.stringContaining('"id":6,"error":{"code":-32603') })
  expect(f.events.at(-1)).toMatchObject({ success: false })
})

test('a message of a stream that readers could take for two different things is dropped, or an error for the request it seems to answer', async () => {
  const f = createFixture()
  const session = await f.open()
  const TOOLS = '"result":{"tools":[{"name":"rm"}]}'
  f.upstream.script = (message) =>
    eventsOf([
      `{"jsonrpc":"2.0","method":"notifications/message","Method":"x"}`,
      `{"jsonrpc":"2.0","method":"notifications/message","RESULT":{"tools":[{"name":"rm"}]},"id":9}`,
      `{"jsonrpc":"2.0","method":"a","method":"b"}`,
      `{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"seen"}}`,
      `{"jsonrpc":"2.0","id":${message.id},"ID":7,${TOOLS}}`,
    ])
  const { text } = await f.call(session, CALL)
  expect(text).not.toContain('rm')
  expect(text).not.toContain('"b"')
  expect(text).not.toContain('"x"')
  expect(text).toContain('seen')
  expect(text).toContain('"id":6,"error":{"code":-32603')
})

test('a large answer passes to the letter, in one piece or in many', async () => {
  const f = createFixture()
  const session = await f.open()
  const text = `{"jsonrpc":"2.0","result":{"content":"${LARGE}","n":1.0},"id":6}`
  f.upstream.script = () => ({ kind: 'message', bytes: Buffer.from(text) })
  expect(await f.call(session, CALL)).toMatchObject({ status: 200, text })
  f.upstream.script = () => chunked(text, 7)
  expect(await f.call(session, CALL)).toMatchObject({ status: 200, text })
  const error = `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"${LARGE}"}}`
  f.upstream.script = () => chunked(error)
  expect(await f.call(session, CALL)).toMatchObject({ status: 200, text: error })
})

test('a session begins with an answer of any size', async () => {
  const f = createFixture()
  const open = f.upstream.open
  f.upstream.open = async (options) => ({
    ...(await open.call(f.upstream, options)),
    send: async (message) =>
      result(message, `{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{},"instructions":"${LARGE}"}`),
  })
  const session = await f.open()
  expect((await f.call(session, CALL)).status).toBe(200)
})
