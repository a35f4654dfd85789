import { expect, test } from 'vitest'
import { findYamlEntry, setYamlEntries } from './yaml-entries.ts'

const ENTRY = { command: '/opt/tsh', args: ['mcp', 'connect'], env: {} }
const set = (text: string, name = 'demo'): string => setYamlEntries(text, 'mcpServers', { [name]: ENTRY }, 'name: Local\n')
const item = (indent = '  ', name = 'demo') =>
  [`- name: "${name}"`, '  command: "/opt/tsh"', '  args: ["mcp","connect"]', '  env: {}', '']
    .join(`\n${indent}`)
    .replace(/^/, indent)
    .trimEnd() + '\n'

test.each([
  ['a: [', /^\d+:\d+ this is not YAML/],
  ['- a', 'one document'],
  ['{a: 1}', 'one document'],
  ['a: 1\n---\nb: 2\n', 'one document'],
  ['a: 1\n...\n', 'is written in a way that cannot be changed here'],
  ['mcpServers: [{name: x}]', '1:1 "mcpServers" is written'],
  ['a: 1\nmcpServers: {}', '2:1 "mcpServers" is written'],
  ['mcpServers: []', 'is written'],
  ['mcpServers:\n  - {name: demo, command: x}\n', 'is written'],
  ['a: &x\n  - name: y\nmcpServers: *x\n', 'is written'],
])('%j is refused', (text, message) => {
  expect(() => set(text)).toThrow(message)
})

test('a new file has what a file needs, and one without servers keeps all that it has', () => {
  expect(set('')).toBe(`name: Local\nmcpServers:\n${item()}`)
  const before = '# mine\nname: Mine   # kept\nmodels:\n- {name: x}\nprompt: |\n  text\n\n'
  expect(set(before)).toBe(`${before}mcpServers:\n${item()}`)
  expect(set('name: x')).toBe(`name: x\nmcpServers:\n${item()}`)
})

test('an item is added behind the last one, as the list is written', () => {
  const before = 'mcpServers:\n- name: a # first\n  args:\n    - x # last\n# of the file\nrules:\n  - y\n'
  expect(set(before)).toBe(before.replace('# of the file', `${item('')}# of the file`))
  expect(set('mcpServers:\n    - name: a')).toBe(`mcpServers:\n    - name: a\n${item('    ')}`)
})

test('an item of the name is replaced where it stands; a second time changes nothing', () => {
  const before =
    'mcpServers:\n  - name: demo # ours\n    command: old\n    args:\n      - a\n\n  - name: other\n    url: https://x\nend: 1\n'
  const after = set(before)
  expect(after).toBe(`mcpServers:\n${item()}\n  - name: other\n    url: https://x\nend: 1\n`)
  expect(set(after)).toBe(after)
  expect(findYamlEntry(after, 'mcpServers', 'demo')).toEqual({ name: 'demo', ...ENTRY })
  expect(findYamlEntry(after, 'mcpServers', 'nobody')).toBeUndefined()
})

test('line ends of Windows stay', () => {
  expect(set('a: 1\r\nmcpServers:\r\n  - name: b\r\n')).toBe(`a: 1\r\nmcpServers:\r\n  - name: b\r\n${item().replaceAll('\n', '\r\n')}`)
})
