import { expect } from 'vitest'
import { type Answered, createFixture, type Fixture } from '../../test/fakes/mcp-endpoint.ts'
import { AppError } from '../lib/errors.ts'
import { createSseParser, frameSse, type SseEvent } from '../lib/sse.ts'
import type { Caller } from './caller.ts'
import { createQueue, type Queue } from './upstream/queue.ts'

/** A second goes by, and with it a whole round of the sweep. */
export function sweepASecond(f: Fixture): void {
  f.clock.now += 1000
  f.endpoint.sweep()
}

export const CALL = '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo"}}'
export const ANSWER = '{"jsonrpc":"2.0","id":7,"result":{"content":[]}}'
export const note = (n: number | string) => `{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"${n}"}}`

export interface Server {
  f: Fixture
  session: string
  /** The server says something on the stream of the call. */
  say(data: string, id?: string): void
  /** It ends that stream. */
  end(): void
  call(): Answered
  get(lastEventId?: string, session?: string, caller?: Caller): Answered
}

/** A session with a server that answers every call with a stream in the hands of the test. */
export async function start(revision = '2025-11-25'): Promise<Server> {
  const f = createFixture()
  const session = await f.open(undefined, revision)
  let stream: Queue<SseEvent>
  f.upstream.script = (_, signal) => {
    stream = createQueue({ sizeOf: () => 1 })
    signal.addEventListener('abort', () => stream.fail(new AppError('cancelled', 'the request was cancelled'), true))
    return { kind: 'events', events: stream }
  }
  const parser = createSseParser()
  return {
    f,
    session,
    say: (data, id) => parser.push(frameSse({ data, ...(id !== undefined && { id }) })).forEach((event) => stream.push(event)),
    end: () => stream.end(),
    call: () => f.send({ text: CALL, headers: { 'mcp-session-id': session } }),
    get: (lastEventId, id = session, caller = f.caller()) =>
      f.send(
        {
          method: 'GET',
          headers: {
            'mcp-session-id': id,
            accept: 'text/event-stream',
            ...(lastEventId !== undefined && { 'last-event-id': lastEventId }),
          },
        },
        caller,
      ),
  }
}

export const idsOf = (text: string): string[] => [...text.matchAll(/^id: (.*)$/gm)].map(([, id]) => id ?? '')
export const dataOf = (text: string): string[] => [...text.matchAll(/^data: (.+)$/gm)].map(([, data]) => data ?? '')
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Makes a call, of which the client sees one message before its connection breaks; gives the id of that. */
export async function breakOff(s: Server): Promise<string> {
  const called = s.call()
  await turn()
  s.say(note(1))
  await expect.poll(() => dataOf(called.text)).toEqual([note(1)])
  called.leave()
  return idsOf(called.text).at(-1) ?? ''
}

/** The events of its calls. */
export const requests = (f: Fixture) => f.events.filter(({ tool }) => tool === 'echo')
