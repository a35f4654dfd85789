import { expect, test } from 'vitest'
import { frameSse, type SseEvent } from '../lib/sse.ts'
import { dataOf, turn } from './replay.fixture.ts'
import { Replays } from './replay.ts'
import type { Sink } from './replay-stream.ts'

/** A connection that takes everything. */
const sink = (): Sink & { got: string[] } => {
  const got: string[] = []
  return { got, write: async (bytes) => void got.push(Buffer.from(bytes).toString()), handOver: () => undefined }
}
const event = (data: string): SseEvent => ({
  raw: frameSse({ data }),
  event: 'message',
  data: Buffer.from(data),
  hasData: true,
  isComment: false,
})

test('when all sessions together keep too much, the one that has most loses first', async () => {
  let tokens = 0
  const replays = new Replays({ now: () => 0, token: () => `t${++tokens}`, limits: { totalBytes: 3000 } })
  const [small, large] = [replays.open(), replays.open()]
  const little = small.stream(sink(), false)
  await little.take(event('x'.repeat(500)), frameSse({ data: 'x'.repeat(500) }))
  for (let n = 0; n < 4; n++) {
    const stream = large.stream(sink(), false)
    await stream.take(event('1'), frameSse({ data: 'x'.repeat(700) }))
    await stream.say('end')
    stream.end()
  }
  expect(small.find('t1.t2-1')?.place).toBe(0)
  expect(['t1.t3-1', 't1.t4-1', 't1.t5-1', 't1.t6-1'].map((id) => large.find(id)?.place)).toEqual([undefined, undefined, 0, 0])
  large.close()
  expect(small.find('t1.t2-1')?.place).toBe(0)
})

test('a client that came back and reads slowly slows the server down, and misses nothing', async () => {
  const replays = new Replays({ now: () => 0, token: () => 't', limits: { events: 2 } })
  const session = replays.open()
  const stream = session.stream(sink(), false)
  await stream.take(event('1'), frameSse({ data: '1' }))
  const gate = Promise.withResolvers<void>()
  const slow = sink()
  const write = slow.write
  slow.write = (bytes) => gate.promise.then(() => write(bytes))
  const found = session.find('t.t-1')
  if (!found) throw new Error('not found')
  const following = stream.follow(found, slow, new AbortController().signal)
  let isTaken = false
  const taken = stream.take(event('2'), frameSse({ data: '2' })).then(() => (isTaken = true))
  await turn()
  expect(isTaken).toBe(false)
  gate.resolve()
  await taken
  for (const data of ['3', '4', '5']) await stream.take(event(data), frameSse({ data }))
  await stream.say('end')
  stream.end()
  await following
  expect(slow.got.flatMap(dataOf)).toEqual(['2', '3', '4', '5', 'end'])
})
