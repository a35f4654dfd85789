import { expect, test } from 'vitest'
import type { Exchange } from './exchange.ts'
import { ask, echo, settle, tunnelPair } from './tunnel.fixture.ts'

const KIB = 1024

test('a frozen agent is noticed within the deadlines, and its calls fail', async () => {
  const { proxy, sockets, clock } = tunnelPair(() => undefined)
  await settle()
  await clock.advance(9000)
  sockets[1].isFrozen = true
  const asked = ask(proxy.target)
  await clock.advance(10_000)
  expect(asked.status).toBe(0)
  await clock.advance(2000)
  expect([asked.status, (await proxy.closed)?.message]).toEqual([
    503,
    'the connection of the agent "a" was lost (the other end did not answer a ping within 10 s); the request may or may not have been carried out: check before you repeat it',
  ])
  expect(sockets[0].destroyed).toBe(true)
})

test('a frozen proxy is noticed by its agent', async () => {
  const { agent, sockets, clock } = tunnelPair(echo)
  await settle()
  sockets[0].isFrozen = true
  await clock.advance(21_000)
  expect((await agent.closed)?.message).toBe('the tunnel to the proxy is gone: the other end did not answer a ping within 10 s')
})

test('ends that live stay connected for hours', async () => {
  const { proxy, clock } = tunnelPair(echo)
  await settle()
  await clock.advance(2 * 3_600_000)
  expect(proxy.isTaking()).toBe(true)
})

test('an end that stood still itself blames nobody, and notices later all the same', async () => {
  const { proxy, sockets, clock } = tunnelPair(echo)
  await settle()
  await clock.advance(9000)
  sockets[1].isFrozen = true
  await clock.advance(2000)
  await clock.stall(60_000)
  await clock.advance(7000)
  expect(proxy.isTaking()).toBe(true)
  await clock.advance(3000)
  expect(proxy.isTaking()).toBe(false)
})

test('an end that never says hello is left', async () => {
  const { proxy, sockets, clock } = tunnelPair(echo, { isFrozen: true })
  await clock.advance(9000)
  expect(sockets[0].destroyed).toBe(false)
  await clock.advance(2000)
  expect((await proxy.closed)?.message).toContain('did not say hello in time')
})

test('a stalled reader holds one window and costs other streams nothing', async () => {
  let sent = 0
  const { proxy } = tunnelPair(async ({ answer, path }) => {
    answer.head(200, {})
    if (path !== '/endless') return answer.end(Buffer.from('quick'))
    for (let index = 0; index < 1000; index++) {
      if (!answer.write(Buffer.alloc(16 * KIB, 1))) await answer.drained()
      sent += 16 * KIB
    }
    return answer.end()
  })
  const stalled = ask(proxy.target, { path: '/endless' })
  stalled.stall()
  await settle(200)
  const before = sent
  for (let index = 0; index < 50; index++) {
    const quick = ask(proxy.target)
    await quick.over
    expect(quick.body.toString()).toBe('quick')
  }
  await settle(200)
  // The window, and what waits at the agent before its writer is asked to wait.
  expect([sent, before <= 128 * KIB + 80 * KIB]).toEqual([before, true])
  stalled.take()
  await stalled.over
  expect([stalled.outcome, stalled.body.length]).toEqual(['ended', 1000 * 16 * KIB])
})

test('a client that stalls in the middle and goes on gets every byte in order', async () => {
  const body = Buffer.from(Array.from({ length: 60_000 }, (_, index) => `${index},`).join(''))
  const { proxy, sockets } = tunnelPair(async ({ answer }) => {
    answer.head(200, {})
    for (let at = 0; at < body.length; at += 777) if (!answer.write(body.subarray(at, at + 777))) await answer.drained()
    answer.end()
  })
  sockets[1].pieces = [100, 3, 5000]
  const asked = ask(proxy.target)
  for (let round = 0; round < 20; round++) {
    asked.stall()
    await settle(5)
    asked.take()
    await settle(3)
  }
  await asked.over
  expect([asked.outcome, asked.body.equals(body)]).toEqual(['ended', true])
})

test('stalled readers that hold more than half of the room are given up, the one that waits longest first', async () => {
  const { proxy, clock } = tunnelPair(
    ({ answer, path }) => {
      answer.head(200, {})
      answer.write(Buffer.alloc(path === '/small' ? 10 : 64 * KIB))
    },
    { proxy: { limits: { streamWindow: 64 * KIB, connectionWindow: 256 * KIB } } },
  )
  const stalled = []
  for (let index = 0; index < 4; index++) {
    const one = ask(proxy.target)
    one.stall()
    stalled.push(one)
    await settle()
    await clock.advance(100)
  }
  // The tunnel has no room left: another stream has to wait for it.
  const waiting = ask(proxy.target, { path: '/small' })
  await settle()
  expect(waiting.body.length).toBe(0)
  await clock.advance(4000)
  expect([stalled.map(({ outcome }) => outcome), waiting.body.length]).toEqual([['aborted', 'aborted', 'open', 'open'], 10])
  expect(stalled[0]!.reason).toBe('its reader was too slow, and others needed the room')
})

test('a writer that is never let go on is freed after two minutes', async () => {
  const outcome: string[] = []
  const { proxy, clock } = tunnelPair(async ({ answer, signal }) => {
    answer.head(200, {})
    while (answer.write(Buffer.alloc(64 * KIB)));
    await answer.drained()
    outcome.push(signal.aborted ? 'gone' : 'went on')
  })
  const asked = ask(proxy.target)
  asked.stall()
  await clock.advance(119_000)
  expect(outcome).toEqual([])
  await clock.advance(5000)
  expect([outcome, asked.outcome]).toEqual([['gone'], 'aborted'])
})

test('a writer that does not wait is stopped before it fills the memory', async () => {
  let written = 0
  const { proxy } = tunnelPair(({ answer, signal }) => {
    answer.head(200, {})
    for (; written < 100 && !signal.aborted; written++) answer.write(Buffer.alloc(1024 * KIB))
  })
  const asked = ask(proxy.target)
  asked.stall()
  await asked.over
  expect([written, asked.outcome]).toEqual([33, 'aborted'])
})

test('large answers take turns with small ones', async () => {
  const order: string[] = []
  const { proxy } = tunnelPair(({ answer, path }) => {
    answer.head(200, {})
    answer.end(Buffer.alloc(path === '/large' ? 8 * 1024 * KIB : 100))
  })
  const watch = (path: string): Promise<unknown> => ask(proxy.target, { path }).over.then(() => order.push(path))
  const all = [watch('/large'), watch('/large'), watch('/small'), watch('/small')]
  await Promise.all(all)
  expect(order).toEqual(['/small', '/small', '/large', '/large'])
})

test('more streams than the agent takes are not sent; the next number after the last opens another tunnel', async () => {
  const waiting: Exchange[] = []
  const full = tunnelPair((exchange) => void waiting.push(exchange), { agent: { limits: { maxStreams: 2 } } })
  await settle()
  const asked = [ask(full.proxy.target), ask(full.proxy.target), ask(full.proxy.target)]
  await settle()
  expect([waiting.length, asked.map(({ status }) => status), full.proxy.isTaking()]).toEqual([2, [0, 0, 503], false])

  const worn = tunnelPair(echo, { proxy: { firstId: 2 ** 31 - 2 } })
  const last = [ask(worn.proxy.target, { text: 'a' }), ask(worn.proxy.target, { text: 'b' }), ask(worn.proxy.target, { text: 'c' })]
  await Promise.all(last.map(({ over }) => over))
  expect([last.map(({ status }) => status), await worn.proxy.closed]).toEqual([[200, 200, 503], undefined])
  await worn.agent.drained
})

test('what is sent before the agent has said hello waits for it', async () => {
  const { proxy, sockets } = tunnelPair(echo, { isFrozen: true })
  const before = sockets[0].written
  const asked = ask(proxy.target, { text: 'early' })
  await settle()
  expect([asked.status, sockets[0].written]).toEqual([0, before])
  sockets[1].isFrozen = false
  sockets[1].thaw()
  await asked.over
  expect(asked.body.toString()).toBe('early')
})

test('frames of one turn of the event loop leave in one write', async () => {
  const { proxy, sockets } = tunnelPair(echo)
  await settle()
  let writes = 0
  const write = sockets[0]._write.bind(sockets[0])
  sockets[0]._write = (chunk, encoding, done) => {
    writes += 1
    write(chunk, encoding, done)
  }
  const asked = Array.from({ length: 50 }, (_, index) => ask(proxy.target, { text: `call ${index}` }))
  await Promise.all(asked.map(({ over }) => over))
  expect([writes, asked.map(({ body }) => body.toString()).at(-1)]).toEqual([1, 'call 49'])
})
