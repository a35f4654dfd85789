import { expect, test } from 'vitest'
import { ANSWER, breakOff, dataOf, idsOf, note, requests, start, sweepASecond, turn } from './replay.fixture.ts'

test('nobody else gets the events of a stream, whatever id is named', async () => {
  const s = await start()
  const id = await breakOff(s)
  s.say(ANSWER)
  s.end()
  await expect.poll(() => requests(s.f).length).toBe(1)
  const [bob, other] = [s.f.caller('bob'), await s.f.open()]
  const bobs = await s.f.open(bob)
  const theirs = s.get(id, s.session, bob)
  await theirs.ended
  expect([theirs.status, theirs.text]).toEqual([404, expect.stringContaining('unknown MCP session')])
  for (const stream of [
    s.get(id, bobs, bob),
    s.get(id, other),
    s.get(`${id.slice(0, -1)}99`),
    s.get(id.replace(/-\d+$/, '')),
    s.get('x'),
  ]) {
    await stream.begun
    await turn()
    expect([stream.status, stream.text]).toEqual([200, ': keep-alive\n\n'])
  }
})

test('an id of this gateway never goes up to the MCP server, another one does', async () => {
  const s = await start()
  const id = await breakOff(s)
  s.get(`${id}9`)
  s.get('their-own')
  await turn()
  await turn()
  expect(s.f.upstream.listened.map((headers) => headers['last-event-id'])).toEqual([undefined, 'their-own'])
})

test('a client that goes on after an event of the MCP server keeps the id of that', async () => {
  const s = await start()
  const stream = s.get('their-own')
  await stream.begun
  sweepASecond(s.f)
  s.f.upstream.emit(note(1))
  await expect.poll(() => dataOf(stream.text)).toEqual([note(1)])
  expect(idsOf(stream.text)).toEqual([])
})

test('the answer of a call whose client went away is recorded once and given when it comes back', async () => {
  const s = await start()
  const id = await breakOff(s)
  s.say(note(2))
  s.say(ANSWER)
  s.end()
  await expect.poll(() => requests(s.f).length).toBe(1)
  const back = s.get(id)
  expect(await back.ended).toBe('ended')
  expect(dataOf(back.text)).toEqual([note(2), ANSWER])
  expect(back.text).toMatch(new RegExp(`^: keep-alive\\n\\nid: ${id}\\ndata: \\n\\nid: `))
  expect(requests(s.f)).toMatchObject([{ tool: 'echo', success: true }])
  expect(s.f.events.filter(({ event }) => event === 'mcp.session.listen_sse_stream')).toHaveLength(1)
  const again = s.get(id)
  await again.ended
  expect(dataOf(again.text)).toEqual([note(2), ANSWER])
})

test('who has everything is told not to come back', async () => {
  const s = await start()
  const called = s.call()
  await turn()
  s.say(note(1))
  s.say(ANSWER)
  s.end()
  await called.ended
  const back = s.get(idsOf(called.text).at(-1))
  await back.ended
  expect([back.status, back.text]).toEqual([204, ''])
})

test('who comes back in the middle follows until the answer; the connection before gets nothing more', async () => {
  const s = await start()
  const called = s.call()
  await turn()
  s.say(note(1))
  await expect.poll(() => dataOf(called.text)).toEqual([note(1)])
  const [prime] = idsOf(called.text)
  const back = s.get(prime)
  expect(await called.ended).toBe('ended')
  await expect.poll(() => dataOf(back.text)).toEqual([note(1)])
  s.say(note(2))
  await expect.poll(() => dataOf(back.text)).toEqual([note(1), note(2)])
  const third = s.get(idsOf(back.text).at(-1))
  await back.ended
  s.say(ANSWER)
  s.end()
  await third.ended
  expect(dataOf(called.text)).toEqual([note(1)])
  expect(dataOf(back.text)).toEqual([note(1), note(2)])
  expect(dataOf(third.text)).toEqual([ANSWER])
})

test('who comes back and goes away again does not hold up the server', async () => {
  const s = await start()
  const back = s.get(await breakOff(s))
  await back.begun
  back.leave()
  await back.ended
  s.say(note(2))
  s.say(ANSWER)
  s.end()
  await expect.poll(() => requests(s.f).length).toBe(1)
})

test('a failure is an answer like any other', async () => {
  const s = await start()
  const back = s.get(await breakOff(s))
  await back.begun
  s.f.endpoint.cut(() => 'locked: lunch')
  expect(await back.ended).toBe('ended')
  expect(dataOf(back.text)).toEqual([expect.stringContaining('locked: lunch')])
  expect(requests(s.f)).toMatchObject([{ success: false, error: 'locked: lunch' }])
})

test('revisions before 2025-11-25 get no event without data, 2024-11-05 no ids', async () => {
  const [older, oldest] = [await start('2025-03-26'), await start('2024-11-05')]
  for (const [s, ids] of [
    [older, 2],
    [oldest, 0],
  ] as const) {
    const called = s.call()
    await turn()
    sweepASecond(s.f)
    s.say(note(1))
    s.say(ANSWER)
    s.end()
    await called.ended
    expect(dataOf(called.text)).toEqual([note(1), ANSWER])
    expect(called.text).not.toContain('data: \n')
    expect(idsOf(called.text)).toHaveLength(ids)
  }
})

test('an answer that comes first is passed as it is', async () => {
  const s = await start()
  const called = s.call()
  await turn()
  s.say(ANSWER)
  s.end()
  await called.ended
  expect(called.text).toBe(`data: ${ANSWER}\n\n`)
})

test('the client of a silent stream gets an id to come back with', async () => {
  const s = await start()
  const called = s.call()
  await turn()
  sweepASecond(s.f)
  await called.begun
  called.leave()
  expect(called.text).toMatch(/^id: .*\ndata: \n\n$/)
  s.say(ANSWER)
  s.end()
  await called.served
  const back = s.get(idsOf(called.text)[0])
  await back.ended
  expect(dataOf(back.text)).toEqual([ANSWER])
})

test('ids of the server pass as they are, and serve to come back with', async () => {
  const s = await start()
  const called = s.call()
  await turn()
  s.say('', 'e0')
  s.say(note(1), 'e1')
  await expect.poll(() => dataOf(called.text)).toEqual([note(1)])
  expect(called.text).toBe(`id: e0\ndata: \n\nid: e1\ndata: ${note(1)}\n\n`)
  called.leave()
  s.say(ANSWER, 'e2')
  s.end()
  await called.served
  const back = s.get('e1')
  await back.ended
  expect(back.text).toBe(`: keep-alive\n\nid: e1\ndata: \n\nid: e2\ndata: ${ANSWER}\n\n`)
  expect(s.f.upstream.listened).toEqual([])
})

test('a stream that the server ends early is the server’s to resume', async () => {
  const s = await start()
  const called = s.call()
  await turn()
  s.say('', 'e0')
  s.end()
  await called.ended
  s.get('e0')
  await expect.poll(() => s.f.upstream.listened.map((headers) => headers['last-event-id'])).toEqual(['e0'])
})

test.each([
  ['too many events', 257, 1],
  ['too many bytes', 5, 300_000],
])('of %s the oldest go; who missed one of those gets an ordinary stream', async (_, count, size) => {
  const s = await start()
  const id = await breakOff(s)
  for (let n = 0; n < count; n++) s.say(note('x'.repeat(size)))
  s.say(ANSWER)
  s.end()
  await expect.poll(() => requests(s.f).length).toBe(1)
  const back = s.get(id)
  await back.begun
  await turn()
  expect(back.text).toBe(': keep-alive\n\n')
})

test('what is kept for a session is bounded over its streams, the oldest going first', async () => {
  const s = await start()
  const ids: string[] = []
  for (let n = 0; n < 6; n++) {
    ids.push(await breakOff(s))
    s.say(note('x'.repeat(900_000)))
    s.say(ANSWER)
    s.end()
    await expect.poll(() => requests(s.f).length).toBe(n + 1)
  }
  const answers = ids.map((id) => s.get(id))
  await Promise.all(answers.map((answer) => answer.begun))
  await turn()
  expect(answers.map(({ text }) => dataOf(text).length)).toEqual([0, 0, 2, 2, 2, 2])
})

test('five minutes after its end a stream is forgotten', async () => {
  const s = await start()
  const id = await breakOff(s)
  s.say(ANSWER)
  s.end()
  await expect.poll(() => requests(s.f).length).toBe(1)
  s.f.clock.now += 298_000
  sweepASecond(s.f)
  const back = s.get(id)
  await back.ended
  expect(dataOf(back.text)).toEqual([ANSWER])
  sweepASecond(s.f)
  const late = s.get(id)
  await late.begun
  await turn()
  expect(late.text).toBe(': keep-alive\n\n')
})

test('the stream of messages outside requests goes on where it broke off', async () => {
  const s = await start()
  const first = s.get()
  await first.begun
  sweepASecond(s.f)
  expect(first.text).toMatch(/^: keep-alive\n\n(: keep-alive\n\n)?id: .*\ndata: \n\n/)
  const [prime] = idsOf(first.text)
  s.f.upstream.emit(note(1))
  s.f.upstream.emit(note(2))
  await expect.poll(() => dataOf(first.text)).toEqual([note(1), note(2)])
  first.leave()
  await first.ended
  const second = s.get(prime)
  await expect.poll(() => dataOf(second.text)).toEqual([note(1), note(2)])
  s.f.upstream.emit(note(3))
  await expect.poll(() => dataOf(second.text)).toEqual([note(1), note(2), note(3)])
  const third = s.get(idsOf(second.text).at(-2))
  await expect.poll(() => dataOf(third.text)).toEqual([note(3)])
})

test('to come back for a request leaves the stream of messages outside requests alone', async () => {
  const s = await start()
  const listening = s.get()
  await listening.begun
  const back = s.get(await breakOff(s))
  await back.begun
  s.f.upstream.emit(note('outside'))
  await expect.poll(() => dataOf(listening.text)).toEqual([note('outside')])
  s.say(ANSWER)
  s.end()
  await back.ended
  expect(dataOf(back.text)).toEqual([ANSWER])
})
