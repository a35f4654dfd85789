import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compileMatcher, matchesAny, compileMatcherLate, replaceRegex, searchRegex } from './match.ts'

describe('patterns that do not match', () => {
  test.each([
    ['rm', 'rm_all'],
    ['rm', 'xrm'],
    ['slack_*', 'slac'],
    ['slack_*', 'Slack_send'],
    ['*_read', 'db_read_all'],
    ['a*b*c', 'acb'],
    ['ab*ba', 'aba'],
    ['a.c', 'abc'],
    ['get_?', 'get_a'],
    ['^get', 'get'],
    ['get$', 'get'],
    ['^(get|list)_.*$', 'forget_it'],
    ['^(get|list)_.*$', 'GET_it'],
    ['^get$', 'get\n'],
    ['', 'x'],
    ['constructor', 'toString'],
  ])('%j does not match %j', (pattern, text) => {
    expect(compileMatcher(pattern)(text)).toBe(false)
  })
})

describe('patterns that match', () => {
  test.each([
    ['rm', 'rm'],
    ['*', ''],
    ['*', 'a\nb'],
    ['slack_*', 'slack_'],
    ['slack_*', 'slack_send'],
    ['a*b*c', 'a--b--c'],
    ['**', 'x'],
    ['a.c', 'a.c'],
    ['^get', '^get'],
    ['[a]', '[a]'],
    ['^(get|list)_.*$', 'list_all'],
    ['^(?i)get$', 'GeT'],
    ['^$', ''],
    ['', ''],
  ])('%j matches %j', (pattern, text) => {
    expect(compileMatcher(pattern)(text)).toBe(true)
  })

  test('a regex is anchored exactly as it is written: an alternative at the top is tied to one end only', () => {
    expect(compileMatcher('^rm|del$')('rm_all')).toBe(true)
    expect(compileMatcher('^rm|del$')('all_del')).toBe(true)
    expect(compileMatcher('^rm|del$')('a_rm')).toBe(false)
  })
})

describe('hostile patterns and texts', () => {
  test.each(['^(?=a)$', '^(?!a).*$', '^(a)\\1$', '^($', '^a{1001}$', `^${'a'.repeat(4096)}$`])('%j is refused', (pattern) => {
    expect(() => compileMatcher(pattern)).toThrow(expect.objectContaining({ code: 'invalid_argument' }))
  })

  test('a long text is not matched but refused, except by the star alone', () => {
    const long = 'a'.repeat(65_537)
    expect(() => compileMatcher('^a*$')(long)).toThrow('longer than 65536')
    expect(() => compileMatcher('a*')(long)).toThrow('longer than 65536')
    expect(compileMatcher('*')(long)).toBe(true)
  })

  test('what stalls a backtracking engine does not stall this one', { timeout: 10_000 }, () => {
    expect(compileMatcher('^(a+)+$')('a'.repeat(60_000) + 'b')).toBe(false)
    expect(compileMatcher('*a*a*a*a*a*a*a*b')('a'.repeat(60_000))).toBe(false)
    expect(searchRegex('(x+x+)+y', 'x'.repeat(60_000))).toBe(false)
  })

  test('a bad pattern beside good ones: a match settles it, anything else throws', () => {
    const matchers = ['^($', 'get'].map(compileMatcherLate)
    expect(matchesAny(matchers, 'get')).toBe(true)
    expect(() => matchesAny(matchers, 'rm')).toThrow('RE2')
    expect(matchesAny([], 'rm')).toBe(false)
  })
})

test.each([
  ['^env-(\\w+)$', 'env-prod', '$1', 'prod'],
  ['^env-(\\w+)$', 'env-prod', '${1}_x', 'prod_x'],
  ['^env-(\\w+)$', 'env-prod', '$1x', ''],
  ['(?P<n>b)', 'abb', '<${n}>', 'a<b><b>'],
  ['b', 'abc', '$$', 'a$c'],
  ['b', 'abc', '$7', 'ac'],
  ['q', 'abc', 'x', undefined],
])('replacing %j in %j by %j gives %j', (pattern, text, by, expected) => {
  expect(replaceRegex(pattern, text, by)).toBe(expected)
})

test('globs agree with a naive recursive matcher', () => {
  const word = fc.string({ unit: fc.constantFrom('a', 'b', '*', '.', '\n'), maxLength: 8 })
  fc.assert(
    fc.property(word, fc.string({ unit: fc.constantFrom('a', 'b', '.', '*', '\n'), maxLength: 10 }), (pattern, text) => {
      expect(compileMatcher(pattern)(text)).toBe(naiveGlob(pattern, text))
    }),
    { numRuns: 2000 },
  )
})

function naiveGlob(pattern: string, text: string): boolean {
  if (pattern === '') return text === ''
  if (pattern[0] === '*') return naiveGlob(pattern.slice(1), text) || (text !== '' && naiveGlob(pattern, text.slice(1)))
  return pattern[0] === text[0] && naiveGlob(pattern.slice(1), text.slice(1))
}
