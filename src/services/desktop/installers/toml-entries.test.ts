import { expect, test } from 'vitest'
import { findTomlEntry, setTomlEntries } from './toml-entries.ts'

const ENTRY = { command: '/opt/tsh', args: ['mcp', 'connect', 'demo'], env: {}, required: true }
const set = (text: string, name = 'demo', entry: Record<string, unknown> = ENTRY): string =>
  setTomlEntries(text, 'mcp_servers', { [name]: entry })

test.each([
  ['a = ', '1:5 expected a value'],
  ['a = 1 b = 2', '1:6 unexpected text'],
  ['[a', '1:3 expected ]'],
  ['a = "x', '1:5 expected a value'],
  ['a = """x', '1:7 unexpected text'],
  ['a = [1, 2', 'expected a comma or ]'],
  ['a = "\\q"', 'unknown escape'],
  ['a = {b = 1,}', 'expected a key'],
  [`a = ${'['.repeat(60)}`, 'nested deeper'],
  ['mcp_servers = {}', '1:1 "mcp_servers" is written in a way'],
  ['mcp_servers.demo.command = "x"', '1:1 "mcp_servers" is written in a way'],
  ['[[mcp_servers]]', '1:1 "mcp_servers" is written in a way'],
  ['# c\n[mcp_servers]\ndemo = {command = "x"}', '3:1 the entry "demo" is written in a way'],
  ['[mcp_servers]\ndemo.command = "x"', '2:1 the entry "demo"'],
  ['[[mcp_servers.demo]]', '1:1 the entry "demo"'],
  ['[mcp_servers.demo]\nenv.A = "1"', '2:1 the entry "demo"'],
  ['[mcp_servers.demo]\nurl = "https://x"', '2:1 the entry "demo" is one with a url'],
  ['[mcp_servers.demo]\n[mcp_servers.demo.env]\nA = "1"', '2:1 the environment of "demo"'],
  ['[mcp_servers.demo]\n[mcp_servers."demo"]', '2:1 [mcp_servers.demo] stands here twice'],
])('%j is refused', (text, message) => {
  expect(() => set(text)).toThrow(message)
})

test('a new file, a file without an end of line, and one with many things keep all that they have', () => {
  const table = '[mcp_servers.demo]\ncommand = "/opt/tsh"\nargs = ["mcp", "connect", "demo"]\nenv = {}\nrequired = true\n'
  expect(set('')).toBe(table)
  expect(set('model = "x"')).toBe(`model = "x"\n\n${table}`)
  const busy = `# Codex
model = 'o3' # mine
when = 1979-05-27 07:32:00Z
notes = """
[mcp_servers.demo]
command = "not this"
"""
raw = '''
[[mcp_servers]]'''
list = [ # of
  1, 'two', [3.5, -inf], # last
]
"quoted key".'and literal' = { a = 1, "b" = [true] }

[mcp_servers.other]
command = "npx"
[mcp_servers.other.tools.search]
approval_mode = "approve"
[[hooks]]
x = 0xff
`
  expect(set(busy)).toBe(`${busy}\n${table}`)
  expect(findTomlEntry(busy, 'mcp_servers', 'demo')).toBeUndefined()
})

test('of an entry that is there our values alone change, where they stand', () => {
  const before = `[mcp_servers.demo] # mine
startup_timeout_sec = 30
args = [
  "old", # why
] # kept
required = false

[mcp_servers.demo.tools.echo]
approval_mode = "approve"
`
  expect(set(before)).toBe(`[mcp_servers.demo] # mine
command = "/opt/tsh"
env = {}
startup_timeout_sec = 30
args = ["mcp", "connect", "demo"] # kept
required = false

[mcp_servers.demo.tools.echo]
approval_mode = "approve"
`)
  expect(set(set(before))).toBe(set(before))
  expect(set('[mcp_servers.demo]')).toContain('[mcp_servers.demo]\ncommand = "/opt/tsh"\n')
})

test('an environment with a table of its own is left alone where it is the same', () => {
  const entry = { ...ENTRY, env: { HOME: '/x' } }
  const text = '[mcp_servers.demo.env]\nHOME = \'/x\'\n\n[mcp_servers.demo]\ncommand = "old"\nargs = []\n'
  expect(set(text, 'demo', entry)).toBe(text.replace('"old"', '"/opt/tsh"').replace('[]', '["mcp", "connect", "demo"]'))
})

test('names and values of any characters come back as they were', () => {
  const entry = { command: 'C:\\Program Files\\tsh.exe', args: ['"', '\n', '\u007f', '😀', "'"], env: { 'A B': 'ü"\\' } }
  const text = set('', 'a.b "c"\n', entry)
  expect(text).toContain('[mcp_servers."a.b \\"c\\"\\n"]')
  expect(text).not.toContain('\u007f')
  expect(findTomlEntry(text, 'mcp_servers', 'a.b "c"\n')).toEqual(entry)
})

test('line ends of Windows stay', () => {
  const text = set('a = 1\r\n')
  expect(text.startsWith('a = 1\r\n\r\n[mcp_servers.demo]\r\ncommand = ')).toBe(true)
  expect(text.replaceAll('\r\n', '')).not.toContain('\n')
})
