import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { WireAnswer } from '../../client/call.ts'
import { main } from './main.ts'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tsh-test-'))
})
afterEach(async () => await rm(folder, { recursive: true }))

test('without a sign-in: exit 3 and the command that helps', async () => {
  for (const argv of [['status'], ['mcp', 'ls'], ['mcp', 'call', 'a', 'b']]) {
    const { code, err } = await run(argv)
    expect([argv, code]).toEqual([argv, 3])
    expect(err).toContain('Not logged in.')
    expect(err).toContain('tsh login --proxy=')
  }
})

test('an identity file needs a proxy and leaves the home alone', async () => {
  expect((await run(['mcp', 'ls', '-i', 'x'])).err).toContain('--identity needs --proxy')
  expect((await run(['mcp', 'ls', '-i', join(folder, 'x'), '--proxy=localhost:1'])).err).toContain('there is no identity file at')
})

test('an unreachable proxy: exit 4', async () => {
  const { code, err } = await run(['login', '--proxy=127.0.0.1:1', '--user=a', '--auth=local'], { stdin: 'secret\n' })
  expect([code, err]).toEqual([4, 'ERROR: nothing listens on 127.0.0.1:1: check the address and that the proxy is running\n'])
})

test.each([
  [['mcp', 'config'], 'no selector specified'],
  [['mcp', 'config', 'a', '--all'], 'only one selector is allowed'],
  [['mcp', 'config', '--set=a', '--all'], 'only one selector is allowed'],
  [['mcp', 'config', 'a', '--as-one'], '--as-one is for --all'],
  [['mcp', 'config', '--set=a', '--as-one'], '--as-one is for --all'],
  [['mcp', 'config', 'a', '-H', 'nocolon'], 'malformed header'],
  [['mcp', 'connect', 'a', '-H', 'Authorization: x'], 'cannot be set'],
  [['mcp', 'call', 'a', 'b', '[1]'], 'must be a JSON object'],
  [['login', '--proxy=x', '--ttl=0'], '--ttl is a number of minutes'],
])('%j is wrong usage', async (argv, message) => {
  const { code, err } = await run(argv, { servers: [server('a', ['*'])], stdin: '' })
  expect(err).toContain(message)
  expect(code).toBe(2)
})

test('mcp ls: table, footnote, hidden labels', async () => {
  const { out } = await run(['mcp', 'ls'], { servers: [server('b', []), server('a', ['get_*', 'x'], ['y'])] })
  expect(out).toBe(
    `Name  Description  Type   Allowed Tools         Labels
----  -----------  -----  --------------------  -------
a     of a         stdio  [get_* x] except [y]  env=dev
b     of b         stdio  (none) [!]            env=dev

[!] Your roles allow no tool of this MCP server: ask an administrator for mcp.tools in one of them.
`,
  )
})

test('mcp ls: what does not work is marked, with the reason', async () => {
  const health = { state: 'failing', since: '2027-01-01T00:00:00.000Z', reason: 'exited (code 3): no\u001b[31m licence' }
  const servers = [
    {
      ...server('a', ['*']),
      health,
      agents: [
        { host_id: 'h1', hostname: 'rack\u001b[31m', state: 'failing' },
        { host_id: 'h2', hostname: '' },
      ],
    },
    { ...server('b', ['*']), health: { ...health, state: 'healthy' } },
  ]
  const short = await run(['mcp', 'ls'], { servers })
  expect(short.out).toContain('a [failing]  of a')
  expect(short.out).toContain('\nb            of b')
  expect(short.out).toMatch(/\n\n\[failing\] a, since 2027-01-01T00:00:00.000Z: exited \(code 3\): no \[31m licence\n$/)
  const verbose = await run(['mcp', 'ls', '-v'], { servers })
  expect(verbose.out).toMatch(/Allowed Tools +Health +Agents\n/)
  expect(verbose.out).toMatch(/ failing +rack \[31m \(failing\), h2\n/)
})

test('mcp ls: nothing is an empty list in JSON and a sentence on stderr in text', async () => {
  expect((await run(['mcp', 'ls', '--format=json'], { servers: [] })).out).toBe('[]\n')
  const text = await run(['mcp', 'ls'], { servers: [] })
  expect([text.out, text.code]).toEqual(['', 0])
  expect(text.err).toContain('There are no MCP servers you may use now')
})

test('mcp ls: filters by labels, words and query', async () => {
  const servers = [server('a', ['*']), server('b', ['*'])]
  const names = async (argv: string[]) =>
    JSON.parse((await run(['mcp', 'ls', '-f', 'json', ...argv], { servers })).out).map(
      (item: { metadata: { name: string } }) => item.metadata.name,
    )
  expect(await names(['env=dev'])).toEqual(['a', 'b'])
  expect(await names(['env=prod'])).toEqual([])
  expect(await names(['--search', 'OF b'])).toEqual(['b'])
  expect(await names(['--query', 'name == "a" && labels["env"] == "dev"'])).toEqual(['a'])
  expect((await run(['mcp', 'ls', '--query', 'exec(1)'], { servers })).code).toBe(2)
})

test('mcp config writes a client file with the identity in its arguments', async () => {
  const path = join(folder, '.mcp.json')
  const { out } = await run(['mcp', 'config', 'a', '-i', '/id', '--proxy=p:443', '--client-config', path, '-H', 'X-A: 1'], {
    servers: [server('a', ['*'])],
  })
  expect(out).toContain(`Updated client configuration at:\n${path}\n`)
  expect(JSON.parse(await readFile(path, 'utf8'))).toEqual({
    mcpServers: {
      'teleport-mcp-a': {
        type: 'stdio',
        command: '/bin/tsh',
        args: ['mcp', 'connect', '-i', '/id', '--proxy', 'p:443', '-H', 'X-A: 1', 'a'],
        env: {},
      },
    },
  })
})

test('mcp config of a misspelt server names the nearest', async () => {
  const { code, err } = await run(['mcp', 'config', 'everythin'], { servers: [server('everything', ['*'])] })
  expect([code, err]).toEqual([
    6,
    'ERROR: MCP server "everythin" not found (did you mean "everything"?): tsh mcp ls lists the ones you may use\n',
  ])
})

test('mcp config writes and shows the notation of a client that has no JSON, and leaves alone what it does not understand', async () => {
  const path = join(folder, 'config.toml')
  const servers = [server('a', ['*'])]
  await writeFile(path, 'mcp_servers = {}\n')
  const refused = await run(['mcp', 'config', '--all', `--client-config=${path}`], { servers })
  expect([refused.code, refused.err]).toEqual([2, expect.stringContaining('config.toml:1:1 "mcp_servers" is written in a way')])
  expect(refused.err).toContain('The file was left as it is.')
  await writeFile(path, '# mine\n')
  const { code, out } = await run(['mcp', 'config', '--all', `--client-config=${path}`], { servers })
  expect([code, out]).toEqual([0, expect.stringContaining('Start a new Codex session.')])
  expect(await readFile(path, 'utf8')).toContain(
    '# mine\n\n[mcp_servers.teleport-mcp-a]\ncommand = "/bin/tsh"\nargs = ["mcp", "connect", "a"]\n',
  )
  const sample = await run(['mcp', 'config', '--all', '--format=continue'], { servers })
  expect(sample.out).toContain('Here is a sample YAML configuration for launching them (continue):\nname: Local Config\n')
})

test('mcp config --as-one and --set: one entry for all, beside what is there; a file that is damaged is left alone', async () => {
  const path = join(folder, 'one.json')
  await writeFile(path, '{"theme": "dark", "mcpServers": {"mine": {"command": "x"}, "teleport-mcp": {"command": "old"}}}')
  const servers = [server('a', ['*']), server('b', ['*'])]
  const { code, out } = await run(['mcp', 'config', '--all', '--as-one', `--client-config=${path}`], { servers })
  expect(code).toBe(0)
  expect(out).toContain('Found MCP servers:\na\nb\n')
  expect(out).toContain('They are one server, "teleport-mcp", in this configuration.')
  expect((await run(['mcp', 'config', '--set=mine', `--client-config=${path}`], { servers })).out).toContain('"teleport-set-mine"')
  expect(JSON.parse(await readFile(path, 'utf8'))).toEqual({
    theme: 'dark',
    mcpServers: {
      mine: { command: 'x' },
      'teleport-mcp': { command: '/bin/tsh', args: ['mcp', 'connect', '--all'], env: { SALLYPORT_TSH_HOME: join(folder, 'home') } },
      'teleport-set-mine': {
        command: '/bin/tsh',
        args: ['mcp', 'connect', '--set=mine'],
        env: { SALLYPORT_TSH_HOME: join(folder, 'home') },
      },
    },
  })
  await writeFile(path, '{"mcpServers": ')
  expect((await run(['mcp', 'config', '--all', '--as-one', `--client-config=${path}`], { servers })).code).not.toBe(0)
  expect(await readFile(path, 'utf8')).toBe('{"mcpServers": ')
  expect((await run(['mcp', 'config', '--all', '--as-one'], { servers: [] })).err).toContain('no MCP servers found')
})

test('a hostile name is no option of the command written down, and does not drive the terminal', async () => {
  const { out } = await run(['mcp', 'config', '--all'], {
    servers: [server('--insecure', ['*']), server('a\u001b]0;owned\u0007b\u009b2J', ['*'])],
  })
  expect(out).toContain('"mcp",\n        "connect",\n        "--",\n        "--insecure"')
  expect(out).not.toMatch(/[\u0007\u001b\u0080-\u009f]/)
})

function server(name: string, allowed: string[], denied: string[] = []) {
  return {
    kind: 'app',
    version: 'v3',
    metadata: { name, description: `of ${name}`, labels: { env: 'dev', 'teleport.internal/x': 'y' } },
    spec: { uri: 'mcp+stdio://', mcp: { command: 'c', run_as_host_user: 'u' } },
    permissions: { mcp: { tools: { allowed, denied } } },
  }
}

async function run(argv: string[], { stdin = '', servers }: { stdin?: string; servers?: unknown[] } = {}) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  const carrier = async (): Promise<WireAnswer> => ({
    status: 200,
    body: JSON.stringify({ items: servers, token: 't', expires: '2030-01-01T00:00:00Z' }),
  })
  const env = { HOME: folder, SALLYPORT_TSH_HOME: join(folder, 'home') }
  const io = {
    stdin: Readable.from([Buffer.from(stdin)]),
    stdout,
    stderr,
    env,
    isTTY: false,
    launcher: ['/bin/tsh'],
    now: () => 0,
    ...(servers ? { carrier } : {}),
  }
  const code = await main(argv, io)
  const text = (stream: PassThrough) =>
    stream
      .end()
      .toArray()
      .then((chunks) => Buffer.concat(chunks).toString())
  return { code, out: await text(stdout), err: await text(stderr) }
}
