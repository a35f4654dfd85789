import { expect, it } from 'vitest'
import { createSseParser, type SseEvent } from '../../../lib/sse.ts'
import type { Reply } from '../../upstream/upstream.ts'
import { type Continuing, continueEvents } from './continued.ts'

const never = new AbortController().signal

async function* stream(text: string): AsyncGenerator<SseEvent> {
  yield* createSseParser().push(Buffer.from(text))
}

/** Reads it all; `asked` are the ids after which more was fetched. */
async function readAll(
  first: string,
  more: Reply[],
  isAnswered: Continuing['isAnswered'] = () => false,
): Promise<{ data: string[]; asked: string[] }> {
  const asked: string[] = []
  const reopen = async (lastEventId: string): Promise<Reply> => {
    asked.push(lastEventId)
    return more.shift() ?? { kind: 'refused', status: 405, bytes: Buffer.alloc(0), contentType: '' }
  }
  const events = await Array.fromAsync(continueEvents(stream(first), { reopen, isAnswered, signal: never }))
  return { data: events.map(({ data }) => data.toString()), asked }
}

it('a stream without event ids is over when it ends', async () => {
  expect(await readAll('data: a\n\n', [])).toEqual({ data: ['a'], asked: [] })
})

it('an answered one is not fetched again', async () => {
  expect(await readAll('id: 1\ndata: a\n\n', [], () => true)).toEqual({ data: ['a'], asked: [] })
})

it('one with event ids goes on after the last of them, until there is no more', async () => {
  const more: Reply[] = [{ kind: 'events', events: stream('id: 2\ndata: b\n\ndata: c\n\n') }]
  expect(await readAll('id: 1\nretry: 0\ndata:\n\n', more)).toEqual({ data: ['', 'b', 'c'], asked: ['1', '2'] })
})

it('a server that ends it again and again is given up', async () => {
  const more = Array.from({ length: 200 }, (): Reply => ({ kind: 'events', events: stream('') }))
  expect((await readAll('id: 1\nretry: 0\ndata:\n\n', more)).asked.length).toBe(100)
})
