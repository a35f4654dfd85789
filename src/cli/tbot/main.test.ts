import { createServer } from 'node:http'
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { main } from './main.ts'

let home = ''
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'tbot-cli-'))
})
afterEach(async () => await rm(home, { recursive: true }))

test.each([
  [['start'], 'nothing says what to do: name a configuration file with -c'],
  [['start', '-c', '/nowhere/tbot.yaml'], 'there is no configuration file /nowhere/tbot.yaml'],
  [['start', 'identity', '--proxy-server=p:1', '--token=t'], 'the flag --destination is required'],
  [['start', 'identity', '--proxy-server=p:1', '--destination=/d'], 'onboarding.token: required'],
  [['configure', 'identity', '--destination=/d', '--token=t'], 'proxy_server: required'],
  [['configure', 'identity', '--destination=s3://d', '--token=t', '--proxy-server=p:1'], '"s3://d" is no directory'],
  [['start', 'identity', '--join-uri=nonsense', '--destination=/d'], '--join-uri is written like'],
  [['start', 'ssh'], 'too many arguments'],
  [['wait'], 'the flag --diag-addr is required'],
])('%j is wrong usage', async (argv, message) => {
  const { code, err } = await run(argv)
  expect(err).toContain(message)
  expect(code).toBe(2)
})

test('configure identity prints a file that start takes, and -o writes it for its owner only', async () => {
  const flags = [
    '--proxy-server=example.teleport.sh:443',
    '--token=abc',
    '--join-method=token',
    '--storage=/var/bot',
    '--certificate-ttl=30m',
  ]
  const rest = ['--renewal-interval=10m', '--destination=/opt/machine-id', '--allow-reissue', '--reader-user=alice', '--reader-group=ops']
  const { code, out } = await run(['configure', 'identity', ...flags, ...rest])
  expect([code, out]).toEqual([
    0,
    `version: v2
proxy_server: example.teleport.sh:443
storage:
  type: directory
  path: /var/bot
credential_ttl: 30m
renewal_interval: 10m
onboarding:
  token: abc
  join_method: token
services:
  - type: identity
    allow_reissue: true
    destination:
      type: directory
      path: /opt/machine-id
      readers:
        - user: alice
        - group: ops
`,
  ])
  const file = join(home, 'tbot.yaml')
  await run(['configure', 'identity', ...flags, ...rest, '-o', file])
  expect(await readFile(file, 'utf8')).toBe(out)
  expect(((await stat(file)).mode & 0o777).toString(8)).toBe('600')
})

test('a join URI and the environment say the same as flags', async () => {
  const uri = await run([
    'configure',
    'identity',
    '--join-uri=tbot+proxy+bound-keypair://tok@p.example:443',
    '--destination=kubernetes-secret://ns/s',
  ])
  expect(uri.out).toContain('proxy_server: p.example:443')
  expect(uri.out).toContain('join_method: bound_keypair')
  expect(uri.out).toContain('type: kubernetes_secret\n      name: s\n      namespace: ns')
  const env = { TELEPORT_PROXY: 'p:1', TELEPORT_BOT_TOKEN: 'from-env', HOME: home }
  expect((await run(['configure', 'identity', '--destination=/d'], env)).out).toContain('token: from-env')
})

test('oneshot without a proxy fails with what is in the way', async () => {
  const { code, err } = await run([
    'start',
    'identity',
    '--proxy-server=127.0.0.1:1',
    '--token=t',
    `--storage=${join(home, 's')}`,
    `--destination=${join(home, 'd')}`,
    '--oneshot',
  ])
  expect([code, err]).toEqual([4, expect.stringContaining('nothing listens on 127.0.0.1:1')])
})

test('a damaged storage is told at the start, with what to do', async () => {
  const storage = join(home, 's')
  await mkdir(storage, { mode: 0o700 })
  await writeFile(join(storage, 'bot.json'), '{', { mode: 0o600 })
  const flags = ['--proxy-server=127.0.0.1:1', '--token=t', `--storage=${storage}`, `--destination=${join(home, 'd')}`]
  const { code, err } = await run(['start', 'identity', ...flags])
  expect([code, err]).toEqual([1, expect.stringContaining(`bot.json in directory ${storage} is damaged: remove it`)])
})

test('wait: ready is 0, a deadline 124, an unknown service is not found', async () => {
  const statuses: Record<string, number> = { '/readyz': 503, '/readyz/identity-1': 200, '/readyz/nothing': 404 }
  const server = createServer((request, response) => response.writeHead(statuses[request.url ?? ''] ?? 500).end('{}'))
  await new Promise<void>((fulfil) => server.listen(0, '127.0.0.1', fulfil))
  const address = server.address()
  const port = typeof address === 'object' && address ? String(address.port) : ''
  try {
    expect((await run(['wait', `--diag-addr=${port}`, '--timeout=1ms'])).code).toBe(124)
    expect((await run(['wait', `--diag-addr=127.0.0.1:${port}`, '--service=identity-1'])).code).toBe(0)
    expect((await run(['wait', `--diag-addr=:${port}`, '--service=nothing'])).code).toBe(6)
  } finally {
    server.close()
  }
})

async function run(
  argv: readonly string[],
  env: Record<string, string> = { HOME: home },
): Promise<{ code: number; out: string; err: string }> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  const code = await main(argv, { stdin: new PassThrough(), stdout, stderr, env, isTTY: false, version: '1.2.3' })
  const text = (stream: PassThrough): string => String(stream.read() ?? '')
  return { code, out: text(stdout), err: text(stderr) }
}
