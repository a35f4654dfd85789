import { expect, test } from 'vitest'
import { findRequestId, readClientMessages, renderRpcError } from './message.ts'

const read = (text: string) => readClientMessages(Buffer.from(text))

test.each([
  ['text that is no JSON', 'hello', -32700],
  ['nothing', '', -32700],
  ['a byte order mark', '\ufeff{"jsonrpc":"2.0","id":1,"method":"ping"}', -32700],
  ['two messages', '{"jsonrpc":"2.0","id":1,"method":"ping"}{}', -32700],
  ['a NUL', '{"jsonrpc":"2.0","id":1,"method":"ping"}\0', -32700],
  ['a string', '"x"', -32600],
  ['no version', '{"id":1,"method":"ping"}', -32600],
  ['another version', '{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600],
  ['a version that is a number', '{"jsonrpc":2.0,"id":1,"method":"ping"}', -32600],
  ['an id of null', '{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600],
  ['an id of true', '{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600],
  ['an id that is an object', '{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600],
  ['an id of 16385 characters', `{"jsonrpc":"2.0","id":"${'i'.repeat(16_383)}","method":"ping"}`, -32600],
  ['an id that is a list', '{"jsonrpc":"2.0","id":[1],"method":"ping"}', -32600],
  ['a method that is a number', '{"jsonrpc":"2.0","id":1,"method":5}', -32600],
  ['a method that is null', '{"jsonrpc":"2.0","id":1,"method":null}', -32600],
  ['params that are a list', '{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', -32600],
  ['params that are null', '{"jsonrpc":"2.0","id":1,"method":"ping","params":null}', -32600],
  ['a result beside the method', '{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}', -32600],
  ['neither method nor answer', '{"jsonrpc":"2.0","id":1}', -32600],
  ['a result and an error', '{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', -32600],
  ['an answer without an id', '{"jsonrpc":"2.0","result":{}}', -32600],
  ['two names', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","name":"rm_all"}}', -32600],
  ['a second name, escaped', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","na\\u006de":"rm_all"}}', -32600],
  ['two params', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"},"params":{"name":"rm_all"}}', -32600],
  ['a Name', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","Name":"rm_all"}}', -32600],
  ['a long s', '{"jsonrpc":"2.0","id":1,"method":"ping","param\u017f":{}}', -32600],
  ['a deep nest', `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":${'['.repeat(100)}${']'.repeat(100)}}}`, -32600],
  ['an empty batch', '[]', -32600],
  ['a batch in a batch', '[[{"jsonrpc":"2.0","id":1,"method":"ping"}]]', -32600],
  ['a number in a batch', '[1]', -32600],
])('%s is refused', (_, text, rpc) => {
  expect(() => read(text)).toThrow(expect.objectContaining({ code: 'invalid_argument', details: expect.objectContaining({ rpc }) }))
})

test('text in another encoding is refused', () => {
  for (const body of [Buffer.from('{"jsonrpc":"2.0"}', 'utf16le'), Buffer.from([0x22, 0xff, 0x22]), Buffer.from([0xed, 0xa0, 0x80])]) {
    expect(() => readClientMessages(body)).toThrow(expect.objectContaining({ details: expect.objectContaining({ rpc: -32700 }) }))
  }
})

test.each([
  '1',
  '-1',
  '0',
  '1.0',
  '1e3',
  '18446744073709551616',
  '-0',
  '"1"',
  '""',
  '"\\u00e9"',
  '"é\u0000"'.replace('\0', '\\u0000'),
  `"${'x'.repeat(10_000)}"`,
])('an id stays as it was written: %.40s', (id) => {
  const text = `{"jsonrpc":"2.0","id":${id},"method":"ping"}`
  expect(read(text).messages[0]).toMatchObject({ kind: 'request', id, method: 'ping' })
  expect(findRequestId(Buffer.from(text))).toBe(id)
  expect(renderRpcError(id, -32602, 'no').toString()).toBe(`{"jsonrpc":"2.0","id":${id},"error":{"code":-32602,"message":"no"}}`)
})

test('keys of prototypes are members like any other', () => {
  const text = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"__proto__":{"name":"rm_all"},"constructor":1}}'
  const [message] = read(text).messages
  expect(message?.params['name']).toBeUndefined()
  expect(Object.keys(message?.params ?? {})).toEqual(['__proto__', 'constructor'])
})

test('requests, notifications and answers are told apart, and keep their bytes', () => {
  expect(read('{"jsonrpc":"2.0","method":"notifications/initialized"}').messages).toMatchObject([
    { kind: 'notification', id: undefined, params: {} },
  ])
  expect(read('{"jsonrpc":"2.0","id":"a","result":{}}').messages).toMatchObject([{ kind: 'response', id: '"a"', method: '' }])
  const spaced = ' { "jsonrpc" : "2.0",\r\n "id":1, "method":"ping", "params":{"_meta":{"progressToken":"t"}} } '
  const [message] = read(spaced).messages
  expect(message).toMatchObject({ kind: 'request', progressToken: '"t"' })
  expect(message?.bytes.toString()).toBe(spaced)
  const batch = read('[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"notifications/initialized"}]')
  expect(batch.batch).toBe(true)
  expect(batch.messages.map(({ kind }) => kind)).toEqual(['request', 'notification'])
})

test.each(['1.0', '1e2', '12345678901234567890', '-0', '7', '"t"', '"\\u0074"', '""', 'null', '{"a":1.0}', '[ 1.0 ]'])(
  'a progress token stays as it was written: %s',
  (token) => {
    const text = `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":{"progressToken":1},"_meta":{"a":"b","progressToken":${token}}}}`
    for (const written of [text, ` ${text}`, text.replace('progressToken":' + token, 'progress\\u0054oken": ' + token)]) {
      expect(read(written).messages[0]?.progressToken).toBe(token)
      expect(read(`[${written}]`).messages[0]?.progressToken).toBe(token)
    }
  },
)

test.each([
  '',
  '"_meta":{}',
  '"_meta":[{"progressToken":1}]',
  '"_meta":"progressToken"',
  '"progressToken":1',
  '"_meta":{"a":{"progressToken":1.0}}',
])('no progress token in params of %j', (params) =>
  expect(read(`{"jsonrpc":"2.0","id":1,"method":"ping","params":{${params}}}`).messages[0]?.progressToken).toBeUndefined(),
)

test.each(['"\\ud800":1', '"h":{"\\"":1}', '"h":[{"\\n" :1}]', '"\\\\":1,"\\u001f":2'])(
  'a key of one character that has to be escaped is refused: %s',
  (keys) => {
    const text = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{${keys}}}}`
    for (const written of [text, ` ${text}`])
      expect(() => read(written)).toThrow('a key that is one control character, quote or half of a surrogate pair cannot be read')
  },
)

test.each(['"\\u005c"', '"\\\\"', '"a"', '"\\u0061b"', '"é"', '"a\\"b"'])('a key that is read alike by everybody passes: %s', (key) => {
  const text = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\\n","arguments":{"x":"\\u0061",${key}:"\\""}}}`
  for (const written of [text, ` ${text}`]) {
    expect(read(written).messages[0]?.params['arguments']).toEqual({ x: 'a', [String(JSON.parse(key))]: '"' })
  }
})

test('nothing that could not be echoed is taken for an id', () => {
  for (const text of ['', '[]', '{"id":1}', '{"id":null,"method":"x"}', '{"id":{},"method":"x"}', '{"id":1,"id":2,"method":"x"}']) {
    expect(findRequestId(Buffer.from(text))).toBeUndefined()
  }
})

test('a key of one character that need not be escaped is read as what it is', () => {
  const text = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":[{"a":1,"\\\\":2},{"a":1,"\\u00e9":2}]}}'
  expect(read(text).messages[0]?.params['arguments']).toEqual([
    { a: 1, '\\': 2 },
    { a: 1, é: 2 },
  ])
})
