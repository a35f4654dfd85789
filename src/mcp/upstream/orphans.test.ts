import { spawn } from 'node:child_process'
import type { ChildProcess, ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, test } from 'vitest'
import { call, never, toolText } from '../../../test/fakes/outgoing.ts'
import { hasProc, listProcesses } from '../../../test/fakes/processes.ts'
import { echoApp, openAs, stdioDeps } from '../../../test/fakes/stdio-app.ts'
import { createStdioUpstream } from './stdio.ts'
import type { UpstreamSession } from './upstream.ts'

const GATEWAY = fileURLToPath(new URL('../../../test/fakes/gateway.ts', import.meta.url))

if (!hasProc) process.stderr.write('skipped: orphans and zombies of stdio sessions, since this system has no /proc to look at\n')

/** Ways a session is cut. Each gets a session in which one call was answered. */
const CUTS: ((session: UpstreamSession, pid: number) => Promise<void>)[] = [
  (session) => session.close(),
  async (session) => {
    await session.send(call('2', 'exit', { code: 1 }), never).catch(() => undefined)
    await session.ended
  },
  async (session, pid) => {
    process.kill(pid, 'SIGKILL')
    await session.ended
  },
  async (session) => {
    const abort = new AbortController()
    const hanging = session.send(call('2', 'hang'), abort.signal).catch(() => undefined)
    abort.abort()
    await hanging
    await session.close()
  },
  async (session) => {
    // Closed in the middle of a call, and twice.
    const hanging = session.send(call('2', 'hang'), never).catch(() => undefined)
    await Promise.all([session.close(), session.close()])
    await hanging
  },
  // Left open: the upstream ends it.
  () => Promise.resolve(),
]

function marked(mark: string): string[] {
  return listProcesses()
    .filter(({ command }) => command.includes(`--mark=${mark}`))
    .map(({ command }) => command)
}

function zombies(): number[] {
  return listProcesses()
    .filter(({ parent, state }) => parent === process.pid && state === 'Z')
    .map(({ pid }) => pid)
}

test.skipIf(!hasProc)('sixty sessions, cut in every way, leave no process and no zombie', { timeout: 120_000 }, async () => {
  const deps = await stdioDeps({ stopGraceMs: 5000 })
  const mark = `sixty-${process.pid}`
  const upstream = createStdioUpstream(echoApp('--grandchild', '--daemon', `--mark=${mark}`), deps)
  for (let round = 0; round < 5; round++) {
    await Promise.all(
      [...CUTS, ...CUTS].map(async (cut) => {
        const session = await upstream.open(openAs('legacy'))
        await cut(session, Number(toolText(await session.send(call('1', 'pid'), never))))
      }),
    )
  }
  expect(marked(mark).length).toBeGreaterThan(9)
  await upstream.close()
  await expect.poll(() => deps.registry.count).toBe(0)
  expect(marked(mark)).toEqual([])
  expect(zombies()).toEqual([])
})

const gateways: ChildProcess[] = []
afterEach(() => {
  for (const gateway of gateways.splice(0)) gateway.kill('SIGKILL')
})

function startGateway(how: 'exit' | 'hang', mark: string): ChildProcessByStdio<null, Readable, null> {
  const gateway = spawn(process.execPath, [GATEWAY, how, '3', mark], { stdio: ['ignore', 'pipe', 'ignore'] })
  gateways.push(gateway)
  return gateway
}

test.skipIf(!hasProc)('a gateway that exits takes everything with it', { timeout: 60_000 }, async () => {
  const mark = `exit-${process.pid}`
  const gateway = startGateway('exit', mark)
  expect(await once(gateway, 'exit')).toEqual([0, null])
  await expect.poll(() => marked(mark)).toEqual([])
})

test.skipIf(!hasProc)(
  'a gateway that is killed takes its children with it, and what those started in sessions of their own',
  { timeout: 60_000 },
  async (context) => {
    const { self, trees } = await stdioDeps()
    if (!trees && !(self.uid === 0 && self.programs.unshare)) return context.skip('neither cgroups nor process namespaces can be made here')
    const mark = `kill-${process.pid}`
    const gateway = startGateway('hang', mark)
    expect(String(await once(gateway.stdout, 'data'))).toBe('ready\n')
    await expect.poll(() => marked(mark).length).toBeGreaterThanOrEqual(12)
    gateway.kill('SIGKILL')
    await once(gateway, 'exit')
    await expect.poll(() => marked(mark)).toEqual([])
  },
)
