import { expect, test } from 'vitest'
import { IsoTimes } from './iso-time.ts'

test('what is no time is refused, and the next is not', () => {
  const times = new IsoTimes()
  expect(() => times.render(Number.NaN)).toThrow(RangeError)
  expect(() => times.render(8.64e15 + 1000)).toThrow(RangeError)
  expect(times.render(0)).toBe('1970-01-01T00:00:00.000Z')
})

test('times are as Date has them, in any order', () => {
  const times = new IsoTimes()
  const rendered = [1_700_000_000_000, 1_700_000_000_007, 1_700_000_000_999, 1_700_000_001_000, 1_699_999_999_999, 253_402_300_800_012, -1]
  expect(rendered.map((ms) => times.render(ms))).toEqual([
    '2023-11-14T22:13:20.000Z',
    '2023-11-14T22:13:20.007Z',
    '2023-11-14T22:13:20.999Z',
    '2023-11-14T22:13:21.000Z',
    '2023-11-14T22:13:19.999Z',
    '+010000-01-01T00:00:00.012Z',
    '1969-12-31T23:59:59.999Z',
  ])
})
