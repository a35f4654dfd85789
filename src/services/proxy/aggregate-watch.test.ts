import { afterEach, beforeEach, expect, test } from 'vitest'
import { createFeed, type FakeFeed } from '../../../test/fakes/feed.ts'
import { AppError } from '../../lib/errors.ts'
import { silentLogger } from '../../lib/log.ts'
import { AggregateCallers } from './aggregate-callers.ts'
import { createFakeAuth, type FakeAuth, NOW } from './aggregate-fixture.ts'
import { AggregateWatch } from './aggregate-watch.ts'

let feed: FakeFeed
let auth: FakeAuth
let watch: AggregateWatch
/** Owners with a session, and why those were cut that were. */
let live: string[]
let cut: string[]
let told: (string | undefined)[]
let forgotten: number

beforeEach(async () => {
  feed = createFeed()
  auth = createFakeAuth()
  live = []
  cut = []
  told = []
  forgotten = 0
  feed.put('mcp_set', { version: 'v1', metadata: { name: 'dev' }, spec: { servers: { names: [] } } })
  offer('a', '1')
  const callers = new AggregateCallers({ clientFor: auth.clientFor, now: () => NOW })
  const endpoint = {
    cut(reasonFor: (owner: string) => string | undefined) {
      const open = live
      for (const owner of open) {
        const reason = reasonFor(owner)
        if (reason === undefined) continue
        live = live.filter((other) => other !== owner)
        cut.push(`${owner}: ${reason}`)
      }
    },
    membersChanged: (owner?: string) => void told.push(owner),
    forgetLists: () => void (forgotten += 1),
  }
  watch = new AggregateWatch({ endpoint, callers, feed, log: silentLogger })
  for (const user of ['ana', 'bob']) {
    auth.callers.set(user, { user, tokenId: 'T', servers: [] })
    await callers.get(user, '')
    live.push(`user:${user}:T`, `user:${user}:T dev`)
  }
})
afterEach(() => watch.close())

function offer(name: string, revision: string, labels: Record<string, string> = {}): void {
  const app = { kind: 'app', version: 'v3', metadata: { name, labels, revision }, spec: { uri: 'mcp+http://127.0.0.1:1/' } }
  const metadata = { name: `${name}@h`, expires: new Date(NOW + Number(revision) * 60_000).toISOString() }
  feed.put('app_server', { version: 'v3', metadata, spec: { version: '1', hostname: 'h', host_id: 'h', app } })
}

/** Looks are asynchronous; the questions they ask are answered in a few turns. */
const looked = () => new Promise((resolve) => setImmediate(resolve))

test('a lock ends the sessions of whom it hits, at every URL, and nobody else’s', async () => {
  auth.callers.set('ana', { user: 'ana', tokenId: 'T', servers: [], refusal: new AppError('permission_denied', 'locked: lunch') })
  feed.put('lock', { version: 'v2', metadata: { name: 'l' }, spec: { target: { user: 'ana' } } })
  await looked()
  expect(cut).toEqual(['user:ana:T: locked: lunch', 'user:ana:T dev: locked: lunch'])
  expect(told).toEqual([])
})

test('a revoked token ends its sessions', async () => {
  auth.callers.delete('bob')
  feed.revoke('T')
  await looked()
  expect(cut).toEqual(['user:bob:T: the API token is not valid', 'user:bob:T dev: the API token is not valid'])
})

test('a set that is deleted ends its sessions only', async () => {
  feed.remove('mcp_set', 'dev')
  await looked()
  expect(cut).toEqual(['user:ana:T dev: MCP set "dev" no longer exists', 'user:bob:T dev: MCP set "dev" no longer exists'])
})

test('a session of nobody known is ended', async () => {
  live.push('user:eve:T')
  feed.put('role', { version: 'v8', metadata: { name: 'r' }, spec: {} })
  await looked()
  expect(cut).toEqual(['user:eve:T: who you are has to be verified again: connect again'])
})

test('only those whom a change may have hit are asked about', async () => {
  const asked = async (act: () => void): Promise<string[]> => {
    auth.calls = []
    act()
    await looked()
    return auth.calls.filter((call) => call.startsWith('whoami'))
  }
  expect(await asked(() => feed.put('role', { version: 'v8', metadata: { name: 'r' }, spec: {} }))).toEqual([])
  expect(await asked(() => offer('b', '1'))).toEqual([])
  expect(await asked(() => feed.revoke('other'))).toEqual([])
  expect(await asked(() => feed.put('user', { version: 'v2', metadata: { name: 'bob' }, spec: {} }))).toEqual(['whoami bob'])
  expect(await asked(() => feed.revoke('T'))).toEqual(['whoami ana', 'whoami bob'])
})

test('a change during a look is looked at too', async () => {
  const gate = Promise.withResolvers<void>()
  auth.gate = gate.promise
  feed.revoke('T')
  await looked()
  auth.callers.delete('ana')
  feed.revoke('T')
  gate.resolve()
  await looked()
  expect(cut).toEqual(['user:ana:T: the API token is not valid', 'user:ana:T dev: the API token is not valid'])
})

test.each([
  ['a role', () => feed.put('role', { version: 'v8', metadata: { name: 'r' }, spec: {} })],
  ['a set', () => feed.put('mcp_set', { version: 'v1', metadata: { name: 'dev' }, spec: { servers: { names: ['a'] } } })],
  ['an app', () => feed.remove('app', 'a')],
  ['a new offer', () => offer('b', '1')],
  ['an offer with other labels', () => offer('a', '2', { env: 'prod' })],
  ['an offer withdrawn', () => feed.remove('app_server', 'a@h')],
])('%s may change what everybody sees', async (_, act) => {
  act()
  await looked()
  expect(told).toEqual([undefined])
  expect(cut).toEqual([])
})

test('a changed user may see others; the rest is left in peace', async () => {
  feed.put('user', { version: 'v2', metadata: { name: 'ana' }, spec: {} })
  await looked()
  expect(told).toEqual(['user:ana:T', 'user:ana:T dev'])
})

test('a heartbeat changes nothing', async () => {
  auth.calls = []
  offer('a', '2')
  feed.put('token', { version: 'v2', metadata: { name: 't' }, spec: { roles: ['App'] } })
  await looked()
  expect([told, auth.calls]).toEqual([[], []])
})

test('what was listed before a change is forgotten at once, not after everybody was asked about', async () => {
  auth.gate = new Promise(() => undefined)
  const lock = { version: 'v2', metadata: { name: 'l' }, spec: { target: { role: 'r' } } }
  feed.put('lock', lock)
  expect(forgotten).toBe(1)
  feed.put('role', { version: 'v8', metadata: { name: 'r' }, spec: {} })
  feed.revoke('T')
  expect(forgotten).toBe(3)
  offer('a', '2')
  expect(forgotten).toBe(3)
})
