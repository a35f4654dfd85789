import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseExact, renderExact } from './json-scan.ts'
import { hasUnreliableKey, withPlainKeys } from './message-names.ts'

/** JSON text of an object in which any character of any string may be escaped, as some programs write it. */
const escape = (text: string, style: number): string =>
  JSON.stringify(text)
    .slice(1, -1)
    .replaceAll(/[^\\"]/g, (char, at: number) => {
      const before = JSON.stringify(text).slice(1, -1)
      const isPart = /\\(?:u[\da-f]{0,3})?$/i.test(before.slice(Math.max(0, at - 5), at))
      return isPart || (style >> (at % 8)) % 2 === 0 ? char : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
    })

const key = fc.oneof(
  fc.string({ maxLength: 2 }),
  fc.string({ unit: 'binary', maxLength: 1 }),
  fc.constantFrom('\n', '"', '/', '\\', 'é', '中', 'a'),
)
const written = fc.array(fc.tuple(key, fc.nat(255), fc.integer()), { maxLength: 12 })

test('however keys are escaped they are read as what they are, or not at all', () => {
  let read = 0
  fc.assert(
    fc.property(fc.array(written, { maxLength: 6 }), (objects) => {
      const text = `[${objects.map((members) => `{${members.map(([name, style, value]) => `"${escape(name, style)}":${value}`).join(',')}}`).join(',')}]`
      const expected = objects.map((members) => Object.entries(Object.fromEntries(members.map(([name, , value]) => [name, value]))))
      const plain = withPlainKeys(text)
      if (plain === undefined) {
        expect(() => parseExact(text)).toThrow('cannot be read')
        return
      }
      read += 1
      expect(hasUnreliableKey(plain)).toBe(false)
      const parsed: unknown = parseExact(text)
      if (!Array.isArray(parsed)) throw new Error('no list')
      expect(parsed.map((one: object) => Object.entries(one))).toEqual(expected)
      expect(JSON.parse(renderExact(parsed))).toEqual(JSON.parse(plain))
    }),
    { numRuns: 1000 },
  )
  expect(read).toBeGreaterThan(200)
})

test.each([
  ['{"\\u00e9":1}', '{"é":1}'],
  ['{"\\u0061" :1,"\\/":"\\u0061"}', '{"a" :1,"/":"\\u0061"}'],
  ['{"\\u005c":1,"\\\\":2,"a\\n":3}', '{"\\u005c":1,"\\\\":2,"a\\n":3}'],
  ['{"\\"\\"":1,"a\\"\\n" :2,"\\"\\u0041":3}', '{"\\"\\"":1,"a\\"\\n" :2,"\\"\\u0041":3}'],
  ['{"\\n":1}', undefined],
  ['{"\\u0022":1}', undefined],
  ['{"\\"":1}', undefined],
  ['{"\\ud800":1}', undefined],
  ['{"\\u001f":1}', undefined],
])('the keys of %s are written %s', (text, plain) => {
  expect(withPlainKeys(text)).toBe(plain)
})
