import { expect, test } from 'vitest'
import { readClientMessages } from './message.ts'
import { putOwnMeta, withoutOwnMeta } from './own-meta.ts'

const read = (text: string) => {
  const [message] = readClientMessages(Buffer.from(text)).messages
  if (!message) throw new Error('no message')
  return withoutOwnMeta(message)
}

test.each([
  'sallyport.dev/jwt',
  'Sallyport.Dev/jwt',
  'SALLYPORT.DEV/JWT',
  // The long s, which is an s to whoever folds cases of Unicode.
  '\u017fallyport.dev/jwt',
  '\\u0073allyport.dev/jwt',
  'sallyport.dev\\/jwt',
  'sallyport.dev/',
])('a client says nothing under %s', (key) => {
  const text = `{"jsonrpc":"2.0","id":12345678901234567890,"method":"tools/call","params":{"name":"t","arguments":{"n":1.0},"_meta":{"progressToken":1e2,"${key}":"me"}}}`
  const message = read(text)
  expect(message.bytes.toString()).toBe(
    '{"jsonrpc":"2.0","id":12345678901234567890,"method":"tools/call","params":{"name":"t","arguments":{"n":1.0},"_meta":{"progressToken":1e2}}}',
  )
  expect(message).toMatchObject({ id: '12345678901234567890', progressToken: '1e2', params: { _meta: { progressToken: 100 } } })
})

test('nor in notifications and answers', () => {
  const notification = read('{"jsonrpc":"2.0","method":"notifications/x","params":{"_meta":{"sallyport.dev/jwt":"me"}}}')
  expect(notification.bytes.toString()).toBe('{"jsonrpc":"2.0","method":"notifications/x","params":{"_meta":{}}}')
  const answer = read('{"jsonrpc":"2.0","id":1,"result":{"action":"accept","_meta":{"sallyport.dev/jwt":"me","a":1}}}')
  expect(answer.bytes.toString()).toBe('{"jsonrpc":"2.0","id":1,"result":{"action":"accept","_meta":{"a":1}}}')
})

test.each([
  '{"jsonrpc":"2.0","id":1,"method":"ping"}',
  '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"sallyport.device/x":1,"x/sallyport.dev/":1,"sallyport.dev":1}}}',
  '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"_meta":{"sallyport.dev/jwt":1}}}}',
  '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":"sallyport.dev/jwt"}}',
  '{"jsonrpc":"2.0","id":1,"result":{}}',
  '{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}',
])('the rest is as it came: %s', (text) => {
  expect(read(text).bytes.toString()).toBe(text)
})

test.each([
  ['{"jsonrpc":"2.0","id":1,"method":"ping"}', '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"k":"v"}}}'],
  ['{"id":1,"method":"ping","jsonrpc":"2.0" }\n', '{"id":1,"method":"ping","jsonrpc":"2.0" ,"params":{"_meta":{"k":"v"}}}\n'],
  ['{"jsonrpc":"2.0","id":1,"method":"a","params":{}}', '{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{"k":"v"}}}'],
  ['{"jsonrpc":"2.0","id":1,"method":"a","params":{ }}', '{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{"k":"v"} }}'],
  ['{"params":{"n":1.0},"id":1,"method":"a"}', '{"params":{"_meta":{"k":"v"},"n":1.0},"id":1,"method":"a"}'],
  ['{"params":{"_meta":{}},"id":1,"method":"a"}', '{"params":{"_meta":{"k":"v"}},"id":1,"method":"a"}'],
  ['{"params":{"x":1,"_meta":{"p":1e2}},"id":1,"method":"a"}', '{"params":{"x":1,"_meta":{"k":"v","p":1e2}},"id":1,"method":"a"}'],
  ['{"params":{"_meta":"odd","x":1},"id":1,"method":"a"}', '{"params":{"_meta":{"k":"v"},"x":1},"id":1,"method":"a"}'],
])('ours go into %s', (text, expected) => {
  expect(putOwnMeta(Buffer.from(text), '"k":"v"').toString()).toBe(expected)
  expect(putOwnMeta(Buffer.from(text), '').toString()).toBe(text)
})
