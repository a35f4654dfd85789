import { expect, test } from 'vitest'
import { ByOwner } from './by-owner.ts'

test('what somebody owns, and nothing of what others do', () => {
  const owned = new ByOwner<{ owner: string }>()
  const [a, b, c] = [{ owner: 'ana' }, { owner: 'ana' }, { owner: 'bob' }]
  for (const one of [a, b, c, a]) owned.add(one)
  expect([owned.countOf('ana'), owned.countOf('bob'), owned.countOf('eve')]).toEqual([2, 1, 0])
  expect(owned.of('ana')).toEqual([a, b])
  expect(owned.of('eve')).toEqual([])
  for (const one of [a, a, c]) owned.delete(one)
  expect([owned.countOf('ana'), owned.countOf('bob')]).toEqual([1, 0])
})
