import { expect, test } from 'vitest'
import { parseExact, renderExact } from './json-scan.ts'

const numbers = (count: number, text: string) => `[${`${text},`.repeat(count).slice(0, -1)}]`

test('more numbers than can be kept as they were written are refused; how many others there are does not matter', () => {
  const refusal = { code: 'invalid_argument', details: { rpc: -32600 }, message: expect.stringContaining('more than 100000 numbers') }
  expect(() => parseExact(numbers(100_001, '1.0'))).toThrow(expect.objectContaining(refusal))
  expect(() => parseExact(numbers(1_000_000, '-0'))).toThrow(expect.objectContaining(refusal))
  const most = numbers(100_000, '1.0')
  expect(renderExact(parseExact(most))).toBe(most)
  const others = `[${numbers(1_000_000, '1.5')},"${'1.0'.repeat(200_000)}",1.0]`
  expect(renderExact(parseExact(others))).toBe(others)
})

test('a number of very many digits is kept', () => {
  for (const text of [`[${'1'.repeat(4_000_000)}]`, `0.${'0'.repeat(1_000_000)}`, `1e${'9'.repeat(1_000_000)}`]) {
    expect(renderExact(parseExact(text))).toBe(text)
  }
})

test('a document too deep to be written again is refused then', () => {
  const depth = 200_000
  const deep = parseExact(`${'['.repeat(depth)}1.0${']'.repeat(depth)}`)
  expect(() => renderExact(deep)).toThrow(expect.objectContaining({ code: 'invalid_argument' }))
})

test.each(['1.0.0', '01.5', '-01', '1.5-', '--1.0', '1e', '1.', '-', '1.0 2.0', '[1.0', '["1.0]', '{1.0:1}', '{"a":1.0,}', '1.0"', '"\\'])(
  '%j is not JSON',
  (text) => expect(() => parseExact(text)).toThrow(expect.objectContaining({ details: { rpc: -32700 } })),
)
