import { expect, test } from 'vitest'
import { findParamText, findParamsText, replaceId, replaceParams, replaceWithin } from './splice.ts'

const text =
  '{ "jsonrpc":"2.0", "id":1.0, "params":{"arguments":{"name":"x","n":1e3}, "name" : "x", "ref":{"n":1.0,"name":"x"}},"method":"m"}'
const bytes = Buffer.from(text)

test('only the values of the members named change, wherever they stand', () => {
  expect(String(replaceParams(bytes, { name: '"größer"', arguments: '{}', absent: '1' }))).toBe(
    '{ "jsonrpc":"2.0", "id":1.0, "params":{"arguments":{}, "name" : "größer", "ref":{"n":1.0,"name":"x"}},"method":"m"}',
  )
  expect(replaceParams(bytes, { absent: '1' })).toBe(bytes)
  expect(String(replaceId(bytes, '"s-1"'))).toBe(text.replace('1.0', '"s-1"'))
})

test('a member within one changes without its numbers', () => {
  expect(String(replaceWithin(bytes, 'ref', (ref) => ({ ...ref, name: 'y' })))).toBe(
    text.replace('{"n":1.0,"name":"x"}', '{"n":1.0,"name":"y"}'),
  )
  expect(replaceWithin(bytes, 'name', () => ({}))).toBe(bytes)
})

test('the text of a member, and of a member of that', () => {
  expect(findParamText(bytes, 'arguments')).toBe('{"name":"x","n":1e3}')
  expect(findParamText(bytes, 'arguments', 'n')).toBe('1e3')
  expect(findParamText(bytes, 'arguments', 'none')).toBeUndefined()
  expect(findParamText(bytes, 'name', 'n')).toBeUndefined()
  expect(findParamsText(Buffer.from('{"method":"m"}'))).toBe('{}')
})
