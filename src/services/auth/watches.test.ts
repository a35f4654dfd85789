import { expect, test } from 'vitest'
import { silentLogger } from '../../lib/log.ts'
import { parseResource } from '../../resources/registry.ts'
import { AGENT, START } from './auth-fixture.ts'
import { createLiveResources } from './live-resources.ts'
import { Watches } from './watches.ts'

/** The lines of a watch up to `ready`. */
async function snapshot(watches: Watches): Promise<Record<string, unknown>[]> {
  let text = ''
  for await (const chunk of watches.open({ ...AGENT, expiresAt: START * 2 }, ['user'])) {
    text += Buffer.from(chunk).toString()
    if (text.includes('"ready"')) break
  }
  const lines: unknown[] = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  return lines.map((line) => ({ ...(typeof line === 'object' && line) }))
}

test('who watches a process that began later is told what was revoked and changed before', async () => {
  const recent = [
    { type: 'revoked' as const, kind: 'api_token', name: 't1', at: START - 2000 },
    { type: 'delete' as const, kind: 'user', name: 'alice', at: START - 1000 },
    { type: 'put' as const, kind: 'keys', name: 'jwt', at: START - 500 },
  ]
  const live = createLiveResources(silentLogger)
  const watches = new Watches({ live, epoch: 'e', recent, knownSince: START - 5000, now: () => START })
  expect(await snapshot(watches)).toEqual([
    { type: 'begin', at: START, epoch: 'e', known_since: START - 5000, n: 1 },
    { type: 'delete', at: START - 1000, kind: 'user', name: 'alice', n: 2 },
    { type: 'revoked', at: START - 2000, kind: 'api_token', name: 't1', n: 3 },
    { type: 'ready', at: START, n: 4 },
  ])
  watches.close()
})

test('once changes were missed, nothing from before is said to be known', async () => {
  const recent = [{ type: 'revoked' as const, kind: 'api_token', name: 't1', at: START - 2000 }]
  const watches = new Watches({ live: createLiveResources(silentLogger), epoch: 'e', recent, knownSince: START - 5000, now: () => START })
  watches.beginAnew()
  expect(await snapshot(watches)).toEqual([
    { type: 'begin', at: START, epoch: 'e', known_since: START, n: 1 },
    { type: 'ready', at: START, n: 2 },
  ])
  watches.close()
})

test('who reads slowly is told that a user was replaced, however often it was', async () => {
  const live = createLiveResources(silentLogger)
  const watches = new Watches({ live, epoch: 'e', now: () => START })
  const stream = watches.open({ ...AGENT, expiresAt: START * 2 }, ['user'])
  const put = (name: string): void =>
    live.put('user', parseResource('user', { kind: 'user', version: 'v2', metadata: { name }, spec: { roles: [] } }))
  put('first')
  for (let times = 0; times < 3; times++) {
    put('alice')
    live.remove('user', 'alice')
  }
  put('alice')
  put('last')
  const told: string[] = []
  for await (const chunk of stream) {
    for (const [, type] of Buffer.from(chunk)
      .toString()
      .matchAll(/^\{"type":"([a-z]+)"/gm))
      told.push(type ?? '')
    if (Buffer.from(chunk).includes('last')) break
  }
  expect(told).toEqual(['begin', 'ready', 'put', 'delete', 'put', 'put'])
  watches.close()
})
