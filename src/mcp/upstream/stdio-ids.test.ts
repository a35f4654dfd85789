import { afterEach, describe, expect, test } from 'vitest'
import { call, eventsOf, faultOf, messageText, never, notification, readData, request, toolText } from '../../../test/fakes/outgoing.ts'
import { echoApp, openAs, stdioApp, stdioDeps } from '../../../test/fakes/stdio-app.ts'
import { putId } from './stdio-ids.ts'
import { createStdioUpstream } from './stdio.ts'
import type { Outgoing, Upstream, UpstreamSession } from './upstream.ts'

const opened: Upstream[] = []
afterEach(async () => {
  for (const upstream of opened.splice(0)) await upstream.close()
})

/** Writes whatever lines a request has in `params.say`; without, it answers with the line that came in. Ids at the server count from 1. */
const SAYS = `
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, params } = JSON.parse(line)
  const lines = params?.say ?? (id === undefined ? [] : [JSON.stringify({ jsonrpc: '2.0', id, result: { line } })])
  process.stdout.write(lines.map((text) => text + '\\n').join(''))
})`

async function open(app = stdioApp(process.execPath, ['-e', SAYS])): Promise<UpstreamSession> {
  const upstream = createStdioUpstream(app, await stdioDeps({ requestTimeoutMs: 5000 }))
  opened.push(upstream)
  return upstream.open(openAs('modern'))
}

const say = (id: string, lines: string[], more: Partial<Outgoing> = {}): Outgoing => request(id, 'x', { say: lines }, more)
const listen = (id: string): Outgoing => request(id, 'subscriptions/listen', { say: [acknowledged(id === '"s"' ? 1 : 2)] })
const acknowledged = (id: number): string =>
  `{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":${id}}}}`
const changed = (id: string): string =>
  `{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":${id}}}}`
const raw = (text: string, id: string, progressToken?: string): Outgoing => ({
  ...request(id, 'x', {}, { progressToken }),
  bytes: Buffer.from(text),
})

/** What the server got. */
async function lineAtServer(session: UpstreamSession, message: Outgoing): Promise<string> {
  return JSON.parse(messageText(await session.send(message, never))).result.line
}

describe('a server that answers what it was not asked', () => {
  test.each([
    ['an id nobody has', '{"jsonrpc":"2.0","id":99,"result":{"stolen":1}}'],
    ['the next id to come', '{"jsonrpc":"2.0","id":3,"result":{"stolen":1}}'],
    ['the id the client wrote', '{"jsonrpc":"2.0","id":"a","result":{"stolen":1}}'],
    ['our id as text', '{"jsonrpc":"2.0","id":"1","result":{"stolen":1}}'],
    ['our id with a fraction', '{"jsonrpc":"2.0","id":1.0,"result":{"stolen":1}}'],
    ['our id as an exponent', '{"jsonrpc":"2.0","id":1e0,"result":{"stolen":1}}'],
    ['our id in a list', '{"jsonrpc":"2.0","id":[1],"result":{"stolen":1}}'],
    ['no id', '{"jsonrpc":"2.0","id":null,"result":{"stolen":1}}'],
    ['our id further in', '{"jsonrpc":"2.0","result":{"id":1}}'],
  ])('%s', async (_, forged) => {
    const session = await open()
    const waiting = session.send(say('"a"', []), never)
    const other = session.send(say('"b"', [forged, '{"jsonrpc":"2.0","id":2,"result":{}}', '{"jsonrpc":"2.0","id":1,"result":{}}']), never)
    expect(messageText(await other)).toBe('{"jsonrpc":"2.0","id":"b","result":{}}')
    expect(messageText(await waiting)).toBe('{"jsonrpc":"2.0","id":"a","result":{}}')
  })

  test('the second answer to one request goes nowhere', async () => {
    const session = await open()
    const twice = ['{"jsonrpc":"2.0","id":1,"result":{"n":1}}', '{"jsonrpc":"2.0","id":1,"result":{"n":2}}']
    expect(messageText(await session.send(say('1', twice), never))).toBe('{"jsonrpc":"2.0","id":1,"result":{"n":1}}')
    expect(messageText(await session.send(say('1', [...twice, '{"jsonrpc":"2.0","id":2,"result":{"n":3}}']), never))).toContain('"n":3')
  })

  test('a late answer never reaches the next request of the same id', async () => {
    const session = await open()
    const abort = new AbortController()
    const slow = faultOf(session.send(say('1', []), abort.signal))
    abort.abort()
    expect((await slow).code).toBe('cancelled')
    const late = '{"jsonrpc":"2.0","id":1,"result":{"late":true}}'
    expect(messageText(await session.send(say('1', [late, '{"jsonrpc":"2.0","id":2,"result":{}}']), never))).toBe(
      '{"jsonrpc":"2.0","id":1,"result":{}}',
    )
  })

  test('an answer with two meanings fails its request alone', async () => {
    const session = await open()
    const waiting = session.send(say('7', []), never)
    expect(await faultOf(session.send(say('7', ['{"jsonrpc":"2.0","id":2,"result":{"a":1,"a":2}}']), never))).toMatchObject({
      code: 'unavailable',
      origin: 'upstream',
    })
    await session.send(say('8', ['{"jsonrpc":"2.0","id":1,"result":{}}', '{"jsonrpc":"2.0","id":3,"result":{}}']), never)
    expect(messageText(await waiting)).toBe('{"jsonrpc":"2.0","id":7,"result":{}}')
  })
})

describe('a server that tells what belongs to nobody, or to somebody else', () => {
  const progress = (token: string): string =>
    `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":${token},"progress":1}}`
  const DONE = '{"jsonrpc":"2.0","id":3,"result":{}}'

  test.each([
    ['a subscription nobody has', changed('99')],
    ['a subscription by the name the client gave it', changed('"s"')],
    ['a subscription by our number as text', changed('"1"')],
    ['a subscription that is a call', changed('2')],
    ['a subscription of no kind', changed('{"a":1}')],
    ['the end of a call', '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}'],
    [
      'the end of one subscription in the name of another',
      changed('1').replace('"params":{', '"params":{"requestId":2,').replace('tools/list_changed', 'cancelled'),
    ],
    ['progress nobody has', progress('99')],
    ['progress of a call that wants none', progress('2')],
    ['progress of our number as text', progress('"1"')],
    ['progress by the token the client gave', progress('"t"')],
    [
      'progress in the name of a subscription',
      progress('3').replace('"params":{', '"params":{"_meta":{"io.modelcontextprotocol/subscriptionId":1},'),
    ],
    ['a request', '{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}'],
  ])('%s', async (_, forged) => {
    const session = await open()
    const events = eventsOf(await session.send(listen('"s"'), never))
    const waiting = session.send(say('2', []), never)
    const asking = { ...say('"c"', [forged, DONE, changed('1'), '{"jsonrpc":"2.0","id":2,"result":{}}']), progressToken: '"t"' }
    const asked = Buffer.from(asking.bytes.toString().replace('"params":{', '"params":{"_meta":{"progressToken":"t"},'))
    expect(messageText(await session.send({ ...asking, bytes: asked }, never))).toBe('{"jsonrpc":"2.0","id":"c","result":{}}')
    expect(messageText(await waiting)).toBe('{"jsonrpc":"2.0","id":2,"result":{}}')
    expect(await readData(events, 2)).toEqual([acknowledged(1).replace(':1}', ':"s"}'), changed('"s"')])
  })
})

describe('a client that cancels', () => {
  const cancel = (requestId: unknown): Outgoing => notification('notifications/cancelled', { requestId, reason: 'enough' })

  test('what is not its own reaches nobody, although we gave that number', async () => {
    const session = await open(echoApp())
    const waiting = session.send(call('"a"', 'slow', { ms: 100 }), never)
    for (const id of [1, '1', 99, null, undefined]) expect(await session.send(cancel(id), never)).toEqual({ kind: 'accepted' })
    expect(toolText(await waiting)).toBe('late')
    expect(toolText(await session.send(call('2', 'received'), never))).not.toContain('cancelled')
  })

  test('one of two of the same id cancels neither', async () => {
    const session = await open(echoApp())
    const waiting = [1, 2].map(() => session.send(call('5', 'slow', { ms: 100 }), never))
    await session.send(cancel(5), never)
    expect((await Promise.all(waiting)).map(toolText)).toEqual(['late', 'late'])
  })

  test('its own request ends here and at the server, under the name it has there', async () => {
    const session = await open(echoApp())
    const hanging = faultOf(session.send(call('"x\\u0041"', 'hang'), never))
    await session.send(cancel('xA'), never)
    expect((await hanging).code).toBe('cancelled')
    expect(JSON.parse(toolText(await session.send(call('2', 'received'), never)))[1]).toBe(
      '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"reason":"enough"}}',
    )
  })

  test('by going away does the same', async () => {
    const session = await open(echoApp())
    const abort = new AbortController()
    const hanging = faultOf(session.send(call('12345678901234567890', 'hang'), abort.signal))
    abort.abort()
    expect((await hanging).code).toBe('cancelled')
    expect(JSON.parse(toolText(await session.send(call('2', 'received'), never)))[1]).toBe(
      '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"reason":"cancelled by the client"}}',
    )
  })
})

describe('what requests of several clients look like', () => {
  test('ids of every form come back as they were written, each with its own answer', async () => {
    const session = await open(echoApp())
    const ids = ['1', '1', '1.0', '1e0', '"1"', '"\\u0031"', '12345678901234567890', '-0', '"a\\"b"', '""', '"é\\ud83d"', '1']
    const replies = ids.map((id, n) => session.send(call(id, n % 2 ? 'echo' : 'slow', { text: `t${n}`, ms: 30 }), never))
    const texts = (await Promise.all(replies)).map(messageText)
    expect(texts).toEqual(
      ids.map((id, n) => `{"jsonrpc":"2.0","id":${id},"result":{"content":[{"type":"text","text":"${n % 2 ? `t${n}` : 'late'}"}]}}`),
    )
  })

  test('all else arrives as it was written', async () => {
    const session = await open()
    expect(await lineAtServer(session, raw('{"id" : "q" , "jsonrpc":"2.0","method":"x"}', '"q"'))).toBe(
      '{"id" : 1 , "jsonrpc":"2.0","method":"x"}',
    )
    expect(
      await lineAtServer(
        session,
        raw(
          '{"method":"x","params":{"id":"q","n":1.0,"text":"\\"id\\":\\"q\\"","a":{"id":"q","progressToken":"t","_meta":{"progressToken":"t"}},"progressToken":"t"},"jsonrpc":"2.0","\\u0069d":"q"}',
          '"q"',
        ),
      ),
    ).toBe(
      '{"method":"x","params":{"id":"q","n":1.0,"text":"\\"id\\":\\"q\\"","a":{"id":"q","progressToken":"t","_meta":{"progressToken":"t"}},"progressToken":"t"},"jsonrpc":"2.0","\\u0069d":2}',
    )
    expect(
      await lineAtServer(
        session,
        raw(
          '{"params":{"_meta":{"a":{"progressToken":9},"progress\\u0054oken" :"é","z":0}},"method":"x","jsonrpc":"2.0","id":0}',
          '0',
          '"é"',
        ),
      ),
    ).toBe('{"params":{"_meta":{"a":{"progressToken":9},"progress\\u0054oken" :3,"z":0}},"method":"x","jsonrpc":"2.0","id":3}')
    expect(
      await lineAtServer(session, raw('{"jsonrpc":"2.0","id":0,"method":"x","params":{"_meta":{"progressToken":null}}}', '0', 'null')),
    ).toBe('{"jsonrpc":"2.0","id":4,"method":"x","params":{"_meta":{"progressToken":null}}}')
  })

  test('an answer is the same to the byte but for its id', async () => {
    const session = await open()
    const answer = (id: string): string =>
      ` { "result" : {"id":1,"text":"\\"id\\":1","n":1.0,"_meta":{"io.modelcontextprotocol/subscriptionId":1}} , "id" : ${id},"jsonrpc":"2.0"}`
    expect(messageText(await session.send(say('"é"', [answer('1')]), never))).toBe(answer('"é"'))
  })

  test('progress of equal tokens goes to its own request, under the token that was written', async () => {
    const session = await open(echoApp())
    const texts = await Promise.all(
      ['"t"', '"t"', '7', '1.0'].map(async (token) => {
        const asked = call('1', 'progress', {}, { progressToken: token })
        const bytes = Buffer.from(asked.bytes.toString().replace(/"progressToken":[^}]*/, `"progressToken":${token}`))
        return readData(eventsOf(await session.send({ ...asked, bytes }, never)))
      }),
    )
    expect(texts.map((lines) => lines.slice(0, -1))).toEqual(
      ['"t"', '"t"', '7', '1.0'].map((token) =>
        [1, 2].map((n) => `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":${token},"progress":${n}}}`),
      ),
    )
  })

  test('subscriptions of the same id are told apart, however their name is escaped', async () => {
    const session = await open()
    const escaped = (id: string): string => changed(id).replace('ol/sub', 'ol\\/sub')
    const first = eventsOf(await session.send(listen('"s"'), never))
    const second = eventsOf(
      await session.send(
        { ...listen('2'), bytes: Buffer.from(listen('2').bytes.toString().replace('"id":2', '"id":"s"')), id: '"s"' },
        never,
      ),
    )
    await session.send(say('9', [escaped('2'), changed('1'), '{"jsonrpc":"2.0","id":3,"result":{}}']), never)
    expect((await readData(first, 2))[1]).toBe(changed('"s"'))
    expect((await readData(second, 2))[1]).toBe(escaped('"s"'))
    const end = (id: string): string =>
      `{"jsonrpc":"2.0","id":${id},"result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":${id}}}}`
    await session.send(say('9', [end('1'), '{"jsonrpc":"2.0","id":4,"result":{}}']), never)
    expect(await readData(first)).toEqual([end('"s"')])
    await session.send(say('9', [changed('2'), '{"jsonrpc":"2.0","id":5,"result":{}}']), never)
    expect(await readData(second, 1)).toEqual([changed('"s"')])
  })
})

describe('the id of a message', () => {
  const with8 = (text: string, id: string): string | undefined => putId(Buffer.from(text), id, '"ü8"')?.toString()

  test.each([
    ['in another place', '{"id":7,"jsonrpc":"2.0","method":"x"}', '7'],
    ['in the middle', '{"method":"x","jsonrpc":"2.0","id":7,"params":{}}', '7'],
    ['after white space', '{"jsonrpc":"2.0","id": 7,"method":"x"}', '7'],
    ['of another member', '{"jsonrpc":"2.0","method":"x","params":{"a":1,"id":7}}', '7'],
    ['in a text at the end', '{"jsonrpc":"2.0","id": 7,"method":",\\"id\\":7"}', '7'],
    ['a part of it', '{"jsonrpc":"2.0","id":77,"method":"x"}', '7'],
    ['the end of it', '{"jsonrpc":"2.0","method":"x","id":77}', '7'],
    ['not ASCII', '{"jsonrpc":"2.0","id":"\u00fc","method":"x"}', '"\u00fc"'],
  ])('%s is not found at a glance', (_, text, id) => expect(with8(text, id)).toBeUndefined())

  test('second or last it is replaced', () => {
    expect(with8('{"jsonrpc":"2.0","id":7,"method":"x","params":{"id":7}}', '7')).toBe(
      '{"jsonrpc":"2.0","id":"ü8","method":"x","params":{"id":7}}',
    )
    expect(with8('{"method":"x","params":{"id":7},"jsonrpc":"2.0","id":"a"}', '"a"')).toBe(
      '{"method":"x","params":{"id":7},"jsonrpc":"2.0","id":"ü8"}',
    )
  })

  test.each([
    ['{"jsonrpc":"2.0","id":"a","method":"x","params":{"id":"a"}}', '{"jsonrpc":"2.0","id":1,"method":"x","params":{"id":"a"}}'],
    ['{"method":"x","params":{},"jsonrpc":"2.0","id":"a"}', '{"method":"x","params":{},"jsonrpc":"2.0","id":1}'],
    ['{"id":"a","method":"x","jsonrpc":"2.0"}', '{"id":1,"method":"x","jsonrpc":"2.0"}'],
  ])('wherever it stands the server gets ours and the client its own: %s', async (text, expected) => {
    const session = await open()
    const answer = messageText(await session.send(raw(text, '"a"'), never))
    expect(JSON.parse(answer).result.line).toBe(expected)
    expect(answer.startsWith('{"jsonrpc":"2.0","id":"a","result":')).toBe(true)
  })
})
