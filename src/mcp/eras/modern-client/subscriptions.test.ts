import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { eventsOf, faultOf } from '../../../../test/fakes/outgoing.ts'
import { eventually } from '../../../../test/wait.ts'
import type { Fields } from '../../message.ts'
import { connectModern, createLegacyServer, type LegacyServer, messagesOf, nextOf, type PlayedCall } from './legacy-server.fixture.ts'

// `subscriptions/listen` over a legacy session.

const ID = 'io.modelcontextprotocol/subscriptionId'
const ALL = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true, resourceSubscriptions: ['note://1'] }

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

function telling(): LegacyServer {
  const server = createLegacyServer()
  server.hello = { ...server.hello, capabilities: { tools: { listChanged: true }, resources: { subscribe: true } } }
  return server
}

function told({ sessions }: LegacyServer): unknown[] {
  return sessions.flatMap(({ received }) =>
    received.filter(({ method }) => String(method).startsWith('resources/')).map(({ method, params }) => [method, params]),
  )
}

describe('listening', () => {
  it.each([
    ['nothing', {}],
    ['no list', { notifications: { resourceSubscriptions: 'note://1' } }],
    ['no URIs', { notifications: { resourceSubscriptions: [1] } }],
    ['URIs that are too long', { notifications: { resourceSubscriptions: ['x'.repeat(256 * 1024), 'y'] } }],
    ['too many URIs', { notifications: { resourceSubscriptions: Array.from({ length: 201 }, (_, n) => `note://${n}`) } }],
  ])('to %s is refused', async (_name, params) => {
    const server = telling()
    const client = await connectModern(server)
    expect(await faultOf(client.ask('1', 'subscriptions/listen', params))).toMatchObject({ code: 'invalid_argument' })
    expect(server.sessions).toEqual([])
  })

  it('more than 32 times at once is refused, until one ends', async () => {
    const client = await connectModern(telling())
    const away = new AbortController()
    for (let n = 0; n < 32; n++) await client.ask(String(n), 'subscriptions/listen', { notifications: {} }, { signal: away.signal })
    expect(await faultOf(client.ask('33', 'subscriptions/listen', { notifications: {} }))).toMatchObject({ code: 'resource_exhausted' })
    away.abort()
    expect(await client.ask('34', 'subscriptions/listen', { notifications: {} })).toMatchObject({ kind: 'events' })
  })

  it('begins with what the server can do of it, then tells that alone, under the id of the request', async () => {
    const server = telling()
    const client = await connectModern(server)
    const reply = await client.ask('"l"', 'subscriptions/listen', { notifications: ALL })
    await eventually('the subscription', () => told(server)[0])
    const [session] = server.sessions
    session?.emit({ method: 'notifications/prompts/list_changed' })
    session?.emit({ method: 'notifications/resources/updated', params: { uri: 'note://2' } })
    session?.emit({ method: 'notifications/message', params: { level: 'alert' } })
    session?.emit({ method: 'notifications/tools/list_changed' })
    session?.emit({ method: 'notifications/resources/updated', params: { uri: 'note://1/part', _meta: { a: 1 } } })
    const notifications = { toolsListChanged: true, resourceSubscriptions: ['note://1'] }
    expect(await nextOf(reply, 3)).toEqual([
      { jsonrpc: '2.0', method: 'notifications/subscriptions/acknowledged', params: { notifications, _meta: { [ID]: 'l' } } },
      { jsonrpc: '2.0', method: 'notifications/tools/list_changed', params: { _meta: { [ID]: 'l' } } },
      { jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'note://1/part', _meta: { a: 1, [ID]: 'l' } } },
    ])
  })

  it('tells the server of the first and of the last who is interested', async () => {
    const server = telling()
    const client = await connectModern(server)
    const [one, two] = [new AbortController(), new AbortController()]
    const notifications = { resourceSubscriptions: ['note://1', 'note://1'] }
    const first = await client.ask('1', 'subscriptions/listen', { notifications }, { signal: one.signal })
    await client.ask('2', 'subscriptions/listen', { notifications }, { signal: two.signal })
    one.abort()
    await expect(messagesOf(first)).rejects.toMatchObject({ code: 'cancelled' })
    await client.answerTo('3', 'tools/list')
    expect(told(server)).toEqual([['resources/subscribe', { uri: 'note://1' }]])
    two.abort()
    await eventually('the end of the subscription', () => told(server)[1])
    expect(told(server)).toEqual([
      ['resources/subscribe', { uri: 'note://1' }],
      ['resources/unsubscribe', { uri: 'note://1' }],
    ])
    expect(server.sessions.length).toBe(1)
  })

  it('ends with a result when the server goes away', async () => {
    const server = telling()
    const client = await connectModern(server)
    const reply = await client.ask('7', 'subscriptions/listen', { notifications: {} })
    server.sessions[0]?.exit()
    const messages: Fields[] = await messagesOf(reply)
    expect(messages).toEqual([
      { jsonrpc: '2.0', method: 'notifications/subscriptions/acknowledged', params: { notifications: {}, _meta: { [ID]: 7 } } },
      { jsonrpc: '2.0', id: 7, result: { resultType: 'complete', _meta: { [ID]: 7 } } },
    ])
    expect(await client.answerTo('8', 'tools/list')).toMatchObject({ id: 8 })
    expect(server.sessions.length).toBe(2)
  })

  it('shares the session of calls, and keeps it', async () => {
    const server = telling()
    const client = await connectModern(server)
    const can = { roots: {} }
    await client.answerTo('1', 'tools/list', {}, { can })
    await client.ask('2', 'subscriptions/listen', { notifications: {} }, { can })
    client.clock.now += 60 * 60_000
    await client.answerTo('3', 'tools/list', {}, { can })
    expect(server.sessions.map(({ isClosed }) => isClosed)).toEqual([false])
  })
})

describe('what clients leave behind that come and go', () => {
  it('is nothing, as long as the session is used', async () => {
    const server = telling()
    const client = await connectModern(server)
    const streams: WeakRef<object>[] = []
    for (let n = 0; n < 50; n++) {
      const away = new AbortController()
      const reply = await client.ask(String(n), 'subscriptions/listen', { notifications: ALL }, { signal: away.signal })
      streams.push(new WeakRef(eventsOf(reply)))
      away.abort()
    }
    await client.answerTo('60', 'tools/list')
    await eventually('the streams to be forgotten', () => {
      collect()
      // The last of them may still be in a variable of this function.
      return streams.filter((stream) => stream.deref()).length > 1 ? undefined : true
    })
    expect(server.sessions.length).toBe(1)
  })

  it('is not told to a server that is too slow to hear of it', async () => {
    const server = telling()
    const held: PlayedCall[] = []
    server.play = (call) => void held.push(call)
    const client = await connectModern(server)
    for (let n = 0; n < 20; n++) {
      const away = new AbortController()
      const resourceSubscriptions = Array.from({ length: 200 }, (_, at) => `note://${n}/${at}`)
      await client.ask(String(n), 'subscriptions/listen', { notifications: { resourceSubscriptions } }, { signal: away.signal })
      if (n === 0) await eventually('the first subscription', () => held[0])
      away.abort()
    }
    server.play = (call) => call.result({})
    await client.ask('99', 'subscriptions/listen', { notifications: { resourceSubscriptions: ['note://last'] } })
    held[0]?.result({})
    await eventually('the last subscription', () => told(server).find((one) => JSON.stringify(one).includes('last')))
    expect(told(server)).toEqual([
      ['resources/subscribe', { uri: 'note://0/0' }],
      ['resources/unsubscribe', { uri: 'note://0/0' }],
      ['resources/subscribe', { uri: 'note://last' }],
    ])
  })
})
