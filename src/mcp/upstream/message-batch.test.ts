import type { ServerResponse } from 'node:http'
import { afterEach, describe, expect, test } from 'vitest'
import { call, eventsOf, faultOf, messageText, never, readData, request } from '../../../test/fakes/outgoing.ts'
import { json, sse, startScriptedHttp } from '../../../test/fakes/scripted-http.ts'
import type { ScriptedHttp } from '../../../test/fakes/scripted-http.ts'
import { startSseServer } from '../../../test/fakes/sse-server.ts'
import { openAs, stdioApp, stdioDeps } from '../../../test/fakes/stdio-app.ts'
import { silentLogger } from '../../lib/log.ts'
import { appSchema } from '../../resources/app.ts'
import { createHttpUpstream } from './http.ts'
import { createSseUpstream } from './sse.ts'
import { createStdioUpstream } from './stdio.ts'
import type { UpstreamSession } from './upstream.ts'

const opened: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close()
})

const BATCHING = '2025-03-26'
const ONLY = 'it sends several messages as one, which is for revision 2025-03-26 only'
const NOTE = '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"said"}}'
const answerTo = (id: string): string => `{"jsonrpc":"2.0","id":${id},"result":{"n":1.0}}`
const version = (revision: string): { headers: Record<string, string> } => ({ headers: { 'mcp-protocol-version': revision } })

function appOf(uri: string): ReturnType<typeof appSchema.parse> {
  return appSchema.parse({ kind: 'app', version: 'v3', metadata: { name: 'many' }, spec: { uri } })
}

describe('over HTTP', () => {
  async function connect(
    script: ScriptedHttp['script'],
    revision = BATCHING,
    era: 'legacy' | 'modern' = 'legacy',
    hello: (response: ServerResponse, text: string) => void = json,
  ): Promise<UpstreamSession> {
    const server = await startScriptedHttp()
    server.initialize = (id, response) => hello(response, `{"jsonrpc":"2.0","id":${id},"result":{"protocolVersion":"${revision}"}}`)
    server.script = script
    const upstream = createHttpUpstream(appOf(`mcp+${server.url}`), { now: Date.now, log: silentLogger })
    opened.push(server, upstream)
    const session = await upstream.open(openAs(era))
    if (era === 'legacy') {
      const reply = await session.send(request('0', 'initialize'), never)
      if (reply.kind === 'events') await readData(reply.events)
    }
    return session
  }

  test.each([
    ['another legacy revision', 'legacy', '2025-06-18'],
    ['a revision that nobody knows', 'legacy', '__proto__'],
    ['the stateless revision', 'modern', '2026-07-28'],
    ['the stateless revision, whatever it says', 'modern', BATCHING],
  ] as const)('%s has no batches', async (_, era, revision) => {
    const asArray = await connect((id, __, response) => json(response, `[${answerTo(id)}]`), revision, era)
    const expected = { code: 'unavailable', origin: 'upstream', message: `MCP server "many" does not follow the protocol: ${ONLY}` }
    expect(await faultOf(asArray.send(call('1', 'echo', {}, version(revision)), never))).toEqual(expected)
    // A client that does not say which revision it speaks changes nothing.
    expect(await faultOf(asArray.send(call('2', 'echo'), never))).toEqual(expected)
    const stays: ScriptedHttp['script'] = (id, __, response) =>
      void response.writeHead(200, { 'content-type': 'text/event-stream' }).write(`data: ${NOTE}\n\ndata: [${answerTo(id)}]\n\n`)
    const asEvent = await connect(stays, revision, era)
    const events = eventsOf(await asEvent.send(call('1', 'echo', {}, version(revision)), never))
    expect(await faultOf(readData(events))).toEqual(expected)
  })

  test.each([
    ['an empty one', '[]', 'it sends an empty batch'],
    ['one of 101', `[${Array.from({ length: 101 }, () => NOTE).join()}]`, 'it sends more than 100 messages as one'],
    ['one with a key twice', '[{"jsonrpc":"2.0","id":1,"id":2,"result":{}}]', 'what it sends as several messages cannot be read'],
    ['half of one', '[{"jsonrpc":"2.0","id":1,"result":{}}', 'what it sends as several messages cannot be read'],
    ['a large half', `[{"jsonrpc":"2.0","id":1,"result":"${'x'.repeat(100_000)}"}`, 'what it sends as several messages cannot be read'],
  ])('nor is %s taken', async (_, text, words) => {
    const whole = await connect((__, ___, response) => json(response, text))
    expect((await faultOf(whole.send(call('1', 'echo', {}, version(BATCHING)), never))).message).toContain(words)
    const events = await connect((__, ___, response) => sse(response, text))
    expect((await faultOf(readData(eventsOf(await events.send(call('1', 'echo'), never))))).message).toContain(words)
  })

  test('the answer to initialize is no batch', async () => {
    const hello = (response: ServerResponse, text: string): void => json(response, `[${text}]`)
    const connecting = connect((id, _, response) => json(response, `[${answerTo(id)}]`), BATCHING, 'legacy', hello)
    expect((await faultOf(connecting)).message).toContain(ONLY)
  })

  test('a revision that was agreed on in an event counts too', async () => {
    const session = await connect((id, _, response) => json(response, `[${answerTo(id)}]`), BATCHING, 'legacy', sse)
    expect(messageText(await session.send(call('7', 'echo'), never))).toBe(answerTo('7'))
  })

  test('2025-03-26: an array is an answer, or a stream that ends with it, each message as it was to the byte', async () => {
    const alone = await connect((id, _, response) => json(response, ` [ ${answerTo(id)} ]`))
    expect(messageText(await alone.send(call('7', 'echo'), never))).toBe(answerTo('7'))
    const more = await connect((id, _, response) => json(response, `[${NOTE},${answerTo(id)}]`))
    expect(await readData(eventsOf(await more.send(call('"a"', 'echo', {}, version(BATCHING)), never)))).toEqual([NOTE, answerTo('"a"')])
    const large = `{"jsonrpc":"2.0","id":1,"result":{"text":"${'x'.repeat(200_000)}"}}`
    const big = await connect((_, __, response) => json(response, `[${NOTE},${large}]`))
    expect(await readData(eventsOf(await big.send(call('1', 'echo'), never)))).toEqual([NOTE, large])
  })

  test('2025-03-26: an event may carry several messages; the last has its id', async () => {
    const session = await connect((id, _, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).end(`id: e1\nretry: 5\ndata: [${NOTE},\ndata: ${answerTo(id)}]\n\n`)
    })
    const seen: unknown[] = []
    for await (const { data, id, retry, raw } of eventsOf(await session.send(call('1', 'echo'), never)))
      seen.push({ data: data.toString(), id, retry, raw: raw.toString() })
    expect(seen).toEqual([
      { data: NOTE, id: undefined, retry: undefined, raw: `data: ${NOTE}\n\n` },
      { data: answerTo('1'), id: 'e1', retry: 5, raw: `id: e1\nretry: 5\ndata: ${answerTo('1')}\n\n` },
    ])
  })
})

const SERVER = `
const say = (text) => process.stdout.write(text + '\\n')
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, params } = JSON.parse(line)
  if (method === 'initialize') say(JSON.stringify({ jsonrpc: '2.0', id, result: { protocolVersion: params.protocolVersion, capabilities: {} } }))
  else if (method === 'tools/call') say(params.arguments.text)
})`

describe('on pipes', () => {
  async function connect(revision: string): Promise<(text: string) => ReturnType<UpstreamSession['send']>> {
    const upstream = createStdioUpstream(stdioApp(process.execPath, ['-e', SERVER]), await stdioDeps())
    opened.push(upstream)
    const session = await upstream.open(openAs('legacy'))
    await session.send(request('0', 'initialize', { protocolVersion: revision }), never)
    return (text) => session.send(call('1', 'echo', { text }), never)
  }

  test('another revision has no batches, and nobody waits for what is in one', async () => {
    const said = await connect('2025-11-25')
    expect(await faultOf(said(`[${NOTE},${answerTo('1')}]`))).toEqual({
      code: 'unavailable',
      origin: 'upstream',
      message: `the answer of MCP server "tools" is not clear: ${ONLY}`,
    })
  })

  test.each([
    [`[${Array.from({ length: 100 }, () => NOTE).join()},${answerTo('1')}]`, 'it sends more than 100 messages as one'],
    [`[${answerTo('9')},{"jsonrpc":"2.0","id":1,"result":{},"Result":{}}]`, 'differs only in case'],
    ['[{"jsonrpc":"2.0","id":1,"result":{},"error":{}}]', 'it is not one clear JSON-RPC response'],
  ])('2025-03-26: %j is not taken', async (text, words) => {
    const said = await connect(BATCHING)
    expect((await faultOf(said(text))).message).toContain(words)
  })

  test('2025-03-26: each message goes where it would go alone', async () => {
    const said = await connect(BATCHING)
    expect(await readData(eventsOf(await said(`[7,[${NOTE}],${NOTE},${answerTo('1')},${answerTo('1')},${answerTo('2')}]`)))).toEqual([
      NOTE,
      answerTo('1'),
    ])
  })
})

describe('over HTTP+SSE', () => {
  test.each([
    ['2024-11-05', ONLY],
    ['2025-03-26', undefined],
  ])('%s', async (revision, words) => {
    const server = await startSseServer()
    server.script = (id, body) =>
      body.includes('"initialize"')
        ? `{"jsonrpc":"2.0","id":${id},"result":{"protocolVersion":"${revision}","capabilities":{}}}`
        : `[${answerTo(id)}]`
    const upstream = createSseUpstream(appOf(`mcp+sse+${server.url}`), { now: Date.now, log: silentLogger })
    opened.push(server, upstream)
    const session = await upstream.open(openAs('legacy'))
    await session.send(request('0', 'initialize'), never)
    const reply = session.send(call('1', 'echo'), never)
    if (words === undefined) expect(messageText(await reply)).toBe(answerTo('1'))
    else expect((await faultOf(reply)).message).toContain(words)
  })
})
