import { mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { findEntry, setEntries, updateClientConfig } from './client-config.ts'

const SERVERS = { notation: 'json', container: 'mcpServers' } as const
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
  await expect(updateClientConfig(path, SERVERS, { demo: ENTRY }, 'auto')).rejects.toThrow(`${path}:1:1 "mcpServers" must be an object`)
  expect(await readFile(path, 'utf8')).toBe('{"mcpServers":[]}')
  await expect(stat(`${path}.bak`)).rejects.toThrow('ENOENT')
})

test('a new file has mode 0600 and no backup', async () => {
  const path = join(folder, 'sub', 'c.json')
  expect(await updateClientConfig(path, { notation: 'json', container: 'servers' }, { demo: { type: 'stdio' } }, 'auto')).toBe(true)
  expect(await readFile(path, 'utf8')).toBe('{\n  "servers": {\n    "demo": {\n      "type": "stdio"\n    }\n  }\n}\n')
  expect((await stat(path)).mode & 0o777).toBe(0o600)
})

test('a link that lies where the backup goes is not followed', async () => {
  const path = join(folder, 'c.json')
  const victim = join(folder, 'victim')
  await writeFile(victim, 'precious')
  await writeFile(path, '{}')
  await symlink(victim, `${path}.bak`)
  expect(await updateClientConfig(path, SERVERS, { demo: ENTRY }, 'auto')).toBe(true)
  expect(await readFile(victim, 'utf8')).toBe('precious')
  expect(await readFile(`${path}.bak`, 'utf8')).toBe('{}')
})

test('a second time changes nothing; a change keeps the former text and the mode', async () => {
  const path = join(folder, 'c.json')
  await writeFile(path, '{}', { mode: 0o600 })
  expect(await updateClientConfig(path, SERVERS, { demo: ENTRY }, 'auto')).toBe(true)
  expect(await updateClientConfig(path, SERVERS, { demo: ENTRY }, 'auto')).toBe(false)
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

test('opencode has its servers one level deeper where they are so already', () => {
  const entry = { type: 'local', command: ['c'] }
  expect(setEntries('{"mcp":{"servers":{"a":{}}}}', 'mcp', { d: entry }, 'auto')).toBe(
    '{"mcp":{"servers":{"a":{},"d":{"type":"local","command":["c"]}}}}',
  )
  // A server of that name.
  expect(setEntries('{"mcp":{"servers":{"type":"local"}}}', 'mcp', { d: entry }, 'auto')).toBe(
    '{"mcp":{"servers":{"type":"local"},"d":{"type":"local","command":["c"]}}}',
  )
  expect(setEntries('{"theme":"x"}', 'mcp', { d: entry }, 'auto')).toBe('{"theme":"x","mcp":{"d":{"type":"local","command":["c"]}}}')
})

test('a file keeps its link, its mode, its byte order mark and its former text', async () => {
  for (const [name, notation, container, before] of [
    ['config.json', 'json', 'mcpServers', '\ufeff{\r\n  "a": 1'],
    ['config.toml', 'toml', 'mcp_servers', '\ufeff# mine\r\nmodel = "m"\r\n'],
    ['config.yaml', 'yaml', 'mcpServers', '\ufeffname: Mine # mine\r\n'],
  ] as const) {
    const [path, link] = [join(folder, name), join(folder, `link-${name}`)]
    await writeFile(path, notation === 'json' ? `${before}\r\n}` : before, { mode: 0o640 })
    await symlink(path, link)
    expect(await updateClientConfig(link, { notation, container }, { demo: ENTRY }, 'auto')).toBe(true)
    const after = await readFile(path, 'utf8')
    expect(after.startsWith(before)).toBe(true)
    expect(after.slice(before.length).replaceAll('\r\n', '')).not.toContain('\n')
    expect((await stat(path)).mode & 0o777).toBe(0o640)
    expect((await readFile(`${path}.bak`, 'utf8')).startsWith(before)).toBe(true)
    expect(await findEntry(link, { notation, container }, 'demo')).toMatchObject(ENTRY)
    expect(await updateClientConfig(link, { notation, container }, { demo: ENTRY }, 'auto')).toBe(false)
  }
})
