import { mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { setEntries, updateClientConfig } from './client-config.ts'

const ENTRY = { command: '/opt/tsh', args: ['mcp', 'connect', 'demo'], env: {} }
let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'client-config-'))
})
afterEach(async () => await rm(folder, { recursive: true }))

test.each(['[]', '{"mcpServers":[]}', '{"a":}', '{"a":1} x', "{'a':1}", '['.repeat(300)])('%s is refused', (text) => {
  expect(() => setEntries(text, 'mcpServers', { demo: ENTRY }, 'auto')).toThrow(/^\d+:\d+ /)
})

test('a refused file is left as it is, without a backup', async () => {
  const path = join(folder, 'c.json')
  await writeFile(path, '{"mcpServers":[]}')
  await expect(updateClientConfig(path, 'mcpServers', { demo: ENTRY }, 'auto')).rejects.toThrow(
    `${path}:1:1 "mcpServers" must be an object`,
  )
  expect(await readFile(path, 'utf8')).toBe('{"mcpServers":[]}')
  await expect(stat(`${path}.bak`)).rejects.toThrow('ENOENT')
})

test('a new file has mode 0600 and no backup', async () => {
  const path = join(folder, 'sub', 'c.json')
  expect(await updateClientConfig(path, 'servers', { demo: { type: 'stdio' } }, 'auto')).toBe(true)
  expect(await readFile(path, 'utf8')).toBe('{\n  "servers": {\n    "demo": {\n      "type": "stdio"\n    }\n  }\n}\n')
  expect((await stat(path)).mode & 0o777).toBe(0o600)
})

test('a link that lies where the backup goes is not followed', async () => {
  const path = join(folder, 'c.json')
  const victim = join(folder, 'victim')
  await writeFile(victim, 'precious')
  await writeFile(path, '{}')
  await symlink(victim, `${path}.bak`)
  expect(await updateClientConfig(path, 'mcpServers', { demo: ENTRY }, 'auto')).toBe(true)
  expect(await readFile(victim, 'utf8')).toBe('precious')
  expect(await readFile(`${path}.bak`, 'utf8')).toBe('{}')
})

test('a second time changes nothing; a change keeps the former text and the mode', async () => {
  const path = join(folder, 'c.json')
  await writeFile(path, '{}', { mode: 0o600 })
  expect(await updateClientConfig(path, 'mcpServers', { demo: ENTRY }, 'auto')).toBe(true)
  expect(await updateClientConfig(path, 'mcpServers', { demo: ENTRY }, 'auto')).toBe(false)
  expect(await readFile(`${path}.bak`, 'utf8')).toBe('{}')
  expect((await stat(path)).mode & 0o777).toBe(0o600)
})

test('unknown keys, their order, numbers and characters stay byte for byte', () => {
  const before = '{\n\t"z": 1.0,\n\t"2": "<&>",\n\t"1": [1,2],\n\t"mcpServers": {\n\t\t"other": {"url": "x"}\n\t},\n\t"a": null\n}\n'
  expect(setEntries(before, 'mcpServers', { d: { command: 'c' } }, 'auto')).toBe(
    '{\n\t"z": 1.0,\n\t"2": "<&>",\n\t"1": [1,2],\n\t"mcpServers": {\n\t\t"other": {"url": "x"},\n\t\t"d": {\n\t\t\t"command": "c"\n\t\t}\n\t},\n\t"a": null\n}\n',
  )
})

test('an entry of the name is replaced where it stands', () => {
  expect(setEntries('{"mcpServers":{"d":{"command":"old"},"e":1}}', 'mcpServers', { d: { command: 'new' } }, 'auto')).toBe(
    '{"mcpServers":{"d":{"command":"new"},"e":1}}',
  )
})

test('comments and trailing commas stay', () => {
  const before = '// mine\n{\n  "servers": {\n    "a": {}, // first\n    /* last */ "b": {} // no comma\n  },\n}\n'
  expect(setEntries(before, 'servers', { d: {} }, 'auto')).toBe(
    '// mine\n{\n  "servers": {\n    "a": {}, // first\n    /* last */ "b": {}, // no comma\n    "d": {}\n  },\n}\n',
  )
})

test('a file of comments with pretty is refused, for they would be lost', () => {
  expect(() => setEntries('{\n// mine\n}', 'servers', { d: {} }, 'pretty')).toThrow('has comments or trailing commas')
})

test('compact files stay compact, pretty re-formats', () => {
  expect(setEntries('{"a":1}', 'mcpServers', { d: {} }, 'auto')).toBe('{"a":1,"mcpServers":{"d":{}}}')
  expect(setEntries('{"a":1}', 'mcpServers', { d: {} }, 'pretty')).toBe('{\n  "a": 1,\n  "mcpServers": {\n    "d": {}\n  }\n}\n')
  expect(setEntries('{}', 'mcpServers', { d: {} }, 'auto')).toBe('{\n  "mcpServers": {\n    "d": {}\n  }\n}')
})

test('line ends of Windows stay', () => {
  expect(setEntries('{\r\n  "a": 1\r\n}\r\n', 'servers', { d: {} }, 'auto')).toBe(
    '{\r\n  "a": 1,\r\n  "servers": {\r\n    "d": {}\r\n  }\r\n}\r\n',
  )
})
