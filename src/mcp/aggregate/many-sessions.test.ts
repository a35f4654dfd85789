import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { createFixture, settle } from './aggregate.fixture.ts'

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

const get = (session: string) => ({ method: 'GET', headers: { accept: 'text/event-stream', 'mcp-session-id': session } })

test('a session beyond the limit of all is refused, of whomever', async () => {
  const f = createFixture([], { sessions: 2 })
  for (const owner of ['user:ana', 'user:bob']) expect(await f.open({ owner })).not.toBe('')
  const text = '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}'
  expect((await f.ask({ text }, f.view('user:eve'))).status).toBe(429)
})

test('streams are kept alive a few at a time, each once in a period', async () => {
  const f = createFixture([], { sessionsPerOwner: 300, keepAliveMs: 15_000 })
  const streams: ReturnType<typeof f.send>[] = []
  for (let n = 0; n < 300; n++) streams.push(f.send(get(await f.open())))
  await settle()
  const written = (): number => streams.reduce((sum, { text }) => sum + text.length, 0) / ': keep-alive\n\n'.length
  const before = written()
  const steps: number[] = []
  for (let step = 0; step < 150; step++) {
    const so = written()
    f.clock.now += 100
    f.endpoint.sweep()
    steps.push(written() - so)
  }
  expect(before).toBe(300)
  expect(new Set(steps)).toEqual(new Set([2]))
  expect(new Set(streams.map(({ text }) => text))).toEqual(new Set([': keep-alive\n\n'.repeat(2)]))
})

test('who may not stay leaves within a second, however many there are', async () => {
  const f = createFixture([], { sessionsPerOwner: 100 })
  const streams: ReturnType<typeof f.send>[] = []
  for (let n = 0; n < 100; n++) streams.push(f.send(get(await f.open())))
  await settle()
  f.standing.reason = 'locked'
  for (let step = 0; step < 10; step++) {
    f.clock.now += 100
    f.endpoint.sweep()
  }
  await settle()
  expect(streams.filter(({ isOver }) => !isOver)).toEqual([])
})

test('an idle session keeps neither what its stream was asked with nor what others were opened with', async () => {
  const count = 500
  const f = createFixture([], { sessionsPerOwner: 2 * count + 1 })
  const view = f.view()
  const params = JSON.stringify({ protocolVersion: '2025-11-25', capabilities: {}, padding: 'x'.repeat(3000) })
  const opened: string[] = []
  const openOne = async (n: number): Promise<void> => {
    const { headers } = await f.ask({ text: `{"jsonrpc":"2.0","id":1,"method":"initialize","params":${params}}` }, view)
    const session = headers['mcp-session-id'] ?? ''
    opened.push(session)
    const large = { 'x-large': `${n}`.repeat(20_000).slice(0, 20_000) }
    await f.endpoint.serve(
      {
        ...get(session),
        headers: { ...get(session).headers, ...large },
        path: '/mcp',
        body: Buffer.alloc(0),
        remoteAddress: '127.0.0.1',
        signal: new AbortController().signal,
        answer: { head: () => undefined, write: () => true, drained: async () => undefined, end: () => undefined, abort: () => undefined },
      },
      view,
    )
  }
  const heap = async (): Promise<number> => {
    await settle()
    collect()
    await new Promise((resolve) => setImmediate(resolve))
    collect()
    return process.memoryUsage().heapUsed
  }
  for (let n = 0; n < count; n++) await openOne(n)
  const before = await heap()
  for (let n = count; n < 2 * count; n++) await openOne(n)
  const grown = ((await heap()) - before) / count
  expect(new Set(opened).size).toBe(2 * count)
  // About 2 KB: more than 20 KB with the head of the stream's request, more than 3 KB with the words of initialize.
  expect(grown).toBeLessThan(3000)
})
