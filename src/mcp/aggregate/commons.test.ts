import { expect, test } from 'vitest'
import { type Answered, createFixture, fakeMember, type FakeMember, type Fixture, NOW } from './aggregate.fixture.ts'
import type { SessionShelf } from './session-shelf.ts'

// Two processes with one key and one shelf.

interface Shelf extends SessionShelf {
  kept: Map<string, { body: string; revision: number; owner: string }>
  fault: Error | undefined
}

function createShelf(): Shelf {
  const listeners = new Set<(name: string) => void>()
  const shelf: Shelf = {
    kept: new Map(),
    fault: undefined,
    find: async (name) => {
      if (shelf.fault) throw shelf.fault
      return shelf.kept.get(name)
    },
    keep: async ({ name, body, owner, revision }) => {
      if (shelf.fault) throw shelf.fault
      if ((shelf.kept.get(name)?.revision ?? 0) !== revision) return false
      shelf.kept.set(name, { body, owner, revision: revision + 1 })
      for (const listener of listeners) listener(name)
      return true
    },
    take: async (name) => {
      const { body } = shelf.kept.get(name) ?? {}
      shelf.kept.delete(name)
      return body
    },
    onKept: (listener) => {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }
  return shelf
}

interface Two {
  shelf: Shelf
  here: Fixture
  there: Fixture
  /** The server `a` as each of them reaches it. */
  a: FakeMember
  b: FakeMember
}

function createTwo(): Two {
  const shelf = createShelf()
  const [a, b] = [fakeMember('a', ['x']), fakeMember('a', ['x'])]
  return { shelf, here: createFixture([a], {}, shelf), there: createFixture([b], {}, shelf), a, b }
}

const NOTE = { uri: 'sallyport://a/note://1' }

async function settle(...fixtures: Fixture[]): Promise<void> {
  for (let round = 0; round < 3; round++) for (const fixture of fixtures) await fixture.timers.advance(0)
}

function answer(fixture: Fixture, session: string, message: unknown): Answered {
  return fixture.send({ text: JSON.stringify({ jsonrpc: '2.0', ...Object(message) }), headers: { 'mcp-session-id': session } })
}

function callTool(fixture: Fixture, session: string): Answered {
  const text = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'a_x', arguments: {} } })
  return fixture.send({ text, headers: { 'mcp-session-id': session } })
}

/** A tool of `member` that asks the client, and says what it was answered. */
function asks(member: FakeMember): { answers: unknown[] } {
  const answers: unknown[] = []
  member.on['tools/call'] = (call) => {
    const { exchange, message } = call
    exchange.answer.head(200, { 'content-type': 'text/event-stream' })
    const question = { jsonrpc: '2.0', id: 7, method: 'elicitation/create', params: { message: 'Which?' } }
    exchange.answer.write(Buffer.from(`data: ${JSON.stringify(question)}\n\n`))
    const inner = member.serve
    member.serve = (next) => {
      const said = next.body.length > 0 ? JSON.parse(next.body.toString('utf8')) : {}
      if (said.method !== undefined || said.id !== 7) return inner(next)
      answers.push(said.result ?? said.error)
      next.answer.head(202, {})
      next.answer.end()
      exchange.answer.write(Buffer.from(`data: ${JSON.stringify({ jsonrpc: '2.0', id: message.id, result: { content: [] } })}\n\n`))
      exchange.answer.end()
    }
  }
  return { answers }
}

test('subscriptions and the level of the log are there when the session comes to another process, which the first one need not live to see', async () => {
  const { here, there, b } = createTwo()
  const session = await here.open()
  await here.call(session, 'logging/setLevel', { level: 'warning' })
  expect((await here.call(session, 'resources/subscribe', NOTE)).json.result).toEqual({})
  await here.endpoint.close()
  const stream = there.send({ method: 'GET', headers: { 'mcp-session-id': session, accept: 'text/event-stream' } })
  await settle(there)
  expect(b.calls.map(({ message, method }) => [message.method ?? method, message.params?.uri ?? message.params?.level])).toEqual(
    expect.arrayContaining([
      ['logging/setLevel', 'warning'],
      ['resources/subscribe', 'note://1'],
    ]),
  )
  b.emit({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'note://1' } })
  await settle(there)
  expect(stream.events).toMatchObject([{ method: 'notifications/resources/updated', params: NOTE }])
})

test('what the client subscribes to at one comes on the stream that it has at the other, and ends there too', async () => {
  const { here, there, a } = createTwo()
  const session = await here.open()
  const stream = here.send({ method: 'GET', headers: { 'mcp-session-id': session, accept: 'text/event-stream' } })
  await there.call(session, 'resources/subscribe', NOTE)
  await settle(there, here)
  a.emit({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'note://1' } })
  await settle(here)
  expect(stream.events).toMatchObject([{ method: 'notifications/resources/updated', params: NOTE }])
  await there.call(session, 'logging/setLevel', { level: 'error' })
  await there.call(session, 'resources/unsubscribe', NOTE)
  await settle(there, here)
  expect(a.methods().filter((method) => /subscribe|setLevel/.test(method))).toEqual([
    'resources/subscribe',
    'logging/setLevel',
    'resources/unsubscribe',
  ])
})

test('both change it at the same time, and both know all of it', async () => {
  const { here, there } = createTwo()
  const session = await here.open()
  await there.call(session, 'ping')
  await settle(there, here)
  const other = { uri: 'sallyport://a/note://2' }
  await Promise.all([here.call(session, 'resources/subscribe', NOTE), there.call(session, 'resources/subscribe', other)])
  await settle(there, here)
  const third = fakeMember('a')
  const elsewhere = createFixture([third], {}, createShelf())
  expect((await elsewhere.call(session, 'ping')).status).toBe(200) // another store knows nothing of it
  for (const fixture of [here, there])
    for (const one of [NOTE, other]) expect((await fixture.call(session, 'resources/unsubscribe', one)).json.result).toEqual({})
})

test('an answer that comes to another process reaches the server that asked, once', async () => {
  const { here, there, b } = createTwo()
  const { answers } = asks(b)
  const session = await here.open()
  await there.call(session, 'tools/list')
  const call = callTool(there, session)
  await settle(there, here)
  const [question] = call.events
  expect(question).toMatchObject({ method: 'elicitation/create' })
  const said = answer(here, session, { id: question.id, result: { action: 'accept' } })
  for (let round = 0; round < 5; round++) await Promise.all([here.timers.advance(100), there.timers.advance(100)])
  expect(said.status).toBe(202)
  expect(answers).toEqual([{ action: 'accept' }])
  expect(call.events.at(-1)).toMatchObject({ id: 1, result: { content: [] } })
  const again = answer(here, session, { id: question.id, result: { action: 'accept' } })
  for (let round = 0; round < 5; round++) await here.timers.advance(1000)
  expect(again.status).toBe(400)
  expect(again.json.error.message).toBe('nobody waits for this any more: the replica of the gateway that held the request is gone')
  expect(answers).toHaveLength(1)
})

test.each([
  { what: 'one that is too large is refused to both, at once', text: 'x'.repeat(300_000), status: 413, told: { code: -32603 } },
  { what: 'one of quotes alone goes, as long as it may be', text: '"'.repeat(131_000), status: 202, told: { text: '"'.repeat(131_000) } },
])('$what', async ({ text, status, told }) => {
  const { here, there, b } = createTwo()
  const { answers } = asks(b)
  const session = await here.open()
  await there.call(session, 'tools/list')
  const call = callTool(there, session)
  await settle(there, here)
  const said = answer(here, session, { id: call.events[0].id, result: { text } })
  for (let round = 0; round < 5; round++) await Promise.all([here.timers.advance(100), there.timers.advance(100)])
  expect(said.status).toBe(status)
  expect(answers).toEqual([expect.objectContaining(told)])
})

test('only so many answers of one session are on their way at a time, to whomever', async () => {
  const { shelf, here, there } = createTwo()
  const session = await here.open()
  await there.call(session, 'ping')
  await settle(there, here)
  const kept = shelf.kept.size
  const said = Array.from({ length: 25 }, (_, n) => answer(here, session, { id: `s-other-${n}`, result: {} }))
  for (let round = 0; round < 5; round++) await settle(here)
  expect(shelf.kept.size - kept).toBe(20)
  expect(said.filter(({ status }) => status === 429)).toHaveLength(5)
  for (let round = 0; round < 5; round++) await here.timers.advance(1500)
  expect(said.filter(({ status }) => status === 400)).toHaveLength(20)
  const later = answer(here, session, { id: 's-other-25', result: {} })
  for (let round = 0; round < 5; round++) await here.timers.advance(1500)
  expect(later.status).toBe(400)
})

test('a request is cancelled wherever the client says so', async () => {
  const { here, there, b } = createTwo()
  b.on['tools/call'] = () => {}
  const session = await here.open()
  await there.call(session, 'tools/list')
  there.send({
    text: JSON.stringify({ jsonrpc: '2.0', id: 5, method: 'tools/call', params: { name: 'a_x', arguments: {} } }),
    headers: { 'mcp-session-id': session },
  })
  await settle(there, here)
  expect((await here.ask({ text: cancel(5), headers: { 'mcp-session-id': session } })).status).toBe(202)
  await settle(here, there)
  expect(b.calls.at(-1)?.message).toMatchObject({ method: 'notifications/cancelled', params: { requestId: 5 } })
})

test('notifications for elsewhere are not written without end', async () => {
  const { shelf, here, there } = createTwo()
  const session = await here.open()
  await there.call(session, 'ping')
  await settle(there, here)
  const kept = shelf.kept.size
  const notify = async (from: number) => {
    for (let n = from; n < from + 100; n++) await here.ask({ text: cancel(n), headers: { 'mcp-session-id': session } })
  }
  await notify(0)
  expect(shelf.kept.size - kept).toBe(20)
  await here.timers.advance(5000)
  await notify(100)
  expect(shelf.kept.size - kept).toBe(40)
})

function cancel(requestId: number): string {
  return JSON.stringify({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId } })
}

test('a session that is deleted at one is over at the other', async () => {
  const { shelf, here, there } = createTwo()
  const session = await here.open()
  expect((await there.call(session, 'ping')).status).toBe(200)
  await settle(there, here)
  expect((await here.ask({ method: 'DELETE', headers: { 'mcp-session-id': session } })).status).toBe(200)
  await settle(there, here)
  expect((await there.call(session, 'ping')).status).toBe(404)
  expect((await createFixture([], {}, shelf).call(session, 'ping')).status).toBe(404)
})

test('a session that is deleted at one is over at the other, even when that changes it at the same moment', async () => {
  const shelf = createShelf()
  const [here, there] = [createFixture([fakeMember('a', ['x'])], {}, shelf), createFixture([fakeMember('a', ['x'])], {}, shelf)]
  const session = await here.open()
  await there.call(session, 'resources/subscribe', NOTE)
  await settle(there, here)
  const { find } = shelf
  const deleted = Promise.withResolvers<void>()
  shelf.find = (name) => deleted.promise.then(() => find(name))
  const changing = there.send({
    text: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'logging/setLevel', params: { level: 'info' } }),
    headers: { 'mcp-session-id': session },
  })
  await settle(there)
  shelf.find = find
  expect((await here.ask({ method: 'DELETE', headers: { 'mcp-session-id': session } })).status).toBe(200)
  deleted.resolve()
  await settle(there, here)
  expect(changing.isOver).toBe(true)
  expect((await there.call(session, 'ping')).status).toBe(404)
})

test('one that was idle here goes on when it comes back', async () => {
  const { here, there } = createTwo()
  const session = await here.open()
  await there.call(session, 'ping')
  await settle(there, here)
  here.clock.now = NOW + 6 * 60_000
  for (let step = 0; step < 20; step++) {
    here.clock.now += 100
    here.endpoint.sweep()
  }
  expect((await here.call(session, 'ping')).status).toBe(200)
})

test('while nothing can be kept everything goes on here, and an answer for elsewhere is refused at once', async () => {
  const { shelf, here, there, b } = createTwo()
  const session = await here.open()
  await there.call(session, 'ping')
  await settle(there, here)
  shelf.fault = new Error('away')
  expect((await there.call(session, 'resources/subscribe', NOTE)).json.result).toEqual({})
  expect((await there.call(session, 'logging/setLevel', { level: 'info' })).json.result).toEqual({})
  expect(b.methods()).toContain('resources/subscribe')
  expect((await answerEnded(here, session)).status).toBeGreaterThanOrEqual(500)
  shelf.fault = undefined
  const other = { uri: 'sallyport://a/note://2' }
  expect((await there.call(session, 'resources/subscribe', other)).json.result).toEqual({})
  await settle(there, here)
  expect(b.methods()).not.toContain('resources/unsubscribe')
  // What could not be kept is, with what came after it.
  const third = fakeMember('a')
  const elsewhere = createFixture([third], {}, shelf)
  await elsewhere.call(session, 'tools/list')
  const asked = third.calls.filter(({ message }) => /subscribe|setLevel/.test(message.method ?? ''))
  expect(asked.map(({ message }) => message.params)).toEqual(
    expect.arrayContaining([{ uri: 'note://1' }, { uri: 'note://2' }, { level: 'info' }]),
  )
})

test('many changes while the store is slow wait for one write, not for one each', async () => {
  const { shelf, there, here } = createTwo()
  const session = await here.open()
  await there.call(session, 'tools/list')
  await settle(there, here)
  const slow = Promise.withResolvers<void>()
  let writes = 0
  const { keep } = shelf
  shelf.keep = async (kept) => {
    writes++
    await slow.promise
    return keep(kept)
  }
  const answers = Array.from({ length: 30 }, (_, index) =>
    there.send({
      text: JSON.stringify({ jsonrpc: '2.0', id: index, method: 'resources/subscribe', params: { uri: `sallyport://a/note://${index}` } }),
      headers: { 'mcp-session-id': session },
    }),
  )
  await settle(there, here)
  slow.resolve()
  await settle(there, here)
  expect(answers.map(({ status }) => status)).toEqual(Array(30).fill(200))
  expect(writes).toBeLessThanOrEqual(2)
  const third = fakeMember('a')
  await createFixture([third], {}, shelf).call(session, 'tools/list')
  expect(third.methods().filter((method) => method === 'resources/subscribe')).toHaveLength(30)
})

async function answerEnded(fixture: Fixture, session: string): Promise<Answered> {
  return await fixture.ask({
    text: JSON.stringify({ jsonrpc: '2.0', id: 's-other-1', result: {} }),
    headers: { 'mcp-session-id': session },
  })
}

test("nothing that another owner's session is called changes mine, nor what was not sealed here", async () => {
  const { shelf, here, there, a } = createTwo()
  const session = await here.open()
  await there.call(session, 'resources/subscribe', NOTE)
  await settle(there, here)
  const [id = ''] = session.split('.')
  const kept = shelf.kept.get(id)
  for (const body of ['', 'x', `${kept?.body}x`, JSON.stringify({ value: { subscribed: [] } })])
    expect(await shelf.keep({ name: id, owner: 'user:eve', body, revision: shelf.kept.get(id)?.revision ?? 0, expiresAt: NOW })).toBe(true)
  await settle(there, here)
  expect(a.methods()).not.toContain('resources/unsubscribe')
  expect((await here.call(session, 'ping')).status).toBe(200)
})

test('a session subscribes to no more than can be carried', async () => {
  const { here } = createTwo()
  const session = await here.open()
  const subscribe = (index: number) =>
    here.call(session, 'resources/subscribe', { uri: `sallyport://a/${String(index).padStart(2, '0')}${'\u0001'.repeat(2000)}` })
  // Six bytes of JSON for each.
  for (let index = 0; index < 21; index++) expect((await subscribe(index)).json.result).toEqual({})
  expect((await subscribe(21)).json.error.message).toContain('may subscribe to 1000 resources, whose URIs have 262144 bytes')
  expect((await subscribe(20)).json.result).toEqual({})
})
