import { expect, test } from 'vitest'
import { type Direction, playMutations } from '../mutation-play.ts'
import { readingsOf } from '../readings.ts'

// Messages with something wrong with them, by the seed below; `node test/mutation-play.ts` plays others, for as long as one likes.

test('what a reader could take for a second key is seen', () => {
  const [one] = readingsOf(
    '{"id":1,"ID":2,"method":"ping","\\u004dethod":"tools/call","params":{"name":"a","params":{"name":"c"}},"param\u017f":{"Name":"b"}}',
  )
  expect([one?.ids.length, one?.methods, one?.params('name'), one?.isAnswer]).toEqual([2, ['ping', 'tools/call'], ['a', 'b'], false])
  expect(() => readingsOf('{"id":01}')).toThrow(SyntaxError)
})

test.each<[Direction, number]>([
  ['requests', 300],
  ['answers', 300],
])('%s: the other side gets what was judged, or nothing', { timeout: 120_000 }, async (direction, count) => {
  const { faults, passed, sent } = await playMutations(direction, { seed: 20_261_121, count })
  expect(faults).toEqual([])
  expect(sent).toBe(count)
  // It is no test of refusals alone.
  expect(passed).toBeGreaterThan(5)
})
