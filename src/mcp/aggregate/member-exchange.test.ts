import { expect, test } from 'vitest'
import type { HttpExchange } from '../../lib/http-exchange.ts'
import { settle } from './aggregate.fixture.ts'
import { readEvents, readWhole, sendTo } from './member-exchange.ts'

const request = { method: 'POST', headers: {}, body: Buffer.alloc(0), remoteAddress: '127.0.0.1' }
const open = () => {
  const gone = new AbortController()
  const got: HttpExchange[] = []
  const reply = sendTo({ name: 'a', serve: (exchange) => void got.push(exchange) }, request, gone.signal)
  const [exchange] = got
  if (!exchange) throw new Error('not served')
  return { reply, exchange, gone, answer: exchange.answer }
}

test.each([
  [
    'throws',
    () => {
      throw new Error('x')
    },
  ],
  ['ends before it begins', ({ answer }: HttpExchange) => answer.end()],
  ['is broken off', ({ answer }: HttpExchange) => answer.abort('gone')],
])('a member that %s is no answer', async (_, serve) => {
  await expect(sendTo({ name: 'a', serve }, request, new AbortController().signal)).rejects.toMatchObject({ code: 'unavailable' })
})

test('an answer that breaks off is not taken for a whole one', async () => {
  const { reply, answer, exchange } = open()
  answer.head(200, {})
  answer.write(Buffer.from('half'))
  const reading = readWhole(await reply, 100)
  await settle()
  answer.abort('lost')
  await expect(reading).rejects.toMatchObject({ code: 'unavailable', message: 'lost' })
  expect(exchange.signal.aborted).toBe(true)
})

test('when the asker goes away the member is told, before and during the answer', async () => {
  const early = open()
  early.gone.abort()
  await expect(early.reply).rejects.toMatchObject({ code: 'cancelled' })
  const late = open()
  late.answer.head(200, {})
  const reading = readWhole(await late.reply, 100)
  late.gone.abort()
  await expect(reading).rejects.toMatchObject({ code: 'cancelled' })
  expect([early.exchange.signal.aborted, late.exchange.signal.aborted]).toEqual([true, true])
  late.answer.write(Buffer.from('x'))
  late.answer.end()
})

test('too large an answer ends the exchange', async () => {
  const { reply, answer, exchange } = open()
  answer.head(200, {})
  answer.write(Buffer.alloc(101))
  await expect(readWhole(await reply, 100)).rejects.toMatchObject({ code: 'resource_exhausted' })
  expect(exchange.signal.aborted).toBe(true)
})

test('a member that writes faster than it is read has to wait, and one that does not wait is stopped', async () => {
  const { reply, answer, exchange } = open()
  answer.head(200, {})
  expect(answer.write(Buffer.alloc(1000))).toBe(true)
  expect(answer.write(Buffer.alloc(256 * 1024))).toBe(false)
  let isDrained = false
  void answer.drained().then(() => (isDrained = true))
  await settle()
  expect(isDrained).toBe(false)
  const chunks = (await reply).chunks[Symbol.asyncIterator]()
  await chunks.next()
  await settle()
  expect(isDrained).toBe(true)
  for (let each = 0; each < 65; each++) answer.write(Buffer.alloc(1024 * 1024))
  expect(exchange.signal.aborted).toBe(true)
})

test('events are read as they come, and leaving early ends the exchange', async () => {
  const { reply, answer, exchange } = open()
  answer.head(200, { 'content-type': 'text/event-stream; charset=utf-8' })
  const got = await reply
  expect(got.isEvents).toBe(true)
  answer.write(Buffer.from('data: 1\n\nda'))
  answer.write(Buffer.from('ta: 2\n\ndata: 3\n\n'))
  const seen: string[] = []
  for await (const { data } of readEvents(got)) {
    seen.push(data.toString())
    if (seen.length === 2) break
  }
  expect(seen).toEqual(['1', '2'])
  expect(exchange.signal.aborted).toBe(true)
})
