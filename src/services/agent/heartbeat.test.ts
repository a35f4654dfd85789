import { expect, test } from 'vitest'
import { createApiClient } from '../../client/call.ts'
import { silentLogger } from '../../lib/log.ts'
import { type App, appSchema } from '../../resources/app.ts'
import { appServers, Heartbeat } from './heartbeat.ts'

const START = Date.parse('2027-01-01T00:00:00Z')

function appOf(name: string, port = 1): App {
  return appSchema.parse({ kind: 'app', version: 'v3', metadata: { name }, spec: { uri: `mcp+http://127.0.0.1:${port}` } })
}

/** What the Auth Service hears: the names of each write, `-` before one that is gone. */
function create({ refuses = '', status = 400 } = {}) {
  const heard: string[][] = []
  const warnings: string[] = []
  const clock = { now: START }
  const expiries = new Set<string>()
  const api = createApiClient(async ({ method, path, body = '' }) => {
    if (method === 'DELETE') heard.push([`-${path.split('/').at(-1)}`])
    else {
      const items: { metadata: { name: string; expires: string } }[] = JSON.parse(body).items
      const names = items.map(({ metadata }) => metadata.name)
      for (const { metadata } of items) expiries.add(metadata.expires)
      const isRefused = names.some((name) => refuses !== '' && name.startsWith(refuses))
      heard.push(isRefused ? ['refused', ...names] : names)
      const error = { code: status === 503 ? 'unavailable' : 'invalid_argument', message: 'no' }
      if (isRefused) return { status, headers: {}, body: JSON.stringify({ error }) }
    }
    return { status: 200, headers: {}, body: '{}' }
  })
  const log = { ...silentLogger, warn: (message: string) => void warnings.push(message) }
  const heartbeat = new Heartbeat(
    { api, hostId: 'h', hostname: 'host', version: '1.0.0', now: () => clock.now, log },
    appServers(() => undefined),
  )
  return { heartbeat, heard, warnings, clock, expiries }
}

test('one that is refused does not keep the others from being told', async () => {
  const { heartbeat, heard, warnings } = create({ refuses: 'b' })
  for (const name of ['a', 'b', 'c']) heartbeat.announce(appOf(name))
  await heartbeat.settled()
  expect(heard).toEqual([['refused', 'a@h', 'b@h', 'c@h'], ['a@h'], ['refused', 'b@h'], ['c@h']])
  expect(warnings).toEqual(['heartbeat failed'])
})

test('an Auth Service that is away is not asked for each', async () => {
  const { heartbeat, heard, warnings } = create({ refuses: 'a', status: 503 })
  for (const name of ['a', 'b']) heartbeat.announce(appOf(name))
  await heartbeat.settled()
  expect(heard).toEqual([['refused', 'a@h', 'b@h']])
  expect(warnings).toEqual(['heartbeat failed'])
})

test('what an Auth Service that was away did not hear is told again within seconds, if it is still so', async () => {
  const { heartbeat, heard, clock } = create({ refuses: 'a', status: 503 })
  for (const name of ['a', 'b']) heartbeat.announce(appOf(name))
  await heartbeat.settled()
  heartbeat.withdraw('a')
  heartbeat.beat()
  await heartbeat.settled()
  expect(heard).toEqual([['refused', 'a@h', 'b@h'], ['-a%40h']])
  clock.now += 5000
  heartbeat.beat()
  heartbeat.beat()
  await heartbeat.settled()
  expect(heard.slice(2)).toEqual([['b@h']])
})

test('what is announced in the moment in which all was told is told too', async () => {
  // Whatever number of turns there is between the last answer and the end of the writing.
  for (let turns = 0; turns < 60; turns++) {
    const { heartbeat, heard } = create()
    heartbeat.announce(appOf('a'))
    while (heard.length === 0) await Promise.resolve()
    for (let turn = 0; turn < turns; turn++) await Promise.resolve()
    heartbeat.announce(appOf('b'))
    await heartbeat.settled()
    expect([turns, heard.flat()]).toEqual([turns, ['a@h', 'b@h']])
  }
})

test('many are told of together, twenty at a time, until they expire', async () => {
  const { heartbeat, heard, expiries } = create()
  for (let n = 0; n < 45; n++) heartbeat.announce(appOf(`s${n}`))
  await heartbeat.settled()
  expect(heard.map(({ length }) => length)).toEqual([20, 20, 5])
  expect([...expiries]).toEqual(['2027-01-01T00:04:00.000Z'])
})

test('of each server what was said last is told, after what others said before', async () => {
  const { heartbeat, heard } = create()
  heartbeat.announce(appOf('a'))
  heartbeat.announce(appOf('b'))
  heartbeat.withdraw('a')
  heartbeat.announce(appOf('c'))
  await heartbeat.settled()
  expect(heard).toEqual([['b@h'], ['-a%40h'], ['c@h']])
})

test('each is told of once a minute, never all at one moment', async () => {
  const { heartbeat, heard, clock } = create()
  for (let n = 0; n < 1000; n++) heartbeat.announce(appOf(`s${n}`))
  await heartbeat.settled()
  heard.length = 0
  for (let step = 0; step < 120; step++) {
    clock.now += 500
    heartbeat.beat()
    await heartbeat.settled()
  }
  expect(new Set(heard.flat()).size).toBe(1000)
  expect(heard.flat()).toHaveLength(1000)
  expect(Math.max(...heard.map(({ length }) => length))).toBe(9)
})

test('at the end all are gone, and nothing is told any more', async () => {
  const { heartbeat, heard, clock } = create()
  heartbeat.announce(appOf('a'))
  await heartbeat.settled()
  const closing = heartbeat.close()
  // Its labels changed at the same moment.
  heartbeat.announce(appOf('a'))
  await closing
  clock.now += 60_000
  heartbeat.beat()
  await heartbeat.settled()
  expect(heard).toEqual([['a@h'], ['-a%40h']])
})

test('what this host may not offer is said once, until it may', async () => {
  const refused = [{ name: 'a', reason: 'not for this host' }]
  const answers = [refused, refused, [], refused]
  const api = createApiClient(async () => ({ status: 200, headers: {}, body: JSON.stringify({ refused: answers.shift() }) }))
  const told: string[] = []
  const heartbeat = new Heartbeat(
    { api, hostId: 'h', hostname: 'host', version: '1.0.0', now: () => START, log: silentLogger },
    appServers(() => undefined),
    (name, reason) => told.push(`${name}: ${reason}`),
  )
  for (const expected of [1, 1, 1, 2]) {
    heartbeat.announce(appOf('a'))
    await heartbeat.settled()
    expect(told).toHaveLength(expected)
  }
  expect(told[0]).toBe('a: not for this host')
  await heartbeat.close()
})

test('an agent that goes waits for a busy Auth Service as often as it has batches of servers, and not as it has servers', async () => {
  const waiting: (() => void)[] = []
  const api = createApiClient(async ({ method }) => {
    if (method === 'DELETE') await new Promise<void>((resolve) => waiting.push(resolve))
    return { status: 200, headers: {}, body: '{}' }
  })
  const heartbeat = new Heartbeat(
    { api, hostId: 'h', hostname: 'host', version: '1.0.0', now: () => START, log: silentLogger },
    appServers(() => undefined),
  )
  for (let n = 0; n < 45; n++) heartbeat.announce(appOf(`s${n}`))
  await heartbeat.settled()
  let isClosed = false
  const closing = heartbeat.close().then(() => (isClosed = true))
  const turns: number[] = []
  while (turns.reduce((sum, count) => sum + count, 0) < 45) {
    await new Promise((resolve) => setImmediate(resolve))
    turns.push(waiting.length)
    expect(isClosed).toBe(false)
    for (const answer of waiting.splice(0)) answer()
  }
  await closing
  expect(turns).toEqual([20, 20, 5])
})
