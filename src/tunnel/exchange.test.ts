import { afterEach, expect, test } from 'vitest'
import type { Exchange } from './exchange.ts'
import { ask, echo, settle, tunnelPair } from './tunnel.fixture.ts'
import type { TunnelPair } from './tunnel.fixture.ts'

const open: TunnelPair[] = []
afterEach(() => {
  for (const { proxy, agent } of open.splice(0)) {
    proxy.close()
    agent.close()
  }
})

function pair(...args: Parameters<typeof tunnelPair>): TunnelPair {
  const made = tunnelPair(...args)
  open.push(made)
  return made
}

const errorOf = (body: Buffer): { code: number; message: string } => JSON.parse(body.toString()).error

test('an exchange arrives whole and its answer comes back whole', async () => {
  const seen: Exchange[] = []
  const { proxy } = pair((exchange) => {
    seen.push({ ...exchange, signal: exchange.signal })
    exchange.answer.head(202, { 'content-type': 'text/plain', 'mcp-note': 'caf\u00e9' })
    exchange.answer.write(Buffer.from('one '))
    exchange.answer.end(Buffer.from('two'))
  })
  const asked = ask(proxy.target, {
    text: '{"id":1}',
    server: 'b\u00fccher',
    path: '/mcp/apps/x?y=1',
    headers: { accept: '*/*', 'x-utf': '\u00e9' },
  })
  await asked.over

  const { signal, answer, ...request } = seen[0]!
  expect({ ...request, body: request.body.toString() }).toEqual({
    method: 'POST',
    path: '/mcp/apps/x?y=1',
    server: 'b\u00fccher',
    assertion: 'head.claims.signature',
    remoteAddress: '192.0.2.7',
    headers: { accept: '*/*', 'x-utf': '\u00e9' },
    body: '{"id":1}',
  })
  expect([signal.aborted, typeof answer.head]).toEqual([false, 'function'])
  expect([asked.status, asked.headers, asked.body.toString(), asked.outcome]).toEqual([
    202,
    { 'content-type': 'text/plain', 'mcp-note': 'caf\u00e9' },
    'one two',
    'ended',
  ])
  expect(proxy.load()).toBe(0)
})

test('an agent that does not take who brings an exchange is told from a server that does not', async () => {
  const turnedAway: string[] = []
  const answers: Record<string, Record<string, string>> = { own: { 'sallyport-error-origin': 'gateway' }, upstream: {} }
  const { proxy } = pair(
    ({ server, answer }) => {
      answer.head(401, answers[server] ?? {})
      answer.end()
    },
    { proxy: { onTurnedAway: ({ server }) => void turnedAway.push(server) } },
  )
  for (const server of ['upstream', 'own']) await ask(proxy.target, { server }).over
  expect(turnedAway).toEqual(['own'])
})

test('large bodies pass in both directions, in pieces of any size', async () => {
  const { proxy, sockets } = pair(echo)
  sockets[0].pieces = [1, 7, 16_384, 3]
  sockets[1].pieces = [9, 1, 65_536, 2]
  const body = Buffer.alloc(3_000_000, 'abcdefghijk')
  const asked = [ask(proxy.target, { body }), ask(proxy.target, { body: body.subarray(5) }), ask(proxy.target)]
  await Promise.all(asked.map(({ over }) => over))
  expect(asked.map((one) => one.body.length)).toEqual([3_000_000, 2_999_995, 0])
  expect(asked[0]!.body.equals(body)).toBe(true)
  expect(asked[1]!.body.equals(body.subarray(5))).toBe(true)
})

test('what no header may carry is refused before it is sent', async () => {
  const { proxy, sockets } = pair(echo)
  await settle()
  const before = sockets[0].written
  const asked = [
    ask(proxy.target, { headers: { 'x-a': 'b\r\nx-c: d' } }),
    ask(proxy.target, { assertion: 'a\u0000b' }),
    ask(proxy.target, { headers: { 'x-a': '\u2028' } }),
    ask(proxy.target, { headers: { 'x-a': 'b'.repeat(70_000) } }),
  ]
  await settle()
  expect(asked.map(({ status }) => status)).toEqual([400, 400, 400, 431])
  expect(sockets[0].written).toBe(before)
})

test('an agent whose answer has a header with a line break fails the request, not the tunnel', async () => {
  const { proxy } = pair(({ answer }) => {
    answer.head(200, { 'x-a': 'b\nc' })
    answer.end()
  })
  const asked = ask(proxy.target)
  await asked.over
  expect([asked.status, errorOf(asked.body).message]).toEqual([
    503,
    'the agent "a" failed; the request may or may not have been carried out: check before you repeat it',
  ])
  expect(proxy.isTaking()).toBe(true)
})

test('a client that leaves is known at the agent at once', async () => {
  const signals: AbortSignal[] = []
  const { proxy } = pair(({ signal, answer }) => {
    signals.push(signal)
    answer.head(200, { 'content-type': 'text/event-stream' })
    answer.write(Buffer.from('data: 1\n\n'))
  })
  const asked = ask(proxy.target, { text: '{}' })
  await settle()
  expect([asked.body.toString(), signals[0]!.aborted, proxy.load()]).toEqual(['data: 1\n\n', false, 1])
  asked.leave()
  await settle()
  expect([signals[0]!.aborted, proxy.load()]).toEqual([true, 0])
})

test('a signal that is asked for after the client left has fired already', async () => {
  const seen: Exchange[] = []
  const { proxy } = pair((exchange) => void seen.push(exchange))
  const asked = ask(proxy.target)
  await settle()
  asked.leave()
  await settle()
  expect(seen[0]!.signal.aborted).toBe(true)
  seen[0]!.answer.head(200, {})
  expect(seen[0]!.answer.write(Buffer.from('late'))).toBe(true)
  await seen[0]!.answer.drained()
  seen[0]!.answer.end()
})

test('an answer that breaks off breaks off at the client, before its head and after', async () => {
  const { proxy } = pair(({ answer, path }) => {
    if (path === '/late') answer.head(200, {})
    if (path === '/late') answer.write(Buffer.from('half'))
    answer.abort('enough')
  })
  const late = ask(proxy.target, { path: '/late' })
  const early = ask(proxy.target, { path: '/early' })
  await Promise.all([late.over, early.over])
  expect([late.outcome, late.reason, late.body.toString(), early.outcome, early.status]).toEqual([
    'aborted',
    'enough',
    'half',
    'aborted',
    0,
  ])
})

test('when the tunnel dies, what was begun is aborted, and what was not gets an error that says it may have happened', async () => {
  const { proxy, sockets, agent } = pair(({ answer, path }) => {
    if (path !== '/begun') return
    answer.head(200, { 'content-type': 'text/event-stream' })
    answer.write(Buffer.from('data: 1\n\n'))
  })
  const begun = ask(proxy.target, { path: '/begun' })
  const waiting = ask(proxy.target, { path: '/waiting', text: '{}' })
  await settle()
  sockets[1].destroy()
  await Promise.all([begun.over, waiting.over])
  expect([begun.outcome, begun.body.toString()]).toEqual(['aborted', 'data: 1\n\n'])
  expect([waiting.status, waiting.headers['sallyport-error-origin'], waiting.outcome, errorOf(waiting.body)]).toEqual([
    503,
    'gateway',
    'ended',
    {
      code: -32603,
      message:
        'the connection of the agent "a" was lost (it ended); the request may or may not have been carried out: check before you repeat it',
    },
  ])
  const why = await proxy.closed
  expect([why?.code, why?.origin, (await agent.closed)?.code]).toEqual(['unavailable', 'gateway', 'unavailable'])

  const after = ask(proxy.target)
  expect([after.status, errorOf(after.body).message]).toEqual([
    503,
    'the agent "a" is not connected any more; the request was not carried out: try again in a moment',
  ])
})

test('the errors of lost exchanges can be rendered by the caller, and say whether to try again', async () => {
  const failed: unknown[] = []
  const { proxy, sockets } = pair(() => undefined, { proxy: { fail: (_, error) => failed.push(error.details) } })
  ask(proxy.target)
  await settle()
  sockets[1].destroy()
  await proxy.closed
  ask(proxy.target)
  expect(failed).toEqual([{ carried_out: 'unknown' }, { carried_out: 'no' }])
})

test('when rendering the error of one exchange fails, the others still hear of the end', async () => {
  const { proxy, sockets } = pair(() => undefined, {
    proxy: {
      fail: ({ path, answer }, error) => {
        if (path === '/bad') throw new Error('broken')
        answer.head(503, {})
        answer.end(Buffer.from(error.code))
      },
    },
  })
  const [bad, good] = [ask(proxy.target, { path: '/bad' }), ask(proxy.target, { path: '/good' })]
  await settle()
  sockets[1].destroy()
  await Promise.all([bad.over, good.over, proxy.closed])
  expect([bad.outcome, good.body.toString()]).toEqual(['aborted', 'unavailable'])
})

test('an answer that is longer or shorter than it says never reaches the client as a whole one', async () => {
  const { proxy } = pair(({ answer, path }) => {
    answer.head(path === '/none' ? 204 : 200, path === '/none' ? {} : { 'content-length': '4' })
    answer.end(Buffer.from(path === '/short' ? 'abc' : 'abcdeHTTP/1.1 200 OK'))
  })
  const asked = ['/short', '/long', '/none'].map((path) => ask(proxy.target, { path }))
  await Promise.all(asked.map(({ over }) => over))
  expect(asked.map(({ outcome, body }) => [outcome, body.toString()])).toEqual([
    ['aborted', ''],
    ['aborted', ''],
    ['aborted', ''],
  ])
  expect(proxy.isTaking()).toBe(true)
})

test('headers of a connection, and lengths that are none, do not pass', async () => {
  const heads: Record<string, string>[] = [{ 'transfer-encoding': 'chunked' }, { connection: 'close' }, { 'content-length': '4, 4' }]
  const { proxy } = pair(({ answer, path }) => {
    answer.head(200, heads[Number(path.slice(1))] ?? {})
    answer.end(Buffer.from('abcd'))
  })
  const asked = heads.map((_, index) => ask(proxy.target, { path: `/${index}` }))
  await Promise.all(asked.map(({ over }) => over))
  expect(asked.map(({ status }) => status)).toEqual([503, 503, 503])
})

test('an agent says nothing to a client in the name of the proxy', async () => {
  const { proxy } = pair(({ answer }) => {
    answer.head(401, {
      'set-cookie': 'session=agent',
      location: 'https://agent.example/',
      'www-authenticate': 'Bearer resource_metadata="https://agent.example/"',
      'access-control-allow-origin': '*',
      'content-type': 'application/json',
      'content-length': '2',
      'mcp-session-id': 's~1',
      'sallyport-error-origin': 'upstream',
    })
    answer.end(Buffer.from('{}'))
  })
  const asked = ask(proxy.target)
  await asked.over
  expect([asked.status, asked.headers, asked.body.toString()]).toEqual([
    401,
    { 'content-type': 'application/json', 'content-length': '2', 'mcp-session-id': 's~1', 'sallyport-error-origin': 'upstream' },
    '{}',
  ])
})

test('a request that is larger than the agent takes is refused and was not carried out', async () => {
  let served = 0
  const { proxy } = pair(() => void served++, { agent: { limits: { maxBodyBytes: 10 } } })
  const asked = ask(proxy.target, { text: '12345678901' })
  await asked.over
  expect([asked.status, served, errorOf(asked.body).message]).toEqual([
    503,
    0,
    'the agent "a" took no more requests (a request may have 10 bytes); the request was not carried out: try again in a moment',
  ])
})

test('a target that throws fails its own exchange only', async () => {
  const { proxy } = pair((exchange) => {
    if (exchange.path === '/bad') throw new Error('broken')
    echo(exchange)
  })
  const [bad, good] = [ask(proxy.target, { path: '/bad' }), ask(proxy.target, { text: 'ok' })]
  await Promise.all([bad.over, good.over])
  expect([bad.status, good.body.toString()]).toEqual([503, 'ok'])
})

test('both ends can be drained: what is under way ends, what is new is refused, then the tunnel is gone', async () => {
  for (const side of ['proxy', 'agent'] as const) {
    const answers: Exchange['answer'][] = []
    const made = pair(({ answer }) => void answers.push(answer))
    const asked = ask(made.proxy.target)
    await settle()
    made[side].drain()
    await settle()
    expect([made.agent.isDraining(), made.proxy.isTaking()]).toEqual([side === 'proxy', false])
    const refused = ask(made.proxy.target)
    expect([refused.status, answers.length]).toEqual([503, 1])
    answers[0]!.head(200, {})
    answers[0]!.end(Buffer.from('done'))
    await asked.over
    expect([asked.body.toString(), await made.proxy.closed, await made.agent.closed]).toEqual(['done', undefined, undefined])
    await made.agent.drained
  }
})
