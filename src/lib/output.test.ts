import { expect, it } from 'vitest'
import { parseYamlDocuments } from './yaml.ts'
import { renderOutput, renderYamlDocuments, sanitizeTerminal } from './output.ts'

const HOSTILE = 'a\u001b[31m\u009b2J\u202eb\r\u0007'

it('lets nothing through that drives a terminal', () => {
  const controls = /(?!\n)[\p{Cc}\u202e]/u
  expect(sanitizeTerminal(`${HOSTILE}\tx\ny`)).toBe('a[31m2Jb\tx\ny')
  expect(renderOutput('text', HOSTILE, (text) => text)).toBe('a[31m2Jb\n')
  for (const format of ['json', 'yaml'] as const) {
    const text = renderOutput(format, { [HOSTILE]: [HOSTILE] }, () => '')
    expect(text).not.toMatch(controls)
    expect(parseYamlDocuments(text, 'f')[0]?.value).toEqual({ [HOSTILE]: [HOSTILE] })
  }
})

it('renders JSON with two spaces', () => {
  expect(renderOutput('json', { a: [1] }, () => '')).toBe('{\n  "a": [\n    1\n  ]\n}\n')
  expect(renderOutput('json', [], () => '')).toBe('[]\n')
  expect(renderOutput('json', undefined, () => '')).toBe('null\n')
})

it('renders YAML that older readers understand alike, without aliases or folded lines', () => {
  const shared = { list: ['x'] }
  expect(
    renderOutput('yaml', { a: 'yes', b: '012', c: shared, d: shared, long: 'word '.repeat(40).trim(), none: undefined }, () => ''),
  ).toBe(`a: "yes"\nb: "012"\nc:\n  list:\n    - x\nd:\n  list:\n    - x\nlong: ${'word '.repeat(40).trim()}\n`)
})

it('separates YAML documents', () => {
  expect(renderYamlDocuments([{ a: 1 }, { b: 2 }])).toBe('a: 1\n---\nb: 2\n')
  expect(renderYamlDocuments([])).toBe('')
})

it('ends text with one newline', () => {
  expect(renderOutput('text', 1, () => 'one')).toBe('one\n')
  expect(renderOutput('text', 1, () => 'one\n')).toBe('one\n')
  expect(renderOutput('text', 1, () => '')).toBe('')
})
