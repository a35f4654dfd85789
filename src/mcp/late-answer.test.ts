import { expect, test } from 'vitest'
import { eventsOf } from '../../test/fakes/memory-upstream.ts'
import { AppError } from '../lib/errors.ts'
import { ANSWER, CALL, dataOf, idsOf, requests, start, sweepASecond, turn } from './replay.fixture.ts'
import type { Reply } from './upstream/upstream.ts'

/** A call whose server says nothing for a while; `answer` ends that. */
async function silent(accept = 'application/json, text/event-stream') {
  const s = await start()
  const replied = Promise.withResolvers<Reply>()
  s.f.upstream.script = () => replied.promise
  const called = s.f.send({ text: CALL, headers: { 'mcp-session-id': s.session, accept } })
  await turn()
  for (let second = 0; second < 6; second++) sweepASecond(s.f)
  return { ...s, called, answer: replied.resolve, fail: replied.reject }
}

test('an answer in JSON that is long in coming becomes an event, for which the client may come back', async () => {
  const s = await silent()
  expect([s.called.headers['content-type'], s.called.text]).toEqual([
    'text/event-stream',
    expect.stringMatching(/^(: keep-alive\n\n)?id: .*\ndata: \n\n$/),
  ])
  const [prime] = idsOf(s.called.text)
  const back = s.get(prime)
  await s.called.ended
  s.answer({ kind: 'message', bytes: Buffer.from(ANSWER) })
  await back.ended
  expect(dataOf(back.text)).toEqual([ANSWER])
  expect(requests(s.f)).toMatchObject([{ tool: 'echo', success: true }])
})

test.each<[string, () => Reply]>([
  ['in one piece', () => ({ kind: 'message', bytes: Buffer.from(ANSWER) })],
  ['in pieces', () => ({ kind: 'stream', chunks: pieces(ANSWER.slice(0, 20), ANSWER.slice(20)) })],
  ['as an event', () => eventsOf([ANSWER])],
])('a late answer that comes %s is one event', async (_, reply) => {
  const s = await silent()
  s.answer(reply())
  expect(await s.called.ended).toBe('ended')
  expect(dataOf(s.called.text)).toEqual([ANSWER])
})

test('a late answer that breaks off is an error, and no part of it', async () => {
  const s = await silent()
  const broken = async function* () {
    yield Buffer.from('{"jsonrpc":')
    yield Buffer.from('"2.0",')
    throw new AppError('unavailable', 'the connection broke', { origin: 'upstream_unreachable' })
  }
  s.answer({ kind: 'stream', chunks: broken() })
  expect(await s.called.ended).toBe('ended')
  expect(dataOf(s.called.text)).toEqual(['{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the connection broke"}}'])
  expect(requests(s.f)).toMatchObject([{ success: false, error: 'the connection broke' }])
})

test('a client that takes no events waits for its JSON', async () => {
  const s = await silent('application/json')
  expect(s.called.status).toBe(0)
  s.answer({ kind: 'message', bytes: Buffer.from(ANSWER) })
  await s.called.ended
  expect([s.called.headers['content-type'], s.called.text]).toEqual(['application/json', ANSWER])
})

test('nothing is begun before the record of the call is written', async () => {
  const s = await start()
  const gate = Promise.withResolvers<void>()
  s.f.journal.gate = gate.promise
  const called = s.f.send({ text: CALL, headers: { 'mcp-session-id': s.session, accept: '*/*' } })
  await turn()
  for (let second = 0; second < 6; second++) sweepASecond(s.f)
  expect(called.status).toBe(0)
  s.f.journal.isFull = true
  gate.resolve()
  await called.ended
  expect([called.status, called.text]).toEqual([429, expect.stringContaining('the audit journal is full')])
})

async function* pieces(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text)
}
