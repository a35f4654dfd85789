import fc from 'fast-check'
import { expect, test } from 'vitest'
import { findNearest } from './nearest.ts'

test.each([
  ['wrod', ['word', 'sword'], 'word'],
  ['WORD', ['Words'], 'Words'],
  ['ab', ['xy', 'cd'], undefined],
  ['abcdef', ['abcxyz'], undefined],
  ['a', [''], undefined],
  ['', ['a', 'ab'], undefined],
  ['files-prod', ['files-dev', 'file-prod', 'files-prd'], 'file-prod'],
  ['x'.repeat(65), ['x'.repeat(65)], undefined],
])('%s among %j', (word, candidates, nearest) => {
  expect(findNearest(word, candidates)).toBe(nearest)
})

/** As it is defined. */
function distance(left: string, right: string): number {
  if (left === '' || right === '') return left.length + right.length
  const [a, b] = [left.slice(1), right.slice(1)]
  return left[0] === right[0] ? distance(a, b) : 1 + Math.min(distance(a, right), distance(left, b), distance(a, b))
}

test('whatever is within so many edits is found, and nothing else', () => {
  const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 7 })
  fc.assert(
    fc.property(word, word, fc.nat(4), (left, right, most) => {
      const edits = distance(left, right)
      expect(findNearest(left, [right], most)).toBe(edits <= most && edits * 2 <= right.length ? right : undefined)
    }),
    { numRuns: 2000 },
  )
})

test('a great many long names that differ at their ends are compared in a short time', { timeout: 20_000 }, () => {
  const names = Array.from({ length: 1000 }, (_, index) => `${'server-'.repeat(8)}${index}x`)
  for (let round = 0; round < 500; round++) expect(findNearest(`${'server-'.repeat(8)}yyyyy`, names)).toBeUndefined()
})
