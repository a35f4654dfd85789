import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createLineReader } from './lines.ts'
import type { LineReader } from './lines.ts'

function pushText(reader: LineReader, text: string): string[] {
  return reader.push(Buffer.from(text)).map(String)
}

test('a line over the limit is refused once, then everything is dropped', () => {
  const reader = createLineReader({ maxLineBytes: 4 })
  expect(pushText(reader, '1234\n12')).toEqual(['1234'])
  expect(() => pushText(reader, '345\nok\n')).toThrow('a line is larger than the limit of 4 bytes')
  expect(pushText(reader, 'ok\nok\n')).toEqual([])
  expect(reader.end()).toBeUndefined()
})

test('a line without end is refused as soon as it is over the limit', () => {
  const reader = createLineReader({ maxLineBytes: 4 })
  expect(pushText(reader, '123')).toEqual([])
  expect(() => pushText(reader, '456')).toThrow(expect.objectContaining({ code: 'resource_exhausted', details: { max_bytes: 4 } }))
  expect(() => createLineReader({ maxLineBytes: 4 }).push(Buffer.from('12345\n'))).toThrow('4 bytes')
})

test('the newline does not count, a carriage return does', () => {
  const reader = createLineReader({ maxLineBytes: 4 })
  expect(pushText(reader, '1234\n123\r')).toEqual(['1234'])
  expect(pushText(reader, '\n1234')).toEqual(['123'])
  expect(() => pushText(reader, '\r\n')).toThrow('4 bytes')
})

test('line ends are dropped and empty lines left out', () => {
  const reader = createLineReader()
  expect(pushText(reader, '\n{"a":1}\r\n\r\n\n b\rc \n')).toEqual(['{"a":1}', ' b\rc '])
  expect(reader.end()).toBeUndefined()
})

test('the unfinished last line comes at the end, once', () => {
  const reader = createLineReader()
  expect(pushText(reader, 'a\nb')).toEqual(['a'])
  expect(pushText(reader, 'c\r')).toEqual([])
  expect(String(reader.end())).toBe('bc')
  expect(reader.end()).toBeUndefined()
})

test('chunk borders do not matter', () => {
  const text = fc.array(fc.constantFrom('a', 'é', '\r', '\n', '\r\n', '{"x":"y"}'), { maxLength: 60 }).map((parts) => parts.join(''))
  fc.assert(
    fc.property(text, fc.array(fc.nat(20)), (whole, sizes) => {
      const reader = createLineReader()
      const bytes = Buffer.from(whole)
      const lines: string[] = []
      let at = 0
      for (const size of sizes) {
        lines.push(...reader.push(bytes.subarray(at, at + size)).map(String))
        at += size
      }
      lines.push(...reader.push(bytes.subarray(at)).map(String))
      const last = reader.end()
      if (last !== undefined) lines.push(String(last))
      expect(lines).toEqual(
        whole
          .split('\n')
          .map((line) => line.replace(/\r$/, ''))
          .filter((line) => line !== ''),
      )
    }),
  )
})

test('a megabyte in single bytes', () => {
  const reader = createLineReader()
  const byte = Buffer.from('x')
  for (let i = 0; i < 1_000_000; i++) reader.push(byte)
  expect(reader.push(Buffer.from('\n'))[0]?.length).toBe(1_000_000)
})
