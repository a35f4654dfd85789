import { describe, expect, it } from 'vitest'
import { AppError } from './errors.ts'
import { parseYamlDocuments } from './yaml.ts'

describe('refused', () => {
  const cases: [name: string, text: string, message: string][] = [
    ['a syntax error', 'a: [1\nb: 2\n', 'f.yaml:2:1 Flow sequence in block collection must be sufficiently indented and end with a ]'],
    ['a duplicate key', 'a: 1\nb:\n  c: 1\n  c: 2\n', 'f.yaml:4:3 duplicate key "c"'],
    ['keys that become the same name', '1: a\n"1": b\n', 'f.yaml:2:1 duplicate key "1"'],
    ['a duplicate key in JSON', '{"a": 1,\n "a": 2}', 'f.yaml:2:2 duplicate key "a"'],
    ['a list as a key', '[a]: 1\n', 'f.yaml:1:1 a key must be a plain value, not a list, a map or an alias'],
    ['a tag of another schema', 'a: !!python/object x\n', 'f.yaml:1:4 Unresolved tag: tag:yaml.org,2002:python/object'],
    ['binary, which would not be plain data', 'a: !!binary aGk=\n', 'f.yaml:1:4 Unresolved tag: tag:yaml.org,2002:binary'],
    ['an unknown alias', 'a: *x\n', 'f.yaml:1:4 no anchor &x stands before this alias'],
    ['an alias of itself', 'a: &x\n  b: *x\n', 'f.yaml:2:6 alias *x contains itself'],
    ['an older version', '%YAML 1.1\n---\na: yes\n', 'f.yaml:1:1 only YAML 1.2 is understood: remove the %YAML line'],
  ]
  it.each(cases)('%s', (_name, text, message) => {
    expect(failure(text)).toMatchObject({ code: 'invalid_argument', message })
  })

  it('every fault of every document at once', () => {
    expect(failure('a: 1\na: 2\n---\nb: *x\n').message).toBe(
      'f.yaml:2:1 duplicate key "a"\nf.yaml:4:4 no anchor &x stands before this alias',
    )
    expect(failure('a: 1\na: 2\n').details).toEqual({ faults: [{ line: 2, column: 1, message: 'duplicate key "a"' }] })
  })

  it('aliases that multiply', () => {
    const bomb = [
      'a: &a [x,x,x,x,x,x,x,x,x]',
      ...[...'bcdef'].map((name, i) => `${name}: &${name} [${Array(9).fill(`*${'abcde'[i]}`).join(',')}]`),
    ].join('\n')
    expect(failure(bomb)).toMatchObject({ code: 'invalid_argument', message: 'f.yaml: its aliases multiply: write the values out' })
  })

  it.each([['['.repeat(20_000)], ['- '.repeat(10_000)], [`${'['.repeat(101)}${']'.repeat(101)}`], ['? '.repeat(5_000)]])(
    'nesting without end',
    (text) => {
      expect(failure(text).message).toMatch(/nested deeper than 100 levels|a key must be a plain value/)
    },
  )

  it('more than the limit', () => {
    expect(() => parseYamlDocuments('a: "ü"', 'f.yaml', { maxBytes: 6 })).toThrow(
      'f.yaml: has 7 bytes, more than the 6 accepted: split the file',
    )
  })

  it('thousands of faults, in a message of bounded size', () => {
    const error = failure(Array.from({ length: 5000 }, () => 'a: 1').join('\n'))
    expect(error.message.split('\n')).toHaveLength(51)
    expect(error.message).toContain('f.yaml: and 4949 more')
  })
})

describe('values', () => {
  it('skips empty documents and keeps the order of the others', () => {
    const values = parseYamlDocuments('---\n# nothing\n---\na: 1\n---\n---\n- b\n', 'f.yaml').map((document) => document.value)
    expect(values).toEqual([{ a: 1 }, ['b']])
    expect(parseYamlDocuments('', 'f.yaml')).toEqual([])
    expect(parseYamlDocuments('# only a comment', 'f.yaml')).toEqual([])
  })

  it('reads the YAML 1.2 core schema: yes and dates are strings, 012 is twelve', () => {
    expect(parseYamlDocuments('a: yes\nb: 2026-01-01\nc: 012\nd: null\ne: 1.5\n<<: x', 'f.yaml')[0]?.value).toEqual({
      a: 'yes',
      b: '2026-01-01',
      c: 12,
      d: null,
      e: 1.5,
      '<<': 'x',
    })
  })

  it('reads JSON, tabs and escapes included', () => {
    expect(parseYamlDocuments('{\n\t"a": ["\\ud83d\\ude00", 1e3, "\\/"],\n\t"b": null\n}', 'f.json')[0]?.value).toEqual({
      a: ['😀', 1000, '/'],
      b: null,
    })
  })

  it('keeps __proto__ an ordinary key', () => {
    const value = parseYamlDocuments('__proto__: {admin: true}', 'f.yaml')[0]?.value
    expect(Object.keys(value ?? {})).toEqual(['__proto__'])
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype)
  })

  it('follows harmless aliases', () => {
    expect(parseYamlDocuments('a: &x [1]\nb: *x', 'f.yaml')[0]?.value).toEqual({ a: [1], b: [1] })
  })

  it('takes tens of thousands of keys', () => {
    const text = Array.from({ length: 30_000 }, (_, i) => `k${i}: 1`).join('\n')
    expect(parseYamlDocuments(text, 'f.yaml')).toHaveLength(1)
  })
})

it('knows the position of values, keys and the nearest parent of what is missing', () => {
  const [, document] = parseYamlDocuments('a: 1\n---\nspec:\n  mcp:\n    args: x\n  list:\n    - one\n    - two: 2\n  none:\n', 'f.yaml')
  if (!document) throw new Error('two documents expected')
  expect(document.positionOf(['spec', 'mcp', 'args'])).toEqual({ line: 5, column: 11 })
  expect(document.positionOf(['spec', 'mcp', 'args'], 'key')).toEqual({ line: 5, column: 5 })
  expect(document.positionOf(['spec', 'list', 1, 'two'])).toEqual({ line: 8, column: 12 })
  expect(document.positionOf(['spec', 'mcp', 'command'])).toEqual({ line: 4, column: 3 })
  expect(document.positionOf(['spec', 'list', 7, 'x'])).toEqual({ line: 6, column: 3 })
  expect(document.positionOf([])).toEqual({ line: 3, column: 1 })
  expect(document.positionOf(['kind'])).toEqual({ line: 3, column: 1 })
})

function failure(text: string): AppError {
  try {
    parseYamlDocuments(text, 'f.yaml')
  } catch (error) {
    if (error instanceof AppError) return error
    throw error
  }
  throw new Error('was accepted')
}
