import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { matchLabels } from './labels.ts'

type Row = [selector: Record<string, string | string[]>, labels: Record<string, string>]

describe('selects nothing', () => {
  test.each<Row>([
    [{}, {}],
    [{}, { env: 'prod' }],
    [{ env: 'prod' }, {}],
    [{ env: 'prod' }, { env: 'dev' }],
    [{ env: 'prod' }, { ENV: 'prod' }],
    [{ env: 'prod', team: 'a' }, { env: 'prod' }],
    [{ env: '*' }, { team: 'a' }],
    [{ env: [] }, { env: 'prod' }],
    [{ '*': 'prod' }, { env: 'prod' }],
    [{ '*': ['*', 'x'] }, { env: 'prod' }],
    [{ '*': [] }, {}],
    [{ 'e*': 'prod' }, { env: 'prod' }],
    [{ constructor: '*' }, {}],
    [{ env: '^(dev|stage)$' }, { env: 'prod' }],
  ])('%j on %j', (selector, labels) => {
    expect(matchLabels(selector, labels)).toBe(false)
  })
})

describe('selects', () => {
  test.each<Row>([
    [{ '*': '*' }, {}],
    [{ '*': ['*'] }, { env: 'prod' }],
    [{ '*': '*', env: 'prod' }, {}],
    [{ env: 'prod' }, { env: 'prod', team: 'a' }],
    [{ env: ['dev', 'prod'] }, { env: 'prod' }],
    [{ env: '*' }, { env: '' }],
    [
      { env: 'pr*', team: ['a', 'b'] },
      { env: 'prod', team: 'b' },
    ],
    [{ env: '^(dev|prod)$' }, { env: 'prod' }],
  ])('%j on %j', (selector, labels) => {
    expect(matchLabels(selector, labels)).toBe(true)
  })
})

test('a bad pattern throws only where the answer hangs on it', () => {
  expect(() => matchLabels({ env: '^($' }, { env: 'prod' })).toThrow('RE2')
  expect(() => matchLabels({ env: '^($', team: 'a' }, { env: 'prod', team: 'a' })).toThrow('RE2')
  expect(matchLabels({ env: '^($', team: 'a' }, { env: 'prod', team: 'b' })).toBe(false)
  expect(matchLabels({ env: ['^($', 'prod'] }, { env: 'prod' })).toBe(true)
})

test('agrees with the rule written down naively', () => {
  const key = fc.constantFrom('env', 'team', '*')
  const value = fc.constantFrom('a', 'b', '*', '')
  fc.assert(
    fc.property(
      fc.dictionary(key, fc.array(value, { maxLength: 3 })),
      fc.dictionary(fc.constantFrom('env', 'team'), fc.constantFrom('a', 'b', '')),
      (selector, labels) => {
        const star = selector['*']
        const everything = star?.length === 1 && star[0] === '*'
        const keys = Object.keys(selector)
        const expected =
          everything || (keys.length > 0 && keys.every((k) => k in labels && (selector[k] ?? []).some((v) => v === '*' || v === labels[k])))
        expect(matchLabels(selector, labels)).toBe(expected)
      },
    ),
    { numRuns: 2000 },
  )
})
