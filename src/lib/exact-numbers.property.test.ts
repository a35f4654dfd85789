import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AppError } from './errors.ts'
import { parseExact, renderExact } from './json-scan.ts'

const number = fc.oneof(
  fc.stringMatching(/^-?(0|[1-9]\d{0,24})(\.\d{1,20})?([eE][+-]?\d{1,3})?$/),
  fc.constantFrom(
    '-0',
    '0',
    '1.0',
    '1e3',
    '1E+2',
    '0.10',
    '1e999',
    '-1e999',
    '5e-324',
    '1e21',
    '1e+21',
    '123456789012345',
    '9007199254740993',
  ),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
)
const string = fc.oneof(
  fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => JSON.stringify(String.fromCharCode(...units))),
  fc.string().map((text) => JSON.stringify(text)),
  fc.constantFrom('"1.0"', '"\\"1.0"', '"\\\\"', '"\\\\\\",-0,"', '"[-0,0]"', '"-0"', '""', '"\\ud800"'),
)
/** V8 may take a key of one escaped character for a backslash: https://github.com/nodejs/node/issues/63785. */
const isReadAlike = (key: string) => !/^"\\(u....|.)"$/.test(key)
/** No integers: JavaScript puts those first. */
const ownKey = fc.oneof(
  fc.constantFrom('"__proto__"', '"a"', '"constructor"', '"toString"', '"1.0"', '"length"', '""'),
  string.filter((key) => isReadAlike(key) && !/^"\d+"$/.test(key)),
)
const anyKey = fc.oneof(ownKey, fc.constantFrom('"0"', '"1"', '"\\u0061b"', '"__\\u0070roto__"'))
const look = fc.tuple(fc.constantFrom('-0', '0', '1', '-0.0'), number).map((pair) => `[${pair.join()}]`)

function texts(member: fc.Arbitrary<string>, isUnique: boolean) {
  const selector = (text: string) => (isUnique ? /^[^:]*/.exec(text)?.[0] : undefined)
  return fc.letrec<{ value: string; member: string }>((tie) => ({
    member: fc.tuple(member, tie('value')).map((pair) => pair.join(':')),
    value: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      number,
      string,
      fc.constantFrom('true', 'false', 'null'),
      look,
      fc.array(tie('value'), { maxLength: 4 }).map((items) => `[${items.join()}]`),
      (isUnique ? fc.uniqueArray(tie('member'), { maxLength: 4, selector }) : fc.array(tie('member'), { maxLength: 4 })).map(
        (items) => `{${items.join()}}`,
      ),
    ),
  })).value
}

/** White space around everything that is no string, where JSON lets it stand. */
function spaced(text: string): string {
  return text.replaceAll(/"(?:[^"\\]|\\.)*"|[{}[\]:,]/g, (token) => `\n ${token}\t`)
}

/** What a reader that is asked about every value of the document keeps of its numbers. */
function parseSlowly(text: string): unknown {
  return JSON.parse(text, (_key, value, { source }) =>
    typeof value === 'number' && source !== undefined && String(value) !== source ? JSON.rawJSON(source) : value,
  )
}

declare global {
  interface JSON {
    parse(text: string, reviver: (key: string, value: unknown, context: { source?: string }) => unknown): unknown
  }
}

function attempt(parse: (text: string) => unknown, text: string): string {
  try {
    return JSON.stringify(parse(text))
  } catch (thrown) {
    if (thrown instanceof AppError) return String(thrown.details?.['rpc'])
    if (thrown instanceof SyntaxError) return '-32700'
    throw thrown
  }
}

describe('exact numbers', () => {
  test('a document comes back to the letter, without its white space', () => {
    fc.assert(
      fc.property(texts(ownKey, true), (text) => {
        expect(renderExact(parseExact(text))).toBe(text)
        expect(renderExact(parseExact(spaced(text)))).toBe(text)
      }),
      { numRuns: 2000 },
    )
  })

  test('the value is the same as when every number is looked at, with keys twice, escaped and out of order too', () => {
    fc.assert(
      fc.property(texts(anyKey, false), (text) => {
        expect(isDeepStrictEqual(parseExact(text), parseSlowly(text))).toBe(true)
        expect(renderExact(parseExact(text))).toBe(JSON.stringify(parseSlowly(text)))
      }),
      { numRuns: 3000 },
    )
  })

  test('what is not JSON stays so', () => {
    const characters = fc.constantFrom(...'{}[]",:\\ue+-.0199tfn \nA'.split(''))
    let refused = 0
    fc.assert(
      fc.property(
        texts(anyKey, false),
        fc.array(fc.tuple(fc.nat(), characters, fc.boolean()), { minLength: 1, maxLength: 3 }),
        (text, changes) => {
          const changed = changes.reduce((before, [place, char, isAdded]) => {
            const at = place % (before.length + 1)
            return before.slice(0, at) + char + before.slice(isAdded ? at : at + 1)
          }, text)
          fc.pre(!/"\\(u....|.)"\s*:/.test(changed))
          const expected = attempt(parseSlowly, changed)
          if (expected === '-32700') refused++
          expect(attempt(parseExact, changed)).toBe(expected)
        },
      ),
      { numRuns: 3000 },
    )
    expect(refused).toBeGreaterThan(300)
  })
})
