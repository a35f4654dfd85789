import { expect, test } from 'vitest'
import { createFixture } from '../../test/fakes/mcp-endpoint.ts'
import { eventsOf, never, result } from '../../test/fakes/memory-upstream.ts'
import type { Reply } from './upstream/upstream.ts'
import { dataOf, idsOf, note } from './replay.fixture.ts'

const call = (id: number) => `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"echo"}}`
const answer = (id: number) => `{"jsonrpc":"2.0","id":${id},"result":{}}`

async function start() {
  const f = createFixture()
  const session = await f.open(undefined, '2025-03-26')
  const gates = new Map([1, 2, 3].map((id) => [String(id), Promise.withResolvers<void>()]))
  f.upstream.script = async (message) => {
    await gates.get(String(message.id))?.promise
    return message.id === '2' ? eventsOf([note(2), answer(2)]) : result(message, '{}')
  }
  const headers = { 'mcp-session-id': session, accept: 'application/json, text/event-stream' }
  return {
    f,
    post: (text: string) => f.send({ text, headers }),
    get: (id: string | undefined) => f.send({ method: 'GET', headers: { ...headers, 'last-event-id': id ?? '' } }),
    answer: (id: number) => gates.get(String(id))?.resolve(),
  }
}

test('a client that loses the stream of a batch comes back for the answers that it has not', async () => {
  const s = await start()
  const batch = s.post(`[${call(1)},${call(2)},${call(3)}]`)
  s.answer(1)
  await expect.poll(() => dataOf(batch.text)).toEqual([answer(1)])
  batch.leave()
  s.answer(2)
  const back = s.get(idsOf(batch.text)[0])
  await expect.poll(() => dataOf(back.text)).toEqual([note(2), answer(2)])
  expect(batch.text).not.toContain('"id":2')
  s.answer(3)
  expect(await back.ended).toBe('ended')
  expect(dataOf(back.text)).toEqual([note(2), answer(2), answer(3)])
  const again = s.get(idsOf(back.text)[1])
  await again.ended
  expect(dataOf(again.text)).toEqual([answer(3)])
})

test('each event of a batch has an id of its own, and it ends with its last answer', async () => {
  const s = await start()
  for (const id of [1, 2, 3]) s.answer(id)
  const batch = s.post(`[${call(1)},${call(2)},${call(3)},{"jsonrpc":"2.0","method":"notifications/initialized"}]`)
  expect(await batch.ended).toBe('ended')
  expect(dataOf(batch.text).toSorted()).toEqual([answer(1), answer(2), answer(3), note(2)])
  expect(new Set(idsOf(batch.text)).size).toBe(4)
})

test('an answer that breaks off, or is too large for an event, is an error of its request', async () => {
  const s = await start()
  const chunks = async function* (): AsyncGenerator<Buffer> {
    yield Buffer.from('{"jsonrpc":"2.0","id":1,"result":"')
    yield Buffer.alloc(17 * 1024 * 1024, 'x')
    yield Buffer.from('"}')
  }
  const broken = async function* (): AsyncGenerator<Buffer> {
    yield Buffer.from('{"jsonrpc":"2.0","id":2,')
    yield Buffer.from('"result":')
    throw new Error('gone')
  }
  s.f.upstream.script = ({ id }): Reply => ({ kind: 'stream', chunks: id === '1' ? chunks() : broken() })
  const batch = s.post(`[${call(1)},${call(2)}]`)
  await batch.ended
  const errors = dataOf(batch.text).map((text): unknown => JSON.parse(text))
  expect(errors).toHaveLength(2)
  expect(errors).toContainEqual(expect.objectContaining({ id: 1, error: expect.objectContaining({ code: -32603 }) }))
  expect(errors).toContainEqual(expect.objectContaining({ id: 2, error: expect.objectContaining({ code: -32603 }) }))
})

test('a session that ends ends its batches', async () => {
  const s = await start()
  s.f.upstream.script = (_, signal) => never(signal)
  const batch = s.post(`[${call(1)},${call(2)}]`)
  await expect.poll(() => s.f.upstream.sent.length).toBe(3)
  s.f.endpoint.cut(() => 'locked: lunch')
  expect(await batch.ended).toBe('ended')
  expect(dataOf(batch.text).map((text) => JSON.parse(text).error.message)).toEqual(['locked: lunch', 'locked: lunch'])
})
