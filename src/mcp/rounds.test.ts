import { expect, test } from 'vitest'
import { Rounds, untilCommonStep } from './rounds.ts'

function setUp(size: number, periodMs = 1000) {
  const kept = new Set(Array.from({ length: size }, (_, index) => index))
  const rounds = new Rounds(kept, periodMs, 0)
  const step = (now: number): number[] => {
    const visited: number[] = []
    rounds.step(now, (one) => visited.push(one))
    return visited
  }
  return { kept, step }
}

test('nobody is visited when there is nobody, or no time has passed', () => {
  expect(setUp(0).step(10_000)).toEqual([])
  const { step } = setUp(3)
  expect([step(0), step(-1000)]).toEqual([[], []])
})

test('a few at every step, each once in a period', () => {
  const { step } = setUp(20)
  const steps = Array.from({ length: 10 }, (_, index) => step((index + 1) * 100))
  expect(steps.map(({ length }) => length)).toEqual([2, 2, 2, 2, 2, 2, 2, 2, 2, 2])
  expect(steps.flat()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19])
})

test('one alone is visited once in a period, not at every step', () => {
  const { step } = setUp(1, 15_000)
  const at = Array.from({ length: 450 }, (_, index) => (index + 1) * 100).filter((now) => step(now).length > 0)
  expect(at).toEqual([15_000, 30_000, 45_000])
})

test('after a long stop each is visited once', () => {
  const { step } = setUp(3)
  expect(step(60_000)).toEqual([0, 1, 2])
  expect(step(60_001)).toEqual([])
})

test('who went is not visited, who came is in the same round', () => {
  const { kept, step } = setUp(4)
  expect(step(250)).toEqual([0])
  kept.delete(1)
  kept.add(9)
  expect([step(500), step(750), step(1000)]).toEqual([[2], [3], [9]])
})

test('when everybody leaves on their visit, all have left after a period', () => {
  const kept = new Set(Array.from({ length: 100 }, (_, index) => index))
  const rounds = new Rounds(kept, 1000, 0)
  for (let now = 100; now <= 1000; now += 100) rounds.step(now, (one) => kept.delete(one))
  expect(kept.size).toBe(0)
})

test('one that goes while another is visited is not visited', () => {
  const kept = new Map([
    ['a', 'a'],
    ['b', 'b'],
  ])
  const visited: string[] = []
  new Rounds(kept, 1000, 0).step(1000, (one) => {
    visited.push(one)
    kept.delete('b')
  })
  expect(visited).not.toContain('b')
})

test('steps fall together, and no timer that is early or late makes one too many', () => {
  expect([0, 1, 250].map((now) => untilCommonStep(500, now))).toEqual([500, 499, 250])
  expect([251, 499, 1_000_000_499].map((now) => untilCommonStep(500, now))).toEqual([749, 501, 501])
})
