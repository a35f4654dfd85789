import { expect, test } from 'vitest'
import { type Candidate, chooseAgent } from './choose-agent.ts'

function agent(hostId: string, facts: Partial<Candidate> = {}): Candidate {
  return { hostId, target: () => {}, health: undefined, load: 0, ...facts }
}

const chosen = (candidates: Candidate[], key?: string): string | undefined => chooseAgent(candidates, key)?.hostId

test('nobody is chosen of none, and the only one however its server does', () => {
  expect(chosen([])).toBe(undefined)
  expect(chosen([agent('a', { health: 'failing' })])).toBe('a')
})

test('an agent whose server fails is passed over, however idle it is', () => {
  expect(chosen([agent('ill', { health: 'failing' }), agent('well', { health: 'healthy', load: 90 })])).toBe('well')
  expect(chosen([agent('ill', { health: 'failing' }), agent('so-so', { health: 'degraded', load: 90 })])).toBe('so-so')
  expect(chosen([agent('so-so', { health: 'degraded' }), agent('new', { load: 90 })])).toBe('new')
})

test('of those that do as well, the one with the least to do', () => {
  expect(chosen([agent('a', { health: 'healthy', load: 2 }), agent('b', { health: 'unknown', load: 1 }), agent('c', { load: 3 })])).toBe(
    'b',
  )
})

test('a caller without sessions stays with one agent, and moves only when that goes or fails', () => {
  const all = ['a', 'b', 'c'].map((hostId) => agent(hostId, { health: 'healthy' }))
  const keys = Array.from({ length: 60 }, (_, n) => `caller-${n}`)
  const before = keys.map((key) => chosen(all, key))
  expect(new Set(before)).toEqual(new Set(['a', 'b', 'c']))
  expect(keys.map((key) => chosen(all.toReversed(), key))).toEqual(before)
  const withIll = all.map((one) => (one.hostId === 'b' ? { ...one, health: 'failing' as const } : one))
  const after = keys.map((key) => chosen(withIll, key))
  expect(after).not.toContain('b')
  for (const [n, hostId] of before.entries()) if (hostId !== 'b') expect(after[n]).toBe(hostId)
})
