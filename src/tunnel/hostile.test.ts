import { expect, test } from 'vitest'
import { silentLogger } from '../lib/log.ts'
import { serveTunnel } from './agent-tunnel.ts'
import type { AgentTunnel } from './agent-tunnel.ts'
import type { Exchange, ExchangeTarget } from './exchange.ts'
import { FRAME, MAX_STREAM_ID, decodeReset, encodeGoaway } from './frame.ts'
import type { TunnelLimits } from './limits.ts'
import { openTunnel } from './proxy-tunnel.ts'
import type { ProxyTunnel } from './proxy-tunnel.ts'
import { data, frame, hello, listen, open, ping, reset, widen } from './raw-peer.fixture.ts'
import type { Heard } from './raw-peer.fixture.ts'
import { ask, connectedPair, echo, fakeClock, settle } from './tunnel.fixture.ts'
import type { Asked, FakeClock, MemoryDuplex } from './tunnel.fixture.ts'

const request = (text = ''): Exchange => ask(() => undefined, { text }).exchange
const HEAD = Buffer.from([0, 200, 0, 0])

interface Attacked<T> {
  end: T
  socket: MemoryDuplex
  heard: Heard[]
  clock: FakeClock
  /** How the tunnel ended, or undefined while it lives. */
  why(): Promise<string | undefined>
}

function agentUnder(serve: ExchangeTarget, limits: Partial<TunnelLimits> = {}): Attacked<AgentTunnel> {
  const clock = fakeClock()
  const [socket, theirs] = connectedPair()
  const heard = listen(socket)
  const end = serveTunnel(theirs, serve, { clock, log: silentLogger, limits })
  return { end, socket, heard, clock, why: () => reasonOf(end.closed) }
}

function proxyUnder(limits: Partial<TunnelLimits> = {}): Attacked<ProxyTunnel> {
  const clock = fakeClock()
  const [socket, theirs] = connectedPair()
  const heard = listen(socket)
  const end = openTunnel(theirs, { peer: 'the agent', clock, limits })
  return { end, socket, heard, clock, why: () => reasonOf(end.closed) }
}

async function reasonOf(closed: Promise<{ message: string } | undefined>): Promise<string | undefined> {
  await settle()
  return Promise.race([closed.then((error) => error?.message ?? 'closed cleanly'), settle().then(() => undefined)])
}

const opened = (id: number, isWhole = false): Buffer => open(id, request(isWhole ? '' : 'ten bytes!'), isWhole)

test.each<[string, Buffer[], string]>([
  ['something else than hello', [ping()], 'the first frame has to be hello'],
  ['HTTP', [Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n')], 'there is no frame of kind 32'],
  ['TLS', [Buffer.from('16030100a5010000', 'hex')], 'may not carry'],
  ['another magic', [frame(FRAME.hello, 0, Buffer.alloc(20))], 'does not speak the tunnel protocol'],
  [
    'a later version alone',
    [frame(FRAME.hello, 0, Buffer.from('534c595000020003000000010000040000000400', 'hex'))],
    'speaks versions 2 to 3',
  ],
  ['windows of nothing', [hello({ streamWindow: 0 })], 'a window of 0 bytes is not allowed'],
  ['hello twice', [hello(), hello()], 'hello is said once'],
  ['hello of a stream', [frame(FRAME.hello, 1, hello().subarray(8))], 'hello is said once'],
  ['an unknown kind', [hello(), frame(9, 0)], 'there is no frame of kind 9'],
  ['data of no stream', [hello(), data(5, 'x')], 'data is of no open stream'],
  ['data of stream 0', [hello(), data(0, 'x')], 'data is of no open stream'],
  ['empty data', [hello(), opened(1), data(1, '')], 'a data frame carries nothing'],
  ['a head that the proxy does not send', [hello(), opened(1), frame(FRAME.accept, 1, HEAD)], 'accepted twice'],
  ['a number again', [hello(), opened(3), opened(3)], 'the number of a stream is not new'],
  ['a smaller number', [hello(), opened(3), opened(2)], 'the number of a stream is not new'],
  ['stream 0', [hello(), opened(0)], 'the number of a stream is not new'],
  ['a number above 2^31-1', [hello(), frame(FRAME.open, MAX_STREAM_ID + 1, 'x')], 'a number above 2^31-1'],
  ['data after the end', [hello(), opened(1, true), data(1, 'x')], 'data came after the end'],
  ['a window for nothing', [hello(), widen(7, 1)], 'was never opened'],
  ['a window of zero', [hello(), frame(FRAME.window, 0, Buffer.alloc(4))], 'cannot grow by 0'],
  ['a window that is too large', [hello(), widen(0, MAX_STREAM_ID)], 'the window of the tunnel is too large'],
  ['a window of a stream that is too large', [hello(), opened(1), widen(1, MAX_STREAM_ID)], 'the window of a stream is too large'],
  ['a reset of nothing', [hello(), reset(7)], 'was never opened'],
  ['a pong without a ping', [hello(), frame(FRAME.pong, 0, '12345678')], 'a pong answers no ping'],
  ['a ping of a stream', [hello(), frame(FRAME.ping, 1, '12345678')], 'is of no stream'],
])('%s ends the tunnel of an agent', async (_, frames, message) => {
  const { socket, why, heard } = agentUnder(() => undefined)
  socket.write(Buffer.concat(frames))
  expect(await why()).toContain(message)
  expect(heard.at(-1)?.kind).toBe(FRAME.goaway)
})

test.each<[string, Buffer[], string]>([
  ['a stream that the agent opens', [opened(1)], 'streams are opened by the other end only'],
  ['data before the head', [data(1, 'x')], 'data came before the stream was accepted'],
  ['a second head', [frame(FRAME.accept, 1, HEAD), frame(FRAME.accept, 1, HEAD)], 'accepted twice'],
  ['a head of no stream', [frame(FRAME.accept, 9, HEAD)], 'a stream is accepted that is not open'],
  ['data after the end', [frame(FRAME.accept, 1, HEAD), data(1, 'x', true), data(1, 'y')], 'data is of no open stream'],
  ['more resets than streams', [reset(1), reset(1), reset(1)], 'more streams were reset than there are'],
])('%s ends the tunnel of a proxy', async (_, frames, message) => {
  const { end, socket, why } = proxyUnder()
  socket.write(hello())
  const asked = ask(end.target)
  await settle()
  socket.write(Buffer.concat(frames))
  expect(await why()).toContain(message)
  expect(asked.outcome).not.toBe('open')
})

test('more data than the windows allow ends the tunnel: of a stream, and of all', async () => {
  const limits = { streamWindow: 64 * 1024, connectionWindow: 96 * 1024 }
  for (const [frames, message] of [
    [[data(1, Buffer.alloc(60_000)), data(1, Buffer.alloc(6000))], 'more data came than was allowed'],
    [[data(1, Buffer.alloc(60_000)), data(2, Buffer.alloc(60_000))], 'more data came than was allowed'],
  ] as const) {
    const { end, socket, why } = proxyUnder(limits)
    socket.write(hello())
    const asked = [ask(end.target), ask(end.target)]
    for (const one of asked) one.stall()
    await settle()
    socket.write(Buffer.concat([frame(FRAME.accept, 1, HEAD), frame(FRAME.accept, 2, HEAD), data(1, 'x'), data(2, 'x')]))
    await settle()
    expect(await why()).toBe(undefined)
    socket.write(Buffer.concat(frames))
    expect(await why()).toContain(message)
    expect(asked.map(({ outcome }) => outcome)).toEqual(['aborted', 'aborted'])
  }
})

test('what is under way on a stream that was given up is passed over, and more than that is not', async () => {
  const { end, socket, heard, why } = proxyUnder({ streamWindow: 64 * 1024 })
  socket.write(hello())
  const asked = ask(end.target)
  await settle()
  asked.leave()
  await settle()
  expect(heard.at(-1)).toMatchObject({ kind: FRAME.reset, id: 1 })
  socket.write(Buffer.concat([frame(FRAME.accept, 1, HEAD), data(1, Buffer.alloc(64 * 1024 - 1)), data(1, 'x', true)]))
  expect(await why()).toBe(undefined)
  socket.write(data(1, 'x'))
  expect(await why()).toContain('data is of no open stream')
})

test('streams that are opened only to be reset are refused after a while, and later taken again', async () => {
  let served = 0
  const { socket, heard, clock, why } = agentUnder(() => void served++, { cancelBurst: 100, cancelsPerSecond: 10 })
  socket.write(hello())
  const burst = (from: number): Buffer =>
    Buffer.concat(Array.from({ length: 500 }, (_, index) => [opened(from + index, true), reset(from + index)]).flat())
  socket.write(burst(1))
  await settle()
  expect([served, await why()]).toEqual([100, undefined])
  expect(heard.filter(({ kind }) => kind === FRAME.reset).map(({ payload }) => decodeReset(payload).message)).toEqual(
    Array.from({ length: 400 }, () => 'too many were cancelled'),
  )
  await clock.advance(1000)
  socket.write(burst(1000))
  await settle()
  expect(served).toBe(110)
})

test('more streams at a time than were allowed are refused one by one', async () => {
  const { socket, heard, end, why } = agentUnder(() => undefined, { maxStreams: 3 })
  socket.write(Buffer.concat([hello(), ...[1, 2, 3, 4, 2 ** 30, MAX_STREAM_ID].map((id) => opened(id, true))]))
  await settle()
  expect([end.load(), heard.filter(({ kind }) => kind === FRAME.reset).map(({ id }) => id), await why()]).toEqual([
    3,
    [4, 2 ** 30, MAX_STREAM_ID],
    undefined,
  ])
})

test('floods of frames that only make work end the tunnel', async () => {
  const times = (count: number, bytes: Buffer): Buffer => Buffer.concat(Array.from({ length: count }, () => bytes))
  for (const [flood, message] of [
    [times(65, ping()), 'too many pings'],
    [times(1025, widen(0, 1)), 'too many window frames'],
    [times(5, frame(FRAME.goaway, 0, encodeGoaway(0, 'closing', ''))), 'goodbye is said too often'],
  ] as const) {
    const { socket, why } = agentUnder(() => undefined)
    socket.write(hello())
    await settle()
    expect(await why()).toBe(undefined)
    socket.write(flood)
    expect(await why()).toContain(message)
  }
})

test('answers to frames that nobody reads end the tunnel before they fill the memory', async () => {
  const { socket, why } = agentUnder(() => undefined, { maxStreams: 0 })
  socket.removeAllListeners('data')
  socket.pause()
  socket.write(hello())
  for (let id = 1; id < 40_000; id += 100) {
    socket.write(Buffer.concat(Array.from({ length: 100 }, (_, index) => opened(id + index, true))))
    await settle(1)
  }
  expect(await why()).toContain('answers to frames were not taken')
})

test('bodies that are announced and never sent hold back others only up to a bound', async () => {
  const big = { ...request(), body: Buffer.alloc(600) }
  const { socket, heard, end } = agentUnder(echo, { maxBodyBytes: 1000, maxPendingBodyBytes: 2000 })
  socket.write(Buffer.concat([hello(), open(1, big), open(2, big), open(3, big), open(4, big)]))
  await settle()
  expect([end.load(), heard.filter(({ kind }) => kind === FRAME.reset).map(({ id }) => id)]).toEqual([3, [4]])
  socket.write(Buffer.concat([reset(1), open(5, big), data(5, Buffer.alloc(600), true)]))
  await settle()
  expect(heard.filter(({ id, kind, isEnd }) => id === 5 && kind === FRAME.data && isEnd).length).toBe(1)
})

test('a body that is longer or shorter than announced is not served', async () => {
  let served = 0
  const { socket, heard, why } = agentUnder(() => void served++)
  const ten = request('ten bytes!')
  socket.write(Buffer.concat([hello(), open(1, ten), data(1, 'eleven byte', true), open(2, ten), data(2, 'nine byte', true)]))
  await settle()
  expect([served, heard.filter(({ kind }) => kind === FRAME.reset).map(({ id }) => id), await why()]).toEqual([0, [1, 2], undefined])
})

test('heads that make no sense are refused, each on its own', async () => {
  const seen: Exchange[] = []
  const { socket, heard, why } = agentUnder((exchange) => void seen.push(exchange))
  const fields = (...texts: string[]): Buffer => {
    const bytes = Buffer.alloc(6 + 2 * texts.length)
    bytes.writeUInt16BE(texts.length, 4)
    texts.forEach((text, index) => bytes.writeUInt16BE(text.length, 6 + 2 * index))
    return Buffer.concat([bytes, Buffer.from(texts.join(''), 'latin1')])
  }
  const good = ['POST', '/mcp', 'echo', 'a.b.c', '::1']
  const heads = [
    Buffer.from('x'),
    fields(...good.slice(1)),
    fields('PO ST', ...good.slice(1)),
    fields('POST', '/a b', ...good.slice(2)),
    fields(...good, 'x-a'),
    fields(...good, 'X-A', '1'),
    fields(...good, '', '1'),
    fields(...good, 'x-a', '1', 'x-a', '2'),
    fields(...good, '__proto__', '1'),
    fields(...good, 'x-a', 'b\r\nc: d'),
    fields('POST', '/mcp', '\xff\xfe', 'a.b.c', '::1'),
    fields(...good).subarray(0, -1),
    Buffer.concat([fields(...good), Buffer.from('x')]),
    Buffer.concat([Buffer.from([0, 0, 0, 0, 255, 255]), Buffer.alloc(2000)]),
  ]
  socket.write(Buffer.concat([hello(), ...heads.map((head, index) => frame(FRAME.open, index + 1, head, true))]))
  socket.write(frame(FRAME.open, 100, fields(...good, 'x-a', '1'), true))
  await settle()
  expect(heard.filter(({ kind }) => kind === FRAME.reset).map(({ id }) => id)).toEqual(heads.map((_, index) => index + 1))
  expect([seen.map(({ headers }) => headers), await why()]).toEqual([[{ 'x-a': '1' }], undefined])
})

test('an end that sends a byte now and then, and no frame, is not taken for alive', async () => {
  const { socket, clock, why } = agentUnder(() => undefined)
  socket.write(hello())
  await settle()
  const slow = opened(1)
  for (let second = 0; second < 30; second++) {
    socket.write(slow.subarray(second, second + 1))
    await clock.advance(1000)
  }
  expect(await why()).toContain('did not answer a ping')
})

test('an end that sends frames for ever, and no pong, is not taken for alive', async () => {
  const { socket, clock, why } = agentUnder(() => undefined)
  socket.write(Buffer.concat([hello(), opened(1)]))
  for (let second = 0; second < 60; second++) {
    socket.write(widen(0, 1))
    await clock.advance(1000)
  }
  expect(await why()).toBe(undefined)
  for (let second = 0; second < 20; second++) {
    socket.write(widen(0, 1))
    await clock.advance(1000)
  }
  expect(await why()).toContain('did not answer a ping')
})

test('a proxy whose agent says goodbye for streams it has taken aborts those it has not, and they may be sent again', async () => {
  const failed: unknown[] = []
  const clock = fakeClock()
  const [socket, theirs] = connectedPair()
  listen(socket)
  const { target, closed } = openTunnel(theirs, { peer: 'the agent', clock, fail: (_, error) => failed.push(error.details) })
  socket.write(hello())
  const asked: Asked[] = [ask(target), ask(target)]
  await settle()
  socket.write(frame(FRAME.goaway, 0, encodeGoaway(1, 'closing', 'bye')))
  await settle()
  expect(failed).toEqual([{ carried_out: 'no' }])
  socket.write(Buffer.concat([frame(FRAME.accept, 1, HEAD), data(1, 'x', true)]))
  await settle()
  expect([asked[0]!.body.toString(), await closed]).toEqual(['x', undefined])
})
