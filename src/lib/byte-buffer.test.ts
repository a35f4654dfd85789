import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createByteBuffer } from './byte-buffer.ts'

test('what is too much is refused, and all of it forgotten', () => {
  for (const how of ['append', 'adopt'] as const) {
    const buffer = createByteBuffer(100_000, 'a line')
    buffer.adopt(Buffer.alloc(60_000, 1))
    expect(() => buffer[how](Buffer.alloc(40_001))).toThrow('a line is larger than the limit of 100000 bytes')
    expect(buffer.length).toBe(0)
    buffer[how](Buffer.alloc(100_000, 2))
    expect(buffer.take()).toEqual(Buffer.alloc(100_000, 2))
  }
})

test('pieces come out joined, whatever becomes of those that were appended', () => {
  const pieces = fc.array(fc.tuple(fc.constantFrom('append', 'adopt'), fc.integer({ min: 0, max: 40_000 }), fc.boolean()), {
    maxLength: 30,
  })
  fc.assert(
    fc.property(pieces, (list) => {
      const buffer = createByteBuffer(2_000_000, 'a line')
      let expected: Buffer[] = []
      list.forEach(([how, size, isTaken], at) => {
        const piece = Buffer.alloc(size, at + 1)
        expected.push(Buffer.from(piece))
        if (how === 'append') {
          buffer.append(piece)
          piece.fill(0)
        } else buffer.adopt(piece)
        if (!isTaken) return
        expect(buffer.take().equals(Buffer.concat(expected))).toBe(true)
        expected = []
      })
      const all = Buffer.concat(expected)
      expect(buffer.length).toBe(all.length)
      expect(buffer.take().equals(all)).toBe(true)
    }),
  )
})
