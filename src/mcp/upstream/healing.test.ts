import { expect, test } from 'vitest'
import { call, eventsOf, faultOf, messageText, never, notification, readData, request } from '../../../test/fakes/outgoing.ts'
import { openAs } from '../../../test/fakes/stdio-app.ts'
import { AppError } from '../../lib/errors.ts'
import { silentLogger } from '../../lib/log.ts'
import { createListenerSlot } from './listener.ts'
import { createHealingUpstream } from './healing.ts'
import type { ListenerSlot } from './listener.ts'
import type { Outgoing, Reply, UpstreamSession } from './upstream.ts'

/** One inner session of the fake below. */
interface Life {
  sent: string[]
  /** Answers everything but `initialize`. */
  script: (message: Outgoing) => Reply | Promise<Reply>
  listener: ListenerSlot
  /** The process ends: what is under way fails. Settles when the end is known. */
  die(): Promise<void>
  isClosed: boolean
}

interface Fixture {
  lives: Life[]
  clock: { now: number }
  /** What the next session answers `initialize` with. */
  server: { capabilities: string; isDown: boolean; refusals: number }
  session: UpstreamSession
}

const REFUSED: Reply = { kind: 'refused', status: 404, bytes: Buffer.alloc(0), contentType: '' }

async function create(): Promise<Fixture> {
  const lives: Life[] = []
  const clock = { now: 1_000_000 }
  const server = { capabilities: '{"tools":{"listChanged":true},"resources":{"subscribe":true}}', isDown: false, refusals: 0 }
  const open = async (): Promise<UpstreamSession> => {
    if (server.isDown || server.refusals-- > 0) throw new AppError('unavailable', 'connection refused', { origin: 'upstream_unreachable' })
    const { life, session } = createLife(`s${lives.length + 1}`, server.capabilities)
    lives.push(life)
    return session
  }
  const inner = { open, stderrTail: () => [], close: () => Promise.resolve() }
  const upstream = createHealingUpstream(inner, { server: 'tools', now: () => clock.now, log: silentLogger, pausesMs: [1, 1] })
  return { lives, clock, server, session: await upstream.open(openAs('legacy')) }
}

function createLife(name: string, capabilities: string): { life: Life; session: UpstreamSession } {
  const ended = Promise.withResolvers<string>()
  const dying = Promise.withResolvers<never>()
  dying.promise.catch(() => undefined)
  const life: Life = {
    sent: [],
    script: (message) => answer(message, `"${name}"`),
    listener: createListenerSlot({ maxQueuedBytes: 1000, onDrop: () => undefined }),
    isClosed: false,
    async die() {
      const error = new AppError('unavailable', 'MCP server "tools" exited (signal SIGKILL)', { origin: 'upstream' })
      dying.reject(error)
      life.listener.end(error)
      ended.resolve(error.message)
      await new Promise((resolve) => setImmediate(resolve))
    },
  }
  const session: UpstreamSession = {
    ended: ended.promise,
    externalId: name,
    async send(message) {
      life.sent.push(message.method ?? 'response')
      if (message.kind !== 'request') return { kind: 'accepted' }
      if (message.method === 'initialize') return answer(message, `{"protocolVersion":"2025-11-25","capabilities":${capabilities}}`)
      return Promise.race([dying.promise, life.script(message)])
    },
    listen: async (_, signal) => ({ kind: 'events', events: life.listener.open(signal) }),
    async close() {
      life.isClosed = true
      life.listener.end()
    },
  }
  return { life, session }
}

function answer({ id }: Outgoing, result: string): Reply {
  return { kind: 'message', bytes: Buffer.from(`{"jsonrpc":"2.0","id":${id},"result":${result}}`) }
}

async function initialize({ session }: Fixture): Promise<void> {
  await session.send(request('0', 'initialize'), never)
  await session.send(notification('notifications/initialized'), never)
}

const hangs = (): Promise<Reply> => new Promise(() => undefined)
const textOf = async (reply: Promise<Reply>): Promise<string> => messageText(await reply)
const settled = (promise: Promise<string>): Promise<string> =>
  Promise.race([promise, new Promise<string>((done) => setImmediate(done, 'goes on'))])

test('before the handshake is done nothing begins anew', async () => {
  const { lives, session } = await create()
  await lives[0]?.die()
  expect(await session.ended).toBe('MCP server "tools" exited (signal SIGKILL)')
  expect(lives).toHaveLength(1)
})

test('a call whose server died is not repeated, and the session goes on', async () => {
  const fixture = await create()
  const { lives, session } = fixture
  await initialize(fixture)
  const [first] = lives
  if (first) first.script = hangs
  const pending = faultOf(session.send(call('1', 'pay'), never))
  await first?.die()
  expect(await pending).toEqual({
    code: 'unavailable',
    origin: 'upstream',
    message: 'MCP server "tools" exited (signal SIGKILL); tools/call may have taken effect and was not repeated, the session goes on',
  })
  expect(await settled(session.ended)).toBe('goes on')
  expect(await textOf(session.send(call('2', 'pay'), never))).toContain('"result":"s2"')
  expect(lives[1]?.sent).toEqual(['initialize', 'notifications/initialized', 'tools/call'])
  expect(first?.isClosed).toBe(true)
})

test.each(['tools/list', 'resources/read', 'prompts/get', 'completion/complete', 'ping'])(
  '%s is repeated when its server died',
  async (method) => {
    const fixture = await create()
    const { lives, session } = fixture
    await initialize(fixture)
    const [first] = lives
    if (first) first.script = hangs
    const pending = textOf(session.send(request('1', method), never))
    await first?.die()
    expect(await pending).toBe('{"jsonrpc":"2.0","id":1,"result":"s2"}')
  },
)

test('what a server does not know the session for is always repeated, all in one new session', async () => {
  const fixture = await create()
  const { lives, session } = fixture
  await initialize(fixture)
  const [first] = lives
  if (first) first.script = () => REFUSED
  const answers = await Promise.all(['1', '2', '3'].map((id) => textOf(session.send(call(id, 'pay'), never))))
  expect(answers.every((text) => text.includes('"result":"s2"'))).toBe(true)
  expect(lives).toHaveLength(2)
  expect(session.externalId).toBe('s2')
})

test('a server that comes back with other capabilities ends the session', async () => {
  const fixture = await create()
  const { lives, session, server } = fixture
  await initialize(fixture)
  await lives[0]?.die()
  server.capabilities = '{"tools":{}}'
  const words = 'the session with MCP server "tools" was lost: it came back with other capabilities: initialize again'
  expect(await faultOf(session.send(call('1', 'pay'), never))).toEqual({ code: 'unavailable', origin: 'upstream', message: words })
  expect(await session.ended).toBe(words)
  expect(lives[1]).toMatchObject({ isClosed: true, sent: ['initialize'] })
})

test('the order of capabilities does not matter', async () => {
  const fixture = await create()
  const { lives, session, server } = fixture
  await initialize(fixture)
  await lives[0]?.die()
  server.capabilities = '{"resources":{"subscribe":true},"tools":{"listChanged":true}}'
  expect(await textOf(session.send(call('1', 'pay'), never))).toContain('"s2"')
})

test('a server that cannot be reached any more ends the session', async () => {
  const fixture = await create()
  await initialize(fixture)
  await fixture.lives[0]?.die()
  fixture.server.isDown = true
  expect(await faultOf(fixture.session.send(call('1', 'pay'), never))).toMatchObject({
    code: 'unavailable',
    origin: 'upstream_unreachable',
  })
  expect(await fixture.session.ended).toBe('connection refused')
})

test('a server that is being started again is waited for, by all who need it', async () => {
  const fixture = await create()
  const { lives, session, server } = fixture
  await initialize(fixture)
  await lives[0]?.die()
  server.refusals = 2
  const answers = [textOf(session.send(call('1', 'pay'), never)), textOf(session.send(call('2', 'pay'), never))]
  for (const answer of await Promise.all(answers)) expect(answer).toContain('"result":"s2"')
  expect(lives).toHaveLength(2)
})

test('a session that is closed while its server is waited for is closed', async () => {
  const fixture = await create()
  await initialize(fixture)
  await fixture.lives[0]?.die()
  fixture.server.isDown = true
  const answer = faultOf(fixture.session.send(call('1', 'pay'), never))
  await fixture.session.close()
  expect(await answer).toMatchObject({ code: 'cancelled' })
  expect(fixture.lives).toHaveLength(1)
})

test('a server that is lost again within ten seconds is not healed', async () => {
  const fixture = await create()
  const { lives, session, clock } = fixture
  await initialize(fixture)
  await lives[0]?.die()
  await session.send(call('1', 'pay'), never)
  clock.now += 9_999
  await lives[1]?.die()
  expect(await session.ended).toBe('MCP server "tools" exited (signal SIGKILL)')
  expect(await faultOf(session.send(call('2', 'pay'), never))).toMatchObject({ code: 'unavailable' })
  expect(lives).toHaveLength(2)
})

test('a session begins anew five times at most', async () => {
  const fixture = await create()
  const { lives, session, clock } = fixture
  await initialize(fixture)
  for (let n = 1; n <= 5; n++) {
    await lives.at(-1)?.die()
    await session.send(call(String(n), 'pay'), never)
    clock.now += 10_000
  }
  expect(await settled(session.ended)).toBe('goes on')
  await lives.at(-1)?.die()
  expect(await session.ended).toBe('MCP server "tools" exited (signal SIGKILL)')
  expect(lives).toHaveLength(6)
})

test('the logging level and the subscriptions are set again, those given up are not', async () => {
  const fixture = await create()
  const { lives, session } = fixture
  await initialize(fixture)
  await session.send(request('1', 'logging/setLevel', { level: 'error' }), never)
  for (const [id, method, uri] of [
    ['2', 'resources/subscribe', 'a'],
    ['3', 'resources/subscribe', 'b'],
    ['4', 'resources/unsubscribe', 'a'],
  ] as const)
    await session.send(request(id, method, { uri }), never)
  await lives[0]?.die()
  await session.send(request('5', 'ping'), never)
  expect(lives[1]?.sent).toEqual(['initialize', 'notifications/initialized', 'logging/setLevel', 'resources/subscribe', 'ping'])
})

test('what a client sent is remembered to a bound only', async () => {
  const fixture = await create()
  const { lives, session } = fixture
  await initialize(fixture)
  const note = 'x'.repeat(400_000)
  for (const uri of ['a', 'b', 'c', 'd']) await session.send(request('1', 'resources/subscribe', { uri, note }), never)
  await session.send(request('1', 'resources/unsubscribe', { uri: 'a' }), never)
  await session.send(request('1', 'resources/subscribe', { uri: 'e', note }), never)
  await lives[0]?.die()
  await session.send(request('5', 'ping'), never)
  expect(lives[1]?.sent.filter((method) => method === 'resources/subscribe')).toHaveLength(2)
})

test('a session whose handshake is too large to be kept is not begun anew', async () => {
  const { lives, session } = await create()
  await session.send(request('0', 'initialize', { note: 'x'.repeat(300_000) }), never)
  await lives[0]?.die()
  expect(await session.ended).toBe('MCP server "tools" exited (signal SIGKILL)')
  expect(lives).toHaveLength(1)
})

test('whoever listens goes on listening, and is told that the lists may have changed', async () => {
  const fixture = await create()
  const { lives, session } = fixture
  await initialize(fixture)
  const heard = readData(eventsOf(await session.listen({}, never)), 3)
  lives[0]?.listener.deliver(Buffer.from('{"n":1}'))
  await lives[0]?.die()
  await expect.poll(() => lives[1]?.listener.deliver(Buffer.from('{"n":2}'))).toBe(true)
  expect(await heard).toEqual(['{"n":1}', '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}', '{"n":2}'])
})

test('closing ends it for good', async () => {
  const fixture = await create()
  await initialize(fixture)
  await fixture.session.close()
  await fixture.lives[0]?.die()
  expect(await faultOf(fixture.session.send(call('1', 'pay'), never))).toMatchObject({ code: 'cancelled' })
  expect(fixture.lives).toHaveLength(1)
})

test('modern conversations are left alone', async () => {
  const { session } = createLife('m', '{}')
  const upstream = createHealingUpstream(
    { open: async () => session, stderrTail: () => ['last words'], close: () => Promise.resolve() },
    { server: 'tools', now: () => 0, log: silentLogger },
  )
  expect(await upstream.open(openAs('modern'))).toBe(session)
  expect(upstream.stderrTail()).toEqual(['last words'])
})
