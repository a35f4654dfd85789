import { describe, expect, test } from 'vitest'
import { cancelledIdOf, classifyLine, keyOf } from './incoming.ts'

const classify = (text: string): unknown => classifyLine(Buffer.from(text))

describe('what is no message', () => {
  test.each([
    ['text', 'Server ready on stdio'],
    ['a list of numbers', '[1,2'],
    ['an answer to nobody', '{"jsonrpc":"2.0","result":{}}'],
    ['a method that is no text', '{"jsonrpc":"2.0","method":7}'],
    ['half a message', '{"jsonrpc":"2.0","id":1,"result":{}'],
    ['an ambiguous notification', '{"jsonrpc":"2.0","method":"a","method":"b"}'],
  ])('%s', (_, text) => expect(classify(text)).toEqual({ kind: 'garbage' }))

  test('bytes that are no UTF-8', () => {
    expect(classifyLine(Buffer.from([0x7b, 0xff, 0x7d]))).toEqual({ kind: 'garbage' })
  })
})

test.each([
  ['a key twice', '{"jsonrpc":"2.0","id":7,"result":{"a":1,"a":2}}'],
  ['no version', '{"id":7,"result":{}}'],
  ['another version', '{"jsonrpc":"1.0","id":7,"result":{}}'],
  ['a result and an error', '{"jsonrpc":"2.0","id":7,"result":{},"error":{}}'],
  ['neither', '{"jsonrpc":"2.0","id":7}'],
  ['a method too', '{"jsonrpc":"2.0","id":7,"result":{},"method":"ping"}'],
])('an answer with %s is not clear, and names its request, which has not to wait for another', (_, text) => {
  expect(classify(text)).toMatchObject({ kind: 'ambiguous', ids: ['7'] })
})

test('a batch is taken apart; one that is not clear names all requests it answers', () => {
  expect(classify(' [{"jsonrpc":"2.0","id":1,"result":{}}, {"a":1}]')).toEqual({
    kind: 'batch',
    elements: [
      { start: 2, end: 38 },
      { start: 40, end: 47 },
    ],
  })
  expect(
    classify('[{"jsonrpc":"2.0","id":1,"result":{}},{"jsonrpc":"2.0","id":"b","result":{},"result":1},{"method":"x","id":3}]'),
  ).toMatchObject({
    kind: 'ambiguous',
    ids: ['1', '"b"'],
  })
})

test('answers, requests and notifications', () => {
  expect(classify('{"jsonrpc":"2.0","id":12345678901234567890,"result":{}}')).toEqual({
    kind: 'response',
    id: { key: '12345678901234567890', span: { start: 22, end: 42 } },
    result: { start: 52, end: 54 },
  })
  expect(classify('{"jsonrpc":"2.0","id":"a","error":{"code":1,"message":"m"}}')).toEqual({
    kind: 'response',
    id: { key: '"a"', span: { start: 22, end: 25 } },
    result: undefined,
  })
  expect(classify('{"jsonrpc":"2.0","id":1,"method":"ping"}')).toEqual({ kind: 'request' })
  expect(classify('{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t"}}')).toMatchObject({
    progressToken: { key: '"t"' },
  })
  expect(classify('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}')).toMatchObject({ cancels: { key: '3' } })
})

test('the subscription a message belongs to', () => {
  const text =
    '{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"s"}}}'
  expect(classify(text)).toMatchObject({ kind: 'notification', subscription: { key: '"s"' } })
  const forged = '{"jsonrpc":"2.0","method":"x","params":{"_meta":{"__proto__":{"io.modelcontextprotocol/subscriptionId":"s"}}}}'
  expect(classify(forged)).toMatchObject({ subscription: undefined })
})

test('ids are the same when they are spelled otherwise, and differ by type', () => {
  expect(keyOf('"\\u0061"')).toBe(keyOf('"a"'))
  expect(keyOf('"1"')).not.toBe(keyOf('1'))
  expect(cancelledIdOf(Buffer.from('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"\\u0061"}}'))).toBe('"a"')
})
