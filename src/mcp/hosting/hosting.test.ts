import { execFileSync } from 'node:child_process'
import { chmod, chown, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { call, faultOf, never, toolText } from '../../../test/fakes/outgoing.ts'
import { listProcesses } from '../../../test/fakes/processes.ts'
import { ECHO_STDIO, openAs, ownAccount, stdioApp, stdioDeps } from '../../../test/fakes/stdio-app.ts'
import type { Hosting } from '../../resources/hosting.ts'
import { createStdioUpstream } from '../upstream/stdio.ts'
import type { StdioDeps } from '../upstream/stdio.ts'
import type { Upstream } from '../upstream/upstream.ts'

const machine = await stdioDeps()
const isRoot = ownAccount.uid === 0
if (!isRoot) process.stderr.write('skipped: hosting as another account, since the tests do not run as root\n')
if (machine.self.sandboxFault) process.stderr.write(`skipped: sandboxes, since ${machine.self.sandboxFault}\n`)

/** Not in /tmp, which no sandbox shows. */
let folder = ''
beforeAll(async () => void (folder = await mkdtemp(join(ownAccount.homedir, '.sallyport-test-'))))
afterAll(() => rm(folder, { recursive: true }))

const opened: Upstream[] = []
afterEach(async () => {
  for (const upstream of opened.splice(0)) await upstream.close()
})

interface Hosted {
  sh(command: string): Promise<string>
  whoami(): Promise<{ env: Record<string, string>; cwd: string; uid: number; groups: number[] }>
  close(): Promise<void>
  ended: Promise<string>
}

async function host(
  hosting: Hosting,
  { account, deps = {}, flags = [] }: { account?: string; deps?: Partial<StdioDeps>; flags?: string[] } = {},
): Promise<Hosted> {
  const app = stdioApp(process.execPath, [ECHO_STDIO, ...flags], account, hosting)
  const upstream = createStdioUpstream(app, { ...machine, ...deps, limits: { stopGraceMs: 2000 } })
  opened.push(upstream)
  const session = await upstream.open(openAs('legacy'))
  const ask = async (tool: string, args = {}): Promise<string> => toolText(await session.send(call('1', tool, args), never))
  return {
    sh: (command) => ask('sh', { command }),
    whoami: async () => JSON.parse(await ask('whoami')),
    close: () => session.close(),
    ended: session.ended,
  }
}

describe('environment and directory', () => {
  test('a secret file that is not secret keeps the server from being started', async () => {
    const file = join(folder, 'open')
    await writeFile(file, 'TOKEN=hunter22', { mode: 0o644 })
    expect(await faultOf(host({ env_from: [{ file }] }))).toMatchObject({
      code: 'failed_precondition',
      message: expect.stringContaining('may be read or written by others'),
    })
  })

  test('a directory that is not there keeps it from being started', async () => {
    expect(await faultOf(host({ cwd: '/no/such' }))).toMatchObject({
      code: 'failed_precondition',
      message: expect.stringContaining('"/no/such" does not exist'),
    })
  })

  test('what was set comes on top, secrets last, and they are in no error', async () => {
    const file = join(folder, 'secret')
    await writeFile(file, 'TOKEN=hunter22\nB=3', { mode: 0o600 })
    const server = await host({ env: { A: '1', B: '2', PATH: process.env['PATH'] ?? '' }, env_from: [{ file }], cwd: folder })
    const { env, cwd } = await server.whoami()
    expect([env['A'], env['B'], env['TOKEN'], cwd]).toEqual(['1', '3', 'hunter22', folder])
    await server.sh('echo "my token is $TOKEN" >&2; kill -9 $PPID').catch(() => undefined)
    const flagged = stdioApp('sh', ['-c', 'echo "my token is $TOKEN" >&2; exit 3'], undefined, { env_from: [{ file }] })
    const upstream = createStdioUpstream(flagged, machine)
    opened.push(upstream)
    const session = await upstream.open(openAs('legacy'))
    expect(await session.ended).toBe('MCP server "tools" exited (code 3): my token is <REDACTED>')
    expect(upstream.stderrTail()).toEqual(['my token is <REDACTED>'])
  })

  test.skipIf(!isRoot || !machine.self.programs.unshare)('supplementary groups of the account are kept', { timeout: 60_000 }, async () => {
    const groups = join(folder, 'group')
    await writeFile(groups, `${await readFile('/etc/group', 'utf8')}sallyport-test:x:54321:nobody\n`)
    const script = fileURLToPath(new URL('../../../test/fakes/ask-whoami.ts', import.meta.url))
    const words = ['--mount', 'sh', '-c', `mount --bind ${groups} /etc/group && exec "$@"`, 'sh', process.execPath, script, 'nobody']
    const printed: { uid: number; groups: number[] } = JSON.parse(
      execFileSync(machine.self.programs.unshare?.path ?? '', words, { encoding: 'utf8' }),
    )
    expect([printed.uid, printed.groups.toSorted()]).toEqual([65534, [54321, 65534]])
  })
})

describe('limits', () => {
  test('open files and processor time are of each process', async () => {
    const { sh } = await host({ limits: { open_files: 200, cpu_time: '90s' } })
    expect(await sh('ulimit -n; ulimit -t')).toBe('200\n90')
  })

  test('the wall time ends a process and says so', async () => {
    const { ended } = await host({ limits: { wall_time: '1s' } })
    expect(await ended).toBe('MCP server "tools" exited (its wall time was over)')
  })

  test.skipIf(!machine.trees?.limits.processes)('a tree cannot have more processes than it may', async () => {
    const { sh } = await host({ limits: { processes: 30 } }, { account: isRoot ? 'nobody' : ownAccount.username })
    expect(
      await sh('for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do sleep 5 & done; echo all'),
    ).toContain('fork')
  })

  test.skipIf(!machine.trees?.limits.memory)('a tree that takes more memory than it may is killed', async () => {
    const { sh, ended } = await host({ limits: { memory: '150MiB' } })
    await sh(`${process.execPath} -e 'const a=[];for(;;)a.push(Buffer.alloc(1e7,1))'`).catch(() => undefined)
    const { sh: again } = await host({ limits: { memory: '150MiB' } })
    expect(await again('head -c 300000000 /dev/zero | tail -c 300000000 | wc -c; echo done')).not.toContain('300000000')
    void ended
  })
})

describe('confinement: process', () => {
  test('has no capabilities, gains none, and leaves no core', async () => {
    const { sh } = await host({ confinement: 'process' })
    expect(await sh("grep -E '^(CapPrm|CapEff|CapInh|NoNewPrivs)' /proc/self/status; ulimit -c")).toBe(
      'CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\n0',
    )
  })
})

/** What a shell prints that runs as the program of a server. */
async function printed(
  command: string,
  hosting: Hosting,
  { account, deps }: { account?: string; deps?: Partial<StdioDeps> } = {},
): Promise<string> {
  const upstream = createStdioUpstream(stdioApp('/bin/sh', ['-c', `{ ${command}; } >&2`], account, hosting), { ...machine, ...deps })
  opened.push(upstream)
  await (
    await upstream.open(openAs('legacy'))
  ).ended
  return upstream.stderrTail().join('\n')
}

describe.skipIf(machine.self.sandboxFault !== undefined)('confinement: sandbox', () => {
  test('cannot write, see other processes, reach a network or the agent', async () => {
    await writeFile(join(folder, 'key'), 'hunter22')
    const command = `touch /etc/sallyport-test; cat ${folder}/key; ls /proc | grep -c '^[0-9]'; grep -c : /proc/net/dev; grep -E '^Cap(Eff|Bnd)' /proc/self/status`
    expect(await printed(command, { confinement: 'sandbox' }, { deps: { hidden: [folder] } })).toMatch(
      /Read-only file system\n.*No such file or directory\n[3-8]\n1\nCapEff: 0000000000000000\nCapBnd: 0000000000000000$/,
    )
  })

  test('has a /tmp of its own, and none of the sockets of the machine', async () => {
    expect(await printed('echo mine > /tmp/own && cat /tmp/own; ls -A /run /tmp; pwd', { confinement: 'sandbox' })).toBe(
      'mine\n/run:\n/tmp:\nown\n/',
    )
  })

  test.skipIf(!isRoot)('is entered as the host user, who may write what was chosen and nothing else', async () => {
    const chosen = join(folder, 'chosen')
    await mkdir(chosen)
    await chown(chosen, 65534, 65534)
    await chmod(folder, 0o755)
    const hosting: Hosting = { confinement: 'sandbox', sandbox: { writable: [chosen] }, cwd: chosen }
    // The home of root may be closed to others: what is bound is reached by its own path.
    const command =
      "id -un; id -G; touch here && echo written; touch ../there || echo refused; test -e /proc/1/root/etc && echo seen; grep -E '^(CapPrm|NoNew)' /proc/self/status"
    expect(await printed(command, hosting, { account: 'nobody' })).toMatch(
      /^nobody\n65534\nwritten\n.*\nrefused\nCapPrm: 0000000000000000\nNoNewPrivs: 1$/,
    )
  })

  test('shows only what is readable, if that is given', async () => {
    const command = `cat ${folder}/key; ls /home /var/lib`
    expect(await printed(command, { confinement: 'sandbox', sandbox: { readable: [folder] } })).toMatch(
      /^hunter22\n?.*No such file.*\n.*No such file/,
    )
  })

  test('has time to end after SIGINT, and dies with all it started', async () => {
    const mark = `sandbox-${process.pid}`
    const sandbox = { readable: [process.cwd(), dirname(process.execPath)] }
    const { close } = await host({ confinement: 'sandbox', sandbox }, { flags: ['--daemon', `--mark=${mark}`] })
    const marked = (): number => listProcesses().filter(({ command }) => command.includes(mark)).length
    await expect.poll(() => marked()).toBeGreaterThan(4)
    await close()
    expect(marked()).toBe(0)
    const command = "trap 'sleep 0.3; echo ended >&2; exit 0' INT; echo ready >&2; read line; while :; do sleep 0.1; done"
    const upstream = createStdioUpstream(stdioApp('/bin/sh', ['-c', command], undefined, { confinement: 'sandbox' }), machine)
    opened.push(upstream)
    const session = await upstream.open(openAs('legacy'))
    await expect.poll(() => upstream.stderrTail()).toEqual(['ready'])
    await session.close()
    expect(upstream.stderrTail()).toEqual(['ready', 'ended'])
  })
})

const WITHOUT_TREES = { trees: undefined }

describe.skipIf(!isRoot || !machine.self.programs.unshare)('without control groups', () => {
  test('root keeps a tree together by a process namespace', async () => {
    const mark = `namespace-${process.pid}`
    const { close, sh } = await host({}, { deps: WITHOUT_TREES, flags: ['--daemon', '--grandchild', `--mark=${mark}`] })
    const marked = (): number => listProcesses().filter(({ command }) => command.includes(mark)).length
    await expect.poll(() => marked()).toBeGreaterThan(3)
    expect(await sh('echo fine')).toBe('fine')
    await close()
    expect(marked()).toBe(0)
  })

  test('the exit of a program in a namespace is told as its own', async () => {
    const upstream = createStdioUpstream(stdioApp('sh', ['-c', 'kill -SEGV $$']), { ...machine, ...WITHOUT_TREES })
    opened.push(upstream)
    expect(await (await upstream.open(openAs('legacy'))).ended).toMatch(/^MCP server "tools" exited \(signal SIGSEGV\)/)
  })
})
