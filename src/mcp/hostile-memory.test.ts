import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { ODD_ARGUMENTS, ODD_IDS, ODD_RESULTS, REFUSED, UNCLEAR_ANSWERS } from '../../test/hostile-corpus.ts'
import { createFixture, type Fixture } from '../../test/fakes/mcp-endpoint.ts'
import { eventsOf } from '../../test/fakes/memory-upstream.ts'

// What ten thousand hostile requests, and as many hostile answers, leave behind.

const ROUNDS = 10_000
const MAX_GROWTH = 4 * 1024 * 1024

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

async function growth(f: Fixture, ask: (n: number) => Promise<unknown>): Promise<number> {
  const heap = async (from: number, to: number): Promise<number> => {
    for (let n = from; n < to; n++) {
      await ask(n)
      f.events.length = 0
      f.counted.length = 0
      f.upstream.sent.length = 0
      f.upstream.opened.length = 0
    }
    for (let i = 0; i < 2; i++) {
      await new Promise((resolve) => setImmediate(resolve))
      collect()
    }
    return process.memoryUsage().heapUsed
  }
  const before = await heap(0, ROUNDS / 10)
  return (await heap(ROUNDS / 10, ROUNDS)) - before
}

/** Small ones: the others cost time and say no more. */
const BODIES = [
  ...REFUSED.map(({ body }) => body),
  ...ODD_ARGUMENTS.map((text) => `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"NAME","arguments":${text}}}`),
  ...ODD_IDS.map((id) => `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"NAME"}}`),
].filter((body) => body.length < 10_000)

test('hostile requests leave nothing behind', { timeout: 120_000 }, async () => {
  const f = createFixture()
  const session = await f.open()
  const grown = await growth(f, (n) => {
    const body = BODIES[n % BODIES.length] ?? ''
    const text = body.toString('latin1').replaceAll('NAME', n % 2 === 0 ? 'echo' : 'rm')
    return f.ask({ body: Buffer.from(text, 'latin1'), headers: n % 3 === 0 ? {} : { 'mcp-session-id': session } })
  })
  expect(grown).toBeLessThan(MAX_GROWTH)
  expect(f.endpoint.isBusy).toBe(false)
})

test('hostile answers leave nothing behind, on whatever stream they come', { timeout: 120_000 }, async () => {
  const f = createFixture()
  const session = await f.open()
  const answers = [
    ...UNCLEAR_ANSWERS.map(([, text]) => text),
    ...ODD_RESULTS.map((result) => `{"jsonrpc":"2.0","id":1,"result":${result}}`),
    ...ODD_IDS.map((id) => `{"jsonrpc":"2.0","id":${id},"method":"roots/list"}`),
    '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"nobody","progress":1e400}}',
  ]
  const listener = f.send({ method: 'GET', headers: { 'mcp-session-id': session, accept: 'text/event-stream' } })
  await listener.begun
  const grown = await growth(f, async (n) => {
    const text = answers[n % answers.length] ?? ''
    f.upstream.script = () => (n % 2 === 0 ? { kind: 'message', bytes: Buffer.from(text) } : eventsOf([text, text]))
    f.upstream.emit(text)
    await f.ask({
      text: '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}',
      headers: { 'mcp-session-id': session },
    })
    listener.text = ''
  })
  expect(grown).toBeLessThan(MAX_GROWTH)
  expect(f.endpoint.isBusy).toBe(false)
})
