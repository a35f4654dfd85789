import { afterEach, beforeEach, expect, test } from 'vitest'
import { createFeed, type FakeFeed } from '../../../test/fakes/feed.ts'
import type { ApiClient } from '../../client/call.ts'
import { Assertions } from './assertions.ts'

let now: number
let feed: FakeFeed
let assertions: Assertions
/** Exchanges of tokens for assertions, as `token server`. */
let issued: string[]
let issue: () => Promise<unknown>

beforeEach(() => {
  now = Date.parse('2027-01-01T00:00:00Z')
  feed = createFeed()
  issued = []
  issue = async () => ({ assertion: `a.b.${issued.length}`, expires: new Date(now + 300_000).toISOString() })
  /* The one route that is called. */
  const clientFor = (token: string) =>
    (async (_: unknown, input: { server: string }) => {
      issued.push(`${token} ${input.server}`)
      return issue()
    }) as ApiClient
  assertions = new Assertions({ clientFor, feed, now: () => now })
})

afterEach(() => assertions.close())

test('nothing is exchanged in the millisecond of a change, for agents could not tell it from what was issued before', async () => {
  feed.revoke('somebody')
  const getting = assertions.get('t', 'tools', '')
  await Promise.resolve()
  expect(issued).toEqual([])
  now += 1
  await getting
  expect(issued).toEqual(['t tools'])
})

test('what was issued before a change is not handed out after it', async () => {
  const gate = Promise.withResolvers<void>()
  let count = 0
  issue = async () => {
    const mine = ++count
    if (mine === 1) await gate.promise
    return { assertion: `a.b.${mine}`, expires: new Date(now + 300_000).toISOString() }
  }
  const first = assertions.get('t', 'tools', '')
  await expect.poll(() => issued.length).toBe(1)
  feed.revoke('somebody')
  now += 1
  gate.resolve()
  expect(await first).toBe('a.b.2')
  expect(await assertions.get('t', 'tools', '')).toBe('a.b.2')
  feed.put('lock', { version: 'v2', metadata: { name: 'l' }, spec: { target: { user: 'x' } } })
  now += 1
  expect(await assertions.get('t', 'tools', '')).toBe('a.b.3')
})

test('what an agent did not take is not handed out again', async () => {
  let count = 0
  issue = async () => ({ assertion: `a.b.${++count}`, expires: new Date(now + 300_000).toISOString() })
  expect(await assertions.get('t', 'tools', '')).toBe('a.b.1')
  expect(await assertions.get('t', 'other', '')).toBe('a.b.2')
  assertions.forget('a.b.1')
  expect(await assertions.get('t', 'tools', '')).toBe('a.b.3')
  expect(await assertions.get('t', 'other', '')).toBe('a.b.2')
})
