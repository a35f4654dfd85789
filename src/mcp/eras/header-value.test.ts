import { expect, it } from 'vitest'
import { decodeHeaderValue, encodeHeaderValue } from './header-value.ts'

it.each([
  ['plain_Name-1', 'plain_Name-1'],
  ['two words\tand a tab', 'two words\tand a tab'],
  ['', '=?base64??='],
  [' padded', '=?base64?IHBhZGRlZA==?='],
  ['padded\t', '=?base64?cGFkZGVkCQ==?='],
  ['line\nend', '=?base64?bGluZQplbmQ=?='],
  ['Zürich', '=?base64?WsO8cmljaA==?='],
  ['=?base64?eA==?=', '=?base64?PT9iYXNlNjQ/ZUE9PT89?='],
])('%j goes into a header as %j and comes out again', (value, header) => {
  expect(encodeHeaderValue(value)).toBe(header)
  expect(decodeHeaderValue(header)).toBe(value)
})
