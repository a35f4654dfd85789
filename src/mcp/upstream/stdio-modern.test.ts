import { afterEach, describe, expect, test, vi } from 'vitest'
import { call, eventsOf, faultOf, never, notification, readData, request, response, toolText } from '../../../test/fakes/outgoing.ts'
import { echoApp, openAs, stdioDeps } from '../../../test/fakes/stdio-app.ts'
import type { ChildRegistry } from './child.ts'
import { createStdioUpstream } from './stdio.ts'
import type { StdioLimits } from './stdio-limits.ts'
import type { Upstream, UpstreamSession } from './upstream.ts'

const opened: Upstream[] = []
afterEach(async () => {
  for (const upstream of opened.splice(0)) await upstream.close()
})

async function openModern(limits: Partial<StdioLimits> = {}): Promise<{ session: UpstreamSession; registry: ChildRegistry }> {
  const deps = await stdioDeps(limits)
  const upstream = createStdioUpstream(echoApp(), deps)
  opened.push(upstream)
  return { session: await upstream.open(openAs('modern')), registry: deps.registry }
}

describe('a modern conversation', () => {
  test('requests share a process; one with an id in use gets another', async () => {
    const { session } = await openModern()
    const hanging = faultOf(session.send(call('1', 'hang'), never))
    const first = toolText(await session.send(call('2', 'pid'), never))
    expect(toolText(await session.send(call('3', 'pid'), never))).toBe(first)
    expect(toolText(await session.send(call('1', 'pid'), never))).not.toBe(first)
    await session.close()
    expect((await hanging).code).toBe('cancelled')
  })

  test('an id in use in every process is refused', async () => {
    const { session } = await openModern({ maxPool: 2 })
    const hanging = [1, 2].map(() => faultOf(session.send(call('1', 'hang'), never)))
    expect((await faultOf(session.send(call('1', 'echo'), never))).message).toBe('request id 1 is in use 2 times already: use another')
    await session.close()
    expect((await Promise.all(hanging)).map(({ code }) => code)).toEqual(['cancelled', 'cancelled'])
  })

  test('an id given up may be used again, in a process that knows nothing of it', async () => {
    const { session } = await openModern({ maxPool: 1 })
    const first = toolText(await session.send(call('2', 'pid'), never))
    const abort = new AbortController()
    const slow = faultOf(session.send(call('1', 'hang'), abort.signal))
    abort.abort()
    await slow
    expect(toolText(await session.send(call('1', 'pid'), never))).not.toBe(first)
  })

  test('spare processes are ended when they are idle', async () => {
    const { session, registry } = await openModern({ idleMs: 1 })
    const first = toolText(await session.send(call('2', 'pid'), never))
    const slow = session.send(call('1', 'slow', { ms: 50 }), never)
    expect(toolText(await session.send(call('1', 'pid'), never))).not.toBe(first)
    await slow
    await vi.waitFor(() => expect(registry.count).toBe(1))
    expect(toolText(await session.send(call('1', 'echo', { text: 'still here' }), never))).toBe('still here')
  })

  test('what belongs to a subscription goes there, under its id', async () => {
    const { session } = await openModern()
    const first = eventsOf(await session.send(request('"s1"', 'subscriptions/listen'), never))
    const second = eventsOf(await session.send(request('2', 'subscriptions/listen'), never))
    expect((await readData(first, 1))[0]).toContain('acknowledged')
    expect((await readData(second, 1))[0]).toContain('acknowledged')
    expect((await session.send(call('3', 'changed'), never)).kind).toBe('message')
    expect(await readData(first, 1)).toEqual([
      '{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"s1"}}}',
    ])
    expect((await readData(second, 1))[0]).toContain('"io.modelcontextprotocol/subscriptionId":2')
  })

  test('a subscription the server cancels is over', async () => {
    const { session } = await openModern()
    const events = eventsOf(await session.send(request('"s1"', 'subscriptions/listen'), never))
    await session.send(call('2', 'unsubscribe'), never)
    expect((await readData(events)).at(-1)).toBe('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"s1"}}')
  })

  test('a subscription outlives the deadline of requests', async () => {
    const { session } = await openModern({ requestTimeoutMs: 500 })
    await session.send(request('0', 'initialize'), never)
    const events = eventsOf(await session.send(request('1', 'subscriptions/listen'), never))
    await readData(events, 1)
    expect((await faultOf(session.send(call('2', 'hang'), never))).code).toBe('deadline_exceeded')
    await session.send(call('3', 'changed'), never)
    expect((await readData(events, 1))[0]).toContain('list_changed')
  })

  test('requests of the server are dropped, responses of the client refused, no stream is offered', async () => {
    const { session } = await openModern({ requestTimeoutMs: 200 })
    expect((await faultOf(session.send(call('1', 'ask'), never))).code).toBe('deadline_exceeded')
    expect((await faultOf(session.send(response('"ask-1"', {}), never))).code).toBe('invalid_argument')
    expect(await session.listen({}, never)).toMatchObject({ kind: 'refused', status: 405 })
  })

  test('a cancellation reaches the process that works on the request', async () => {
    const { session } = await openModern()
    const first = faultOf(session.send(call('1', 'hang'), never))
    const second = session.send(call('1', 'hang'), never)
    const secondFault = faultOf(second)
    await session.send(notification('notifications/cancelled', { requestId: 1 }), never)
    expect((await first).code).toBe('cancelled')
    await session.close()
    expect((await secondFault).code).toBe('cancelled')
  })

  test('it ends with its last process', async () => {
    const { session } = await openModern()
    await faultOf(session.send(call('1', 'exit'), never))
    expect(await session.ended).toBe('MCP server "tools" exited (code 1): giving up')
    expect((await faultOf(session.send(call('2', 'echo'), never))).code).toBe('unavailable')
  })
})
