import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Listed, Roster } from './roster.ts'

const item = (name: string): Listed & { name: string } => ({ place: -1, name })

test('what is not here is not deleted, and nothing twice', () => {
  const roster = new Roster<Listed>()
  const [one, stranger] = [item('one'), item('stranger')]
  roster.add(one)
  stranger.place = 0
  expect(roster.delete(stranger)).toBe(false)
  expect(roster.delete(one)).toBe(true)
  expect(roster.delete(one)).toBe(false)
  expect(roster.size).toBe(0)
})

test('holds what a set would hold, whatever comes and goes', () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 9 }), { maxLength: 200 }), (steps) => {
      const items = Array.from({ length: 10 }, (_, index) => item(String(index)))
      const roster = new Roster<(typeof items)[number]>()
      const expected = new Set<string>()
      for (const step of steps) {
        const one = items[step] ?? item('none')
        if (expected.delete(one.name)) expect(roster.delete(one)).toBe(true)
        else {
          expected.add(one.name)
          roster.add(one)
        }
      }
      expect(new Set(roster.list().map(({ name }) => name))).toEqual(expected)
      expect(roster.size).toBe(expected.size)
      for (const { name } of items) expect(roster.find((one) => one.name === name) !== undefined).toBe(expected.has(name))
    }),
  )
})
