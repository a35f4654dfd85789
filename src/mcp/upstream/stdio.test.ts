import { afterEach, describe, expect, test } from 'vitest'
import {
  call,
  eventsOf,
  faultOf,
  messageText,
  never,
  notification,
  readData,
  request,
  response,
  textOfResult,
  toolText,
} from '../../../test/fakes/outgoing.ts'
import { echoApp, openAs, stdioApp, stdioDeps } from '../../../test/fakes/stdio-app.ts'
import { createStdioUpstream } from './stdio.ts'
import type { StdioLimits } from './stdio-limits.ts'
import type { Upstream, UpstreamSession } from './upstream.ts'

const opened: Upstream[] = []
afterEach(async () => {
  for (const upstream of opened.splice(0)) await upstream.close()
})

async function upstreamOf(flags: string[] = [], limits: Partial<StdioLimits> = {}): Promise<Upstream> {
  const upstream = createStdioUpstream(echoApp(...flags), await stdioDeps(limits))
  opened.push(upstream)
  return upstream
}

async function legacy(flags: string[] = [], limits: Partial<StdioLimits> = {}): Promise<UpstreamSession> {
  return (await upstreamOf(flags, limits)).open(openAs('legacy'))
}

/** What the fake got, line by line. */
async function linesAtServer(session: UpstreamSession, id: string): Promise<string[]> {
  const lines: unknown = JSON.parse(toolText(await session.send(call(id, 'received'), never)))
  return Array.isArray(lines) ? lines.map(String) : []
}

describe('what cannot be started', () => {
  test('a command that does not exist is named', async () => {
    const upstream = createStdioUpstream(stdioApp('no-such-program', []), await stdioDeps())
    expect(await faultOf(upstream.open(openAs('legacy')))).toEqual({
      code: 'failed_precondition',
      origin: 'gateway',
      message: 'command "no-such-program" was not found, or is not executable, on the agent\'s machine',
    })
  })

  test('a whole command line says where its words belong', async () => {
    const upstream = createStdioUpstream(stdioApp('npx -y server', []), await stdioDeps())
    expect((await faultOf(upstream.open(openAs('legacy')))).message).toBe(
      'command "npx -y server" was not found, or is not executable, on the agent\'s machine: it is one program, and the words after it belong into spec.mcp.args',
    )
  })

  test('nor a directory, a file without permission or a name with NUL', async () => {
    for (const command of ['/tmp', '/etc/passwd', 'a\0b']) {
      const upstream = createStdioUpstream(stdioApp(command, []), await stdioDeps())
      expect((await faultOf(upstream.open(openAs('legacy')))).code).toBe('failed_precondition')
    }
  })

  test('an account that does not exist', async () => {
    const upstream = createStdioUpstream(stdioApp(process.execPath, [], 'no-such-account'), await stdioDeps())
    expect((await faultOf(upstream.open(openAs('legacy')))).message).toBe('host user "no-such-account" does not exist on here')
  })

  test('a closed upstream opens nothing', async () => {
    const upstream = await upstreamOf()
    await upstream.close()
    expect((await faultOf(upstream.open(openAs('legacy')))).code).toBe('unavailable')
  })

  test('more processes than allowed', async () => {
    const upstream = await upstreamOf([], { maxChildren: 1 })
    await upstream.open(openAs('legacy'))
    expect((await faultOf(upstream.open(openAs('legacy')))).code).toBe('resource_exhausted')
  })
})

describe('a program that fails', () => {
  test('a server that exits at once says why', async () => {
    const session = await legacy(['--exit-at-start'])
    expect(await faultOf(session.send(request('1', 'initialize'), never))).toEqual({
      code: 'unavailable',
      origin: 'upstream',
      message: 'MCP server "tools" exited (code 3): no licence',
    })
    expect(await session.ended).toBe('MCP server "tools" exited (code 3): no licence')
  })

  test('everything in flight fails when it exits, and nothing is sent after', async () => {
    const session = await legacy()
    const hanging = faultOf(session.send(call('1', 'hang'), never))
    const listening = eventsOf(await session.listen({}, never))
    const said = faultOf(readData(listening))
    expect((await faultOf(session.send(call('2', 'exit', { code: 7 }), never))).message).toBe(
      'MCP server "tools" exited (code 7): giving up',
    )
    expect((await hanging).message).toBe('MCP server "tools" exited (code 7): giving up')
    expect((await said).code).toBe('unavailable')
    expect((await faultOf(session.send(call('3', 'echo'), never))).code).toBe('unavailable')
  })

  test('one that closes stdout is stopped', async () => {
    const session = await legacy()
    expect((await faultOf(session.send(call('1', 'mute'), never))).code).toBe('unavailable')
  })

  test('a line over the limit ends it', async () => {
    const session = await legacy([], { maxLineBytes: 4096 })
    expect((await faultOf(session.send(call('1', 'big', { bytes: 5000 }), never))).message).toBe(
      'MCP server "tools" wrote a line of more than 4096 bytes',
    )
    expect(await session.ended).toBe('MCP server "tools" wrote a line of more than 4096 bytes')
  })

  test('a request it does not answer in time is given up and cancelled', async () => {
    const session = await legacy([], { requestTimeoutMs: 50 })
    expect((await faultOf(session.send(call('1', 'hang'), never))).code).toBe('deadline_exceeded')
    expect(JSON.parse(messageText(await session.send(request('2', 'initialize'), never))).result.instructions).toContain(
      '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"reason":"cancelled by the client"}}',
    )
  })

  test('an answer with two meanings fails the request', async () => {
    const session = await legacy()
    expect(await faultOf(session.send(call('1', 'ambiguous'), never))).toMatchObject({ code: 'unavailable', origin: 'upstream' })
  })

  test('a server that does not read its input does not fill our memory', async () => {
    const upstream = createStdioUpstream(stdioApp('sleep', ['60']), await stdioDeps())
    opened.push(upstream)
    const session = await upstream.open(openAs('legacy'))
    const text = 'x'.repeat(4 * 1024 * 1024)
    const faults: string[] = []
    for (let id = 1; id <= 6; id++)
      void faultOf(session.send(call(String(id), 'echo', { text }), never)).then(({ code }) => faults.push(code))
    await faultOf(session.send(call('7', 'echo', { text }), never))
    expect(new Set(faults)).toEqual(new Set(['resource_exhausted']))
  })
})

describe('ids', () => {
  test('an id in use is refused in a session', async () => {
    const session = await legacy()
    const first = faultOf(session.send(call('1', 'hang'), never))
    expect((await faultOf(session.send(call('1', 'echo'), never))).message).toBe('request id 1 is already in use in this session')
    await session.close()
    expect((await first).code).toBe('cancelled')
  })

  test('every kind of id comes back as it was written', async () => {
    const session = await legacy()
    for (const id of ['1', '"1"', '"a\\u0062"', '12345678901234567890', '-5']) {
      const reply = messageText(await session.send(call(id, 'echo', { text: id }), never))
      expect(reply).toBe(`{"jsonrpc":"2.0","id":${id},"result":{"content":[{"type":"text","text":${JSON.stringify(id)}}]}}`)
    }
  })

  test('answers find their requests in any order', async () => {
    const session = await legacy()
    const slow = session.send(call('1', 'slow', { ms: 30 }), never)
    const quick = session.send(call('"1"', 'echo', { text: 'quick' }), never)
    expect(toolText(await quick)).toBe('quick')
    expect(toolText(await slow)).toBe('late')
  })
})

describe('cancellation', () => {
  test('a signal that fired before sends nothing', async () => {
    const session = await legacy()
    expect((await faultOf(session.send(call('1', 'echo'), AbortSignal.abort()))).code).toBe('cancelled')
    expect((await linesAtServer(session, '2')).length).toBe(1)
  })

  test('an aborted request is cancelled with its exact id and its late answer dropped', async () => {
    const session = await legacy()
    const abort = new AbortController()
    const slow = faultOf(session.send(call('12345678901234567890', 'slow', { ms: 20 }), abort.signal))
    abort.abort()
    expect((await slow).code).toBe('cancelled')
    expect(toolText(await session.send(call('2', 'slow', { ms: 40 }), never))).toBe('late')
    expect(await linesAtServer(session, '3')).toContain(
      '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":12345678901234567890,"reason":"cancelled by the client"}}',
    )
  })

  test('initialize is never cancelled at the server', async () => {
    const session = await legacy()
    const abort = new AbortController()
    const initialize = faultOf(session.send(request('0', 'initialize'), abort.signal))
    abort.abort()
    expect((await initialize).code).toBe('cancelled')
    expect((await linesAtServer(session, '1')).filter((line) => line.includes('cancelled'))).toEqual([])
  })

  test('a reader that stops early cancels', async () => {
    const session = await legacy()
    const events = eventsOf(await session.send(call('1', 'ask'), never))
    for await (const _ of events) break
    expect((await linesAtServer(session, '2')).at(-2)).toContain('"requestId":1')
  })

  test('a request the client cancels itself ends here too', async () => {
    const session = await legacy()
    const hanging = faultOf(session.send(call('"x"', 'hang'), never))
    expect(await session.send(notification('notifications/cancelled', { requestId: 'x' }), never)).toEqual({ kind: 'accepted' })
    expect((await hanging).code).toBe('cancelled')
  })
})

describe('routing in a legacy session', () => {
  test('line breaks inside a message become spaces', async () => {
    const session = await legacy()
    const pretty = {
      ...call('1', 'received'),
      bytes: Buffer.from('{"jsonrpc":"2.0","id":1,\r\n"method":"tools/call","params":{"name":"received"}}'),
    }
    const [line] = JSON.parse(toolText(await session.send(pretty, never)))
    expect(line).toBe('{"jsonrpc":"2.0","id":1,  "method":"tools/call","params":{"name":"received"}}')
  })

  test('lines that are no JSON-RPC never reach the client', async () => {
    const session = await legacy(['--garbage'])
    const events = eventsOf(await session.listen({}, never))
    expect(toolText(await session.send(call('1', 'echo', { text: 'clean' }), never))).toBe('clean')
    await session.send(call('2', 'log'), never)
    expect(await readData(events, 1)).toEqual([
      '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"log 1"}}',
    ])
  })

  test('progress goes to its request, even past a listener', async () => {
    const session = await legacy()
    await session.listen({}, never)
    const events = eventsOf(await session.send(call('1', 'progress', {}, { progressToken: '"t"' }), never))
    const data = await readData(events)
    expect(data.slice(0, 2)).toEqual([
      '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1}}',
      '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":2}}',
    ])
    expect(textOfResult(data[2] ?? '')).toBe('done')
  })

  test('a server request goes out on the call under way, and the answer comes back', async () => {
    const session = await legacy()
    const iterator = eventsOf(await session.send(call('1', 'ask'), never))[Symbol.asyncIterator]()
    expect((await iterator.next()).value?.raw.toString()).toBe(
      'data: {"jsonrpc":"2.0","id":"ask-1","method":"sampling/createMessage","params":{"messages":[],"maxTokens":1}}\n\n',
    )
    expect(await session.send(response('"ask-1"', { role: 'assistant' }), never)).toEqual({ kind: 'accepted' })
    expect(textOfResult((await iterator.next()).value?.data ?? '')).toBe('{"role":"assistant"}')
    expect((await iterator.next()).done).toBe(true)
  })

  test('with a listener it goes there', async () => {
    const session = await legacy()
    const events = eventsOf(await session.listen({}, never))
    const answer = session.send(call('1', 'ask'), never)
    expect((await readData(events, 1))[0]).toContain('sampling/createMessage')
    await session.send(response('"ask-1"', { ok: true }), never)
    expect(toolText(await answer)).toBe('{"ok":true}')
  })

  test('a new listener takes over, and what nobody heard comes first', async () => {
    const session = await legacy()
    await session.send(call('1', 'log', { count: 2 }), never)
    await session.send(call('2', 'echo'), never)
    const first = eventsOf(await session.listen({}, never))
    expect((await readData(first, 2)).map((text) => JSON.parse(text).params.data)).toEqual(['log 1', 'log 2'])
    const rest = readData(first)
    const second = eventsOf(await session.listen({}, never))
    expect(await rest).toEqual([])
    await session.send(call('3', 'log'), never)
    expect((await readData(second, 1))[0]).toContain('log 1')
  })

  test('of what nobody hears the last 100 messages are kept', async () => {
    const session = await legacy()
    await session.send(call('1', 'log', { count: 150 }), never)
    await session.send(call('2', 'echo'), never)
    const events = eventsOf(await session.listen({}, never))
    expect((await readData(events, 1))[0]).toContain('log 51')
  })

  test('a listener that is cancelled rejects and leaves the place', async () => {
    const session = await legacy()
    const abort = new AbortController()
    const reading = faultOf(readData(eventsOf(await session.listen({}, abort.signal))))
    abort.abort()
    expect((await reading).code).toBe('cancelled')
    expect((await faultOf(session.listen({}, abort.signal))).code).toBe('cancelled')
  })

  test('a reader that is too slow loses its stream, not the session', async () => {
    const session = await legacy([], { maxQueuedBytes: 2000 })
    const events = eventsOf(await session.listen({}, never))
    await session.send(call('1', 'log', { count: 50 }), never)
    await session.send(call('2', 'echo'), never)
    expect((await faultOf(readData(events))).code).toBe('resource_exhausted')
    expect(toolText(await session.send(call('3', 'echo', { text: 'alive' }), never))).toBe('alive')
  })
})

test('stderr goes to the tail of the server, oldest first', async () => {
  const upstream = await upstreamOf()
  const session = await upstream.open(openAs('legacy'))
  await session.send(call('1', 'stderr', { text: 'one \u001b[31mred' }), never)
  await session.send(call('2', 'exit'), never).catch(() => undefined)
  expect(upstream.stderrTail()).toEqual(['one red', 'giving up'])
})
