import { expect, test } from 'vitest'
import { renderClientConfig } from './client-config.ts'
import { CONFIG_FORMATS, findTarget, FORMATS, readEntry } from './clients.ts'

const AT = { platform: 'linux' as const, home: '/home/a', cwd: '/work', env: {}, exists: () => false }
const ENTRY = { command: '/opt/tsh', args: ['mcp', 'connect', 'gw'], env: { A: '1' } }

test('a client that is not known is refused, with the nearest', () => {
  expect(() => findTarget('codexx', undefined, AT)).toThrow('"codexx" is not a client known here (did you mean "codex"?): write claude, ')
})

test.each([
  ['codex', '/home/a/.codex/config.toml'],
  ['gemini', '/home/a/.gemini/settings.json'],
  ['qwen', '/home/a/.qwen/settings.json'],
  ['copilot', '/home/a/.copilot/mcp-config.json'],
  ['cline', '/home/a/.cline/data/settings/cline_mcp_settings.json'],
  ['opencode', '/home/a/.config/opencode/opencode.json'],
  ['continue', '/home/a/.continue/config.yaml'],
  ['claude-code', '/home/a/.claude.json'],
  ['cursor', '/home/a/.cursor/mcp.json'],
])('%s has its file, and the path tells whose it is', (client, path) => {
  expect(findTarget(client, undefined, AT)).toEqual({ path, format: client })
  expect(findTarget(path, undefined, AT)).toEqual({ path, format: client })
})

test('variables of clients move their files, and opencode has one of two', () => {
  const env = { CODEX_HOME: '/c', COPILOT_HOME: '/p', CLINE_DIR: '/l', XDG_CONFIG_HOME: '/x' }
  const paths = ['codex', 'copilot', 'cline', 'opencode'].map((client) => findTarget(client, undefined, { ...AT, env }).path)
  expect(paths).toEqual(['/c/config.toml', '/p/mcp-config.json', '/l/data/settings/cline_mcp_settings.json', '/x/opencode/opencode.json'])
  const exists = (path: string): boolean => path.endsWith('.jsonc')
  expect(findTarget('opencode', undefined, { ...AT, exists })).toEqual({
    path: '/home/a/.config/opencode/opencode.jsonc',
    format: 'opencode',
  })
  const editor = '/home/a/.config/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json'
  expect(findTarget(editor, undefined, AT).format).toBe('claude')
  expect(findTarget('copilot', undefined, { ...AT, platform: 'win32', home: 'C:\\Users\\a' }).path).toBe(
    'C:\\Users\\a\\.copilot\\mcp-config.json',
  )
})

test('each notation is what its client reads', () => {
  const samples = Object.fromEntries(
    CONFIG_FORMATS.map((format) => [format, renderClientConfig('', FORMATS[format], { gw: FORMATS[format].render(ENTRY) }, 'compact')]),
  )
  const args = '"args":["mcp","connect","gw"],"env":{"A":"1"}'
  expect(samples).toMatchObject({
    gemini: `{"mcpServers":{"gw":{"command":"/opt/tsh",${args}}}}\n`,
    qwen: `{"mcpServers":{"gw":{"command":"/opt/tsh",${args}}}}\n`,
    copilot: `{"mcpServers":{"gw":{"type":"stdio","command":"/opt/tsh",${args},"tools":["*"]}}}\n`,
    cline: `{"mcpServers":{"gw":{"transport":{"type":"stdio","command":"/opt/tsh",${args}}}}}\n`,
    opencode: `{"mcp":{"gw":{"type":"local","command":["/opt/tsh","mcp","connect","gw"],"environment":{"A":"1"},"enabled":true}}}\n`,
    codex: '[mcp_servers.gw]\ncommand = "/opt/tsh"\nargs = ["mcp", "connect", "gw"]\nenv = { A = "1" }\nrequired = true\n',
    continue:
      'name: Local Config\nversion: 1.0.0\nschema: v1\nmcpServers:\n  - name: "gw"\n    command: "/opt/tsh"\n    args: ["mcp","connect","gw"]\n    env: {"A":"1"}\n',
  })
})

test('what was written is read again, whichever way', () => {
  for (const format of CONFIG_FORMATS) expect(readEntry(FORMATS[format].render(ENTRY))).toEqual({ args: ENTRY.args, env: ENTRY.env })
  expect(readEntry('nonsense')).toEqual({ args: [], env: {} })
})
