import { describe, expect, it } from 'vitest'
import { rpcError } from '../../../../test/fakes/era-upstream.ts'
import { eventually } from '../../../../test/wait.ts'
import { silentLogger } from '../../../lib/log.ts'
import type { SseEvent } from '../../../lib/sse.ts'
import { createQueue, type Queue } from '../../upstream/queue.ts'
import type { Fields } from '../../message.ts'
import { composeRequest, eventOf } from '../compose.ts'
import { LEGACY_CLIENT_LIMITS, type LegacyClientLimits } from './limits.ts'
import { createSubscription, type Subscription } from './subscription.ts'

const OFFERED = { tools: { listChanged: true }, prompts: {}, resources: { subscribe: true, listChanged: true } }
const LISTS = { toolsListChanged: true, resourcesListChanged: true }

/** A stream of the fake server. */
interface Opened {
  filter: unknown
  signal: AbortSignal
  queue: Queue<SseEvent>
}

interface Setting {
  subscription: Subscription
  opened: Opened[]
  pauses: number[]
  /** Lets milliseconds pass. */
  pass(ms: number): void
}

/** `acknowledge` gives what the server honours; undefined when it never says. */
function start(acknowledge: (filter: Fields) => Fields | undefined | 'refused', limits: Partial<LegacyClientLimits> = {}): Setting {
  const opened: Opened[] = []
  const pauses: number[] = []
  let clock = 0
  const subscription = createSubscription({
    server: 's',
    offered: OFFERED,
    log: silentLogger,
    now: () => clock,
    limits: { ...LEGACY_CLIENT_LIMITS, wait: async (ms) => void pauses.push(ms), ...limits },
    async post(method, params, signal) {
      const id = String(opened.length + 1)
      const queue = createQueue<SseEvent>({ sizeOf: ({ raw }) => raw.length })
      signal.addEventListener('abort', () => queue.fail(new Error('aborted'), true), { once: true })
      opened.push({ filter: params['notifications'], signal, queue })
      const honoured = acknowledge(params)
      if (honoured === 'refused') return { id, reply: rpcError(composeRequest(id, method, params), -32601) }
      if (honoured)
        queue.push(eventOf({ jsonrpc: '2.0', method: 'notifications/subscriptions/acknowledged', params: { notifications: honoured } }))
      return { id, reply: { kind: 'events', events: queue } }
    },
  })
  return { subscription, opened, pauses, pass: (ms) => void (clock += ms) }
}

const everything = (params: Fields): Fields => ({ ...Object(params['notifications']) })
const live = (opened: Opened[]): unknown[] => opened.filter(({ signal }) => !signal.aborted).map(({ filter }) => filter)
const next = async (events: AsyncIterable<SseEvent>): Promise<unknown> => {
  const { value } = await events[Symbol.asyncIterator]().next()
  return value ? JSON.parse(value.data.toString()) : undefined
}
const updated = (uri: string, more: object = {}) =>
  eventOf({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri, ...more } })

describe('a URI', () => {
  it('that is longer than all that a session may subscribe to is refused before the server hears of it', async () => {
    const { subscription, opened } = start(everything)
    await subscription.subscribe('a:1')
    await expect(subscription.subscribe(`a:${'x'.repeat(256 * 1024)}`)).rejects.toMatchObject({
      code: 'resource_exhausted',
      message: 'an MCP session may subscribe to 1000 resources, whose URIs are 262144 characters together: unsubscribe from some',
    })
    expect(live(opened)).toEqual([{ resourceSubscriptions: ['a:1'] }])
  })
})

describe('a subscription', () => {
  it('that the server does not honour fails, and is not kept', async () => {
    const { subscription, opened } = start(() => ({ toolsListChanged: true }))
    await expect(subscription.subscribe('note://one')).rejects.toMatchObject({ code: 'invalid_argument' })
    subscription.listen(new AbortController().signal)
    await eventually('the stream of the listener', () => opened.length === 2 || undefined)
    expect(opened[1]?.filter).toEqual(LISTS)
  })

  it('that the server refuses fails, and is not tried again', async () => {
    const { subscription, opened, pauses } = start(() => 'refused')
    await expect(subscription.subscribe('note://one')).rejects.toMatchObject({ code: 'unavailable', origin: 'upstream' })
    subscription.listen(new AbortController().signal)
    await eventually('the stream of the listener', () => opened.length === 2 || undefined)
    expect(pauses).toEqual([])
  })

  it('that is never acknowledged fails in time', async () => {
    const { subscription, opened } = start(() => undefined, { acknowledgeMs: 1 })
    await expect(subscription.subscribe('note://one')).rejects.toThrow()
    expect(live(opened)).toEqual([])
  })

  it('to too many resources fails', async () => {
    const { subscription } = start(everything, { maxSubscribed: 1 })
    await subscription.subscribe('note://one')
    await expect(subscription.subscribe('note://two')).rejects.toMatchObject({ code: 'resource_exhausted' })
    await subscription.subscribe('note://one')
  })

  it('is one stream for everything that is wanted, replaced when that changes', async () => {
    const { subscription, opened } = start(everything)
    const listening = new AbortController()
    subscription.listen(listening.signal)
    await Promise.all([subscription.subscribe('note://one'), subscription.subscribe('note://two')])
    expect(live(opened)).toEqual([{ ...LISTS, resourceSubscriptions: ['note://one', 'note://two'] }])
    await subscription.unsubscribe('note://one')
    listening.abort()
    await eventually('the smaller stream', () => JSON.stringify(live(opened)) === '[{"resourceSubscriptions":["note://two"]}]' || undefined)
    await subscription.unsubscribe('note://two')
    await eventually('the end of it', () => live(opened).length === 0 || undefined)
  })

  it('tells the client what it asked for and nothing else, without the key of the stream', async () => {
    const { subscription, opened } = start(everything)
    await subscription.subscribe('note://one')
    const heard = subscription.listen(new AbortController().signal)
    await eventually('the stream with lists', () => opened.length === 2 || undefined)
    const queue = opened[1]?.queue
    queue?.push(eventOf({ jsonrpc: '2.0', id: 1, method: 'notifications/resources/updated', params: {} }))
    queue?.push(eventOf({ jsonrpc: '2.0', method: 'notifications/message', params: {} }))
    queue?.push(updated('note://one', { _meta: { 'io.modelcontextprotocol/subscriptionId': 7, a: 1 } }))
    expect(await next(heard)).toEqual({
      jsonrpc: '2.0',
      method: 'notifications/resources/updated',
      params: { uri: 'note://one', _meta: { a: 1 } },
    })
  })

  it('keeps what comes while nobody listens', async () => {
    const { subscription, opened } = start(everything)
    await subscription.subscribe('note://one')
    opened[0]?.queue.push(updated('note://one'))
    await eventually('the event to be read', () => opened[0]?.queue.bytes() === 0 || undefined)
    expect(await next(subscription.listen(new AbortController().signal))).toMatchObject({ params: { uri: 'note://one' } })
  })

  it('is opened again when it breaks, after pauses that grow until it holds', async () => {
    const { subscription, opened, pauses, pass } = start(everything)
    await subscription.subscribe('note://one')
    for (const [broken, ms] of [5, 59_999, 60_000].entries()) {
      pass(ms)
      opened[broken]?.queue.fail(new Error('broken'))
      await eventually('the next stream', () => opened.length === broken + 2 || undefined)
    }
    expect(pauses).toEqual([1000, 2000, 1000])
    subscription.close()
    expect(live(opened)).toEqual([])
  })
})
