import { afterEach, describe, expect, test } from 'vitest'
import { call, eventsOf, faultOf, never, readData, request, response, toolText } from '../../../test/fakes/outgoing.ts'
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
  test('all requests share a process, whatever their ids', async () => {
    const { session, registry } = await openModern()
    const hanging = faultOf(session.send(call('1', 'hang'), never))
    const pids = await Promise.all(['1', '1', '"1"', '2'].map(async (id) => toolText(await session.send(call(id, 'pid'), never))))
    expect(new Set(pids).size).toBe(1)
    await expect.poll(() => registry.count).toBe(1)
    await session.close()
    expect((await hanging).code).toBe('cancelled')
    await expect.poll(() => registry.count).toBe(0)
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
})
