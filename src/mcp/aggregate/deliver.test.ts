import { expect, test } from 'vitest'
import { frameSse } from '../../lib/sse.ts'
import { type Call, createFixture, fakeMember, settle } from './aggregate.fixture.ts'

/** Writes messages as events, and goes away when they were read. */
const breaking =
  (...messages: string[]) =>
  ({ exchange }: Call) => {
    exchange.answer.head(200, { 'content-type': 'text/event-stream' })
    for (const data of messages) exchange.answer.write(frameSse({ data }))
    void settle().then(() => exchange.answer.abort('gone'))
  }

test('a member that goes away after its answer adds nothing to it', async () => {
  const a = fakeMember('a', ['x'])
  const f = createFixture([a])
  const session = await f.open()
  await f.call(session, 'tools/list')
  a.on['tools/call'] = (call) => breaking(`{"jsonrpc":"2.0","id":${call.message.id},"result":{"content":[]}}`)(call)
  const answered = await f.call(session, 'tools/call', { name: 'a_x' })
  expect(answered.events).toMatchObject([{ result: { content: [] } }])
})

test('one that goes away before it is an error', async () => {
  const a = fakeMember('a', ['x'])
  const f = createFixture([a])
  const session = await f.open()
  await f.call(session, 'tools/list')
  a.on['tools/call'] = breaking('{"jsonrpc":"2.0","method":"notifications/message","params":{}}')
  const answered = await f.call(session, 'tools/call', { name: 'a_x' })
  expect(answered.events.at(-1)).toMatchObject({ error: { code: -32603 } })
})
