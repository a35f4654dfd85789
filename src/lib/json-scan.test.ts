import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AppError } from './errors.ts'
import { isAccepted, scanOne } from './json-scan.fixture.ts'
import { oneLine, parseExact, renderExact, scanMessage, stringAt, textAt } from './json-scan.ts'
import type { ScanLimits, ScannedMessage } from './json-scan.ts'

const AMBIGUOUS = -32600
const NOT_JSON = -32700

function refusal(input: string | Uint8Array, limits?: ScanLimits): unknown {
  try {
    return scanMessage(Buffer.from(input), limits)
  } catch (error) {
    if (error instanceof AppError && error.code === 'invalid_argument') return error.details
    throw error
  }
}

describe('what is not JSON', () => {
  test.each([
    ['', 0],
    [' \n', 2],
    ['{', 1],
    ['{"a"', 4],
    ['{"a":', 5],
    ['{"a":1', 6],
    ['{"a":1,}', 7],
    ['{,}', 1],
    ['{a:1}', 1],
    ["{'a':1}", 1],
    ['[1,]', 3],
    ['[,1]', 1],
    ['[1 2]', 3],
    ['{"a":01}', 6],
    ['{"a":+1}', 5],
    ['{"a":.5}', 5],
    ['{"a":1.}', 7],
    ['{"a":1e}', 7],
    ['{"a":-}', 6],
    ['{"a":NaN}', 5],
    ['{"a":Infinity}', 5],
    ['{"a":nul}', 5],
    ['{"a":tru', 5],
    ['{"a":"\u0000"}', 6],
    ['{"a":"\n"}', 6],
    ['{"a":"\t"}', 6],
    ['{"a":"\\x41"}', 6],
    ['{"a":"\\u12g4"}', 6],
    ['{"a":"\\u12"}', 6],
    ['{"a":"', 5],
    ['{"a":"\\', 6],
    ['{} {}', 3],
    ['{}]', 2],
    ['{}\u00a0', 2],
    ['// no comments\n{}', 0],
    ['\ufeff{}', 0],
  ])('%j is refused at byte %i', (text, offset) => {
    expect(refusal(text)).toEqual({ rpc: NOT_JSON, offset })
  })

  test.each([
    [[0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d], 2],
    [[0x5b, 0x22, 0xc0, 0xaf, 0x22, 0x5d], 2],
    [[0x5b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x5d], 2],
    [[0x5b, 0x22, 0x61, 0xe2, 0x82], 3],
  ])('invalid UTF-8 %j is refused at byte %i', (bytes, offset) => {
    expect(refusal(Uint8Array.from(bytes))).toEqual({ rpc: NOT_JSON, offset })
  })
})

describe('what is ambiguous', () => {
  test.each([
    ['{"method":"a","method":"b"}', 14],
    ['{"method":"a","meth\\u006fd":"b"}', 14],
    ['{"params":{"arguments":{"a":{"x":1,"y":2,"x":3}}}}', 41],
    ['{"result":[{"":1,"":2}]}', 17],
    ['{"é":1,"\\u00e9":2}', 8],
    ['[{"a":1,"a":2}]', 8],
    ['{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9,"j":10,"a":11}', 62],
    ['{"a":{"b":1},"__proto__":1,"__proto__":2}', 27],
  ])('the duplicate key in %s is refused at byte %i', (text, offset) => {
    expect(refusal(text)).toEqual({ rpc: AMBIGUOUS, offset })
  })

  test.each([
    ['{"Method":"tools/call"}', 1],
    ['{"method":"a","METHOD":"b"}', 14],
    ['{"ID":1}', 1],
    ['{"\\u0049d":1}', 1],
    ['{"param\u017f":{}}', 1],
    ['{"JsonRpc":"2.0"}', 1],
    ['{"params":{"Name":"x"}}', 11],
    ['{"params":{"name":"x","n\\u0041me":"y"}}', 22],
    ['{"params":{"to\u212aen":1,"progressTo\u212aen":1}}', 23],
    ['{"params":{"request\u0131d":1}}', 11],
    ['{"params":{"requestid":1}}', 11],
    ['{"params":{"noti\ufb01cations":{}}}', 11],
    ['{"params":{"noti\ufb01cat\u0131ons":{}}}', 11],
    ['{"params":{"_META":{}}}', 11],
  ])('a case variant in %s', (text, offset) => {
    expect(refusal(text)).toEqual({ rpc: AMBIGUOUS, offset })
  })

  test.each(['{"params":{"arguments":{"Name":1,"name":2}}}', '{"result":{"ID":1}}', '{"params":{"Method":1}}', '{"Name":1}', '[{"ID":1}]'])(
    'variants elsewhere pass: %s',
    (text) => expect(isAccepted(Buffer.from(text))).toBe(true),
  )

  test.each(['1', '"x"', 'null', ' true '])('%s is no message', (text) => {
    expect(refusal(text)).toMatchObject({ rpc: AMBIGUOUS })
  })

  test('limits: depth, members of an object, messages of a batch', () => {
    expect(refusal('[[[1]]]', { maxDepth: 2 })).toEqual({ rpc: AMBIGUOUS, offset: 2 })
    expect(refusal('[[{}],[{}]]', { maxDepth: 3 })).toMatchObject({ kind: 'array' })
    expect(refusal('['.repeat(1_000_000), { maxDepth: 1_000_000 })).toEqual({ rpc: AMBIGUOUS, offset: 512 })
    expect(refusal('{"a":1,"b":2,"c":3}', { maxKeys: 2 })).toEqual({ rpc: AMBIGUOUS, offset: 13 })
    expect(refusal('[1,2,3]', { maxKeys: 2 })).toEqual({ rpc: AMBIGUOUS, offset: 5 })
    expect(refusal('{"a":[1,2,3]}', { maxKeys: 2 })).toMatchObject({ kind: 'object' })
  })

  test('an object of very many keys is judged in linear time', () => {
    const keys = Array.from({ length: 10_000 }, (_, i) => `"${i * 1024}":0`)
    expect(isAccepted(Buffer.from(`{${keys.join()}}`))).toBe(true)
    expect(refusal(`{${keys.join()},"0":0}`)).toMatchObject({ rpc: AMBIGUOUS })
    expect(refusal(`{${keys.slice(1).join()},"1024":0}`)).toMatchObject({ rpc: AMBIGUOUS })
  })
})

describe('what is found', () => {
  const call = '{ "jsonrpc":"2.0","id" : 1.0 ,"method":"tools\\/call","params":{"name":"a\\"b","arguments":{"x":[1]},"extra":null} , "x":0}'

  test('the parts of a call', () => {
    const bytes = Buffer.from(call)
    const scanned = scanOne(call)
    expect(scanned.id).toBe('1.0')
    expect(scanned.method).toBe('tools/call')
    expect(scanned.other).toBe(true)
    expect(scanned.paramsIsObject).toBe(true)
    expect([...scanned.members.keys()]).toEqual(['jsonrpc', 'id', 'method', 'params'])
    expect([...scanned.paramsMembers].map(([name, span]) => [name, textAt(bytes, span)])).toEqual([
      ['name', '"a\\"b"'],
      ['arguments', '{"x":[1]}'],
      ['extra', 'null'],
    ])
    expect(stringAt(bytes, scanned.paramsMembers.get('name') ?? { start: 0, end: 0 })).toBe('a"b')
    expect(stringAt(bytes, scanned.paramsMembers.get('arguments') ?? { start: 0, end: 0 })).toBeUndefined()
  })

  test('a method that is no string, params that are no object', () => {
    const scanned = scanOne('{"method":5,"params":[{"name":1}],"id":null}')
    expect(scanned.method).toBeUndefined()
    expect(scanned.members.has('method')).toBe(true)
    expect(scanned.paramsIsObject).toBe(false)
    expect(scanned.paramsMembers.size).toBe(0)
    expect(scanned.id).toBe('null')
    expect(scanOne('{"params":{}}')).toMatchObject({ paramsIsObject: true, other: false, id: undefined })
  })

  test('result and error', () => {
    expect([...scanOne('{"result":{"params":{"Name":1}},"id":"a"}').members.keys()]).toEqual(['result', 'id'])
    expect([...scanOne('{"error":{}}').members.keys()]).toEqual(['error'])
  })

  test('a batch, and a view into a larger buffer', () => {
    const backing = new TextEncoder().encode('xx[ {"id":1} , 2 ]yy')
    expect(scanMessage(backing.subarray(2, 18))).toEqual({
      kind: 'array',
      elements: [
        { start: 2, end: 10 },
        { start: 13, end: 14 },
      ],
    })
    expect(scanMessage(Buffer.from('[]'))).toEqual({ kind: 'array', elements: [] })
  })

  test('lone surrogate escapes pass and are kept', () => {
    expect(scanOne('{"id":"\\ud800","method":"\\udc00"}')).toMatchObject({ id: '"\\ud800"', method: '\udc00' })
    expect(isAccepted(Buffer.from('{"\\ud800":1,"\\ud801":2,"\\uFFFD":3}'))).toBe(true)
  })
})

describe('exact text', () => {
  test.each(['{"a":1.0,"b":[1e3,-0,12345678901234567890,0.1,1E+2],"c":"1.0"}', '[1,2.50]', '-0', '{"a":0.30000000000000004}', '7'])(
    '%s survives',
    (text) => expect(renderExact(parseExact(text))).toBe(text),
  )

  test('a __proto__ member stays a member', () => {
    for (const text of ['{"__proto__":{"x":1},"y":2}', '{"__proto__":{"x":1.0},"y":2}', '{"a":{"__proto__":1.50}}']) {
      expect(renderExact(parseExact(text))).toBe(text)
    }
    expect(Object.getPrototypeOf(parseExact('{"__proto__":{"x":1.0}}'))).toBe(Object.prototype)
  })

  test('values are plain where JavaScript prints them alike', () => {
    expect(parseExact('{"a":1.5,"b":"1.0","c":[100]}')).toEqual({ a: 1.5, b: '1.0', c: [100] })
    expect(parseExact('{"a":1,"b":[]}')).toEqual({ a: 1, b: [] })
  })

  test('what is not JSON is refused', () => {
    expect(() => parseExact('{"a":01}')).toThrow(AppError)
    expect(() => parseExact('[1.0,]')).toThrow('not valid JSON')
    expect(() => renderExact(undefined)).toThrow('no JSON form')
  })

  test('compact text with any numbers survives', () => {
    const number = fc.stringMatching(/^-?(0|[1-9]\d{0,24})(\.\d{1,20})?([eE][+-]?\d{1,3})?$/)
    fc.assert(
      fc.property(fc.array(number), (numbers) => {
        const text = `{"a":[${numbers.join()}]}`
        expect(renderExact(parseExact(text))).toBe(text)
      }),
    )
  })
})

describe('one line', () => {
  test('line ends become spaces; a message without them is returned itself', () => {
    expect(Buffer.from(oneLine(Buffer.from('{\r\n"a":\n1}\r'))).toString()).toBe('{  "a": 1} ')
    const bytes: Uint8Array = Buffer.from('{"a":"\\n"}')
    expect(oneLine(bytes)).toBe(bytes)
  })
})

test('a scan of what is accepted says which kind it is', () => {
  const kinds = ['{}', '[]'].map((text): ScannedMessage['kind'] => scanMessage(Buffer.from(text)).kind)
  expect(kinds).toEqual(['object', 'array'])
})
