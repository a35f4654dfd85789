import fc from 'fast-check'
import { expect, test } from 'vitest'
import { idKey } from './request-ids.ts'
import { MessageHead, readHead } from './message-head.ts'

test.each([
  ['', 'nothing'],
  ['[]', 'a list'],
  ['"id"', 'a text'],
  ['{}', 'nothing that tells what it is'],
  ['{"id":5}', 'an id alone'],
  ['{"id":5,"result":1,"error":2}', 'a result and an error'],
  ['{"id":5,"method":"x","result":1}', 'a call and an answer'],
  ['{"id":5,"result":1}{"id":6,"result":1}', 'two messages'],
  ['{"id":5,"result":1', 'half a message'],
  ['{"id":5,"result":1}}', 'more ends than beginnings'],
  ['{"id":5,"id":5,"result":1}', 'the same id twice'],
  ['{"id":5,"ID":5,"result":1}', 'an id in capitals'],
  ['{"id":5,"\\u0049d":5,"result":1}', 'an id in escaped capitals'],
  ['{"id":5,"ıd":5,"result":1}', 'an id without its dot'],
  ['{"id":5,"reſult":5,"result":1}', 'a result with a long s'],
  ['{"id":5,"result":1,"Method":"x"}', 'a method in another case'],
  ['{"id":{"id":5},"result":1}', 'an id that is no id'],
  ['{"id":true,"result":1}', 'an id that is no id either'],
  [`{"id":"${'x'.repeat(99_000)}","result":1}`, 'an id of any length'],
])('%j is %s, not a clear message', (text) => {
  expect([readHead(text).isClear, readHead(text).isAnswerTo('5')]).toEqual([false, false])
})

test.each([
  ['{"jsonrpc":"2.0","id":5,"result":{"id":6,"method":"x"}}', '5'],
  ['{"result":{"a":["}",{"id":7}],"b":"\\"id\\":6,\\\\"},"id": 5 }', '5'],
  ['{"\\u0069\\u0064":"a,b}","result":null,"x":{"ID":1}}', '"a,b}"'],
  ['{"id":5.0,"error":{}}', '5'],
  ['{"error":{"code":-32700}}', '5'],
  ['{"id":null,"error":{}}', '"x"'],
])('%j answers %s', (text, key) => {
  expect([readHead(text).isAnswerTo(key), readHead(text).isAnswerTo('6'), readHead(text).isOtherThan(key)]).toEqual([
    true,
    text.includes('"error"') && !text.includes('5.0'),
    false,
  ])
})

test('an answer without an id is an answer to nobody, a call is no answer, and either is known at once', () => {
  expect(readHead('{"result":{}}').isAnswerTo('null')).toBe(false)
  expect(readHead('{"method":"x","id":5}')).toMatchObject({ isClear: true })
  expect(readHead('{"method":"x","id":5}').isAnswerTo('5')).toBe(false)
  expect([readHead('{"id":6,').isOtherThan('5'), readHead('{"id":6').isOtherThan('5'), readHead('{"method"').isOtherThan('5')]).toEqual([
    true,
    false,
    true,
  ])
})

test('an answer of very many members costs no more than its length', { timeout: 5000 }, () => {
  const members = Array.from({ length: 200_000 }, (_, at) => `"m${at}":{"x":"${'y'.repeat(40)}"}`)
  const bytes = Buffer.from(`{"jsonrpc":"2.0","id":1,"result":{},${members.join(',')}}`)
  // By the square of it, this takes longer than the test may.
  expect(new MessageHead().push(bytes).answered).toBe(idKey(1))
})

test('any answer is read as JSON reads it, in whatever pieces it comes', () => {
  const id = fc.oneof(fc.string(), fc.integer())
  const more = fc.dictionary(
    fc.string().filter((key) => !/^(id|method|result|error)$/i.test(key)),
    fc.jsonValue(),
  )
  const space = fc.constantFrom(undefined, 1, '\t', ' \r\n ')
  fc.assert(
    fc.property(
      id,
      more,
      fc.jsonValue(),
      fc.boolean(),
      space,
      fc.integer({ min: 1, max: 9 }),
      (own, members, result, isFirst, gap, size) => {
        const value = isFirst ? { id: own, ...members, result } : { ...members, result, id: own }
        const bytes = Buffer.from(JSON.stringify(value, undefined, gap))
        const head = new MessageHead()
        for (let at = 0; at < bytes.length; at += size) head.push(bytes.subarray(at, at + size))
        expect([head.isAnswerTo(idKey(own)), head.isAnswerTo(idKey(`${own}x`))]).toEqual([true, false])
      },
    ),
  )
})
