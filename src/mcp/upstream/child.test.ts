import { afterEach, describe, expect, test } from 'vitest'
import { call, never, toolText } from '../../../test/fakes/outgoing.ts'
import { ECHO_STDIO, echoApp, openAs, ownAccount, stdioApp, stdioDeps } from '../../../test/fakes/stdio-app.ts'
import { createStdioUpstream } from './stdio.ts'
import type { StdioDeps } from './stdio.ts'
import type { Upstream } from './upstream.ts'

const opened: Upstream[] = []
afterEach(async () => {
  for (const upstream of opened.splice(0)) await upstream.close()
})

async function whoami(
  deps: StdioDeps,
  account = ownAccount.username,
): Promise<{ env: Record<string, string>; cwd: string; uid: number; gid: number; groups: number[] }> {
  const upstream = createStdioUpstream(stdioApp(process.execPath, [ECHO_STDIO], account), deps)
  opened.push(upstream)
  const session = await upstream.open(openAs('legacy'))
  return JSON.parse(toolText(await session.send(call('1', 'whoami'), never)))
}

describe('the environment of a child', () => {
  test('holds nothing but what is allowed', async () => {
    const env = {
      PATH: process.env['PATH'],
      LANG: 'C.UTF-8',
      LC_TIME: 'C',
      TZ: 'UTC',
      TMPDIR: '/tmp',
      https_proxy: 'http://proxy:1',
      NO_PROXY: 'localhost',
      SALLYPORT_TOKEN: 'a',
      TELEPORT_IDENTITY_FILE: 'b',
      npm_config_token: 'c',
      AWS_SECRET_ACCESS_KEY: 'd',
      LD_PRELOAD: 'e',
      NODE_OPTIONS: 'f',
      HOME: '/elsewhere',
      USER: 'somebody',
      SSH_AUTH_SOCK: 'g',
    }
    expect((await whoami(await stdioDeps({}, env))).env).toEqual({
      PATH: process.env['PATH'],
      LANG: 'C.UTF-8',
      LC_TIME: 'C',
      TZ: 'UTC',
      TMPDIR: '/tmp',
      https_proxy: 'http://proxy:1',
      NO_PROXY: 'localhost',
      HOME: ownAccount.homedir,
      USER: ownAccount.username,
      LOGNAME: ownAccount.username,
      SHELL: ownAccount.shell,
      TERM: 'dumb',
    })
  })

  test.skipIf(ownAccount.uid !== 0)("as root, a child becomes its user with that user's groups, home and nothing of ours", async () => {
    const deps = await stdioDeps({}, { PATH: process.env['PATH'], TMPDIR: '/root' })
    const { env, uid, gid, groups, cwd } = await whoami(deps, 'nobody')
    expect({ uid, gid, groups, cwd }).toEqual({ uid: 65534, gid: 65534, groups: [65534], cwd: '/' })
    expect(env).toMatchObject({ USER: 'nobody', LOGNAME: 'nobody' })
    expect(env['TMPDIR']).toBe(undefined)
  })
})

describe('stopping', () => {
  test('a child that ignores SIGINT is killed when its time is over', async () => {
    const upstream = createStdioUpstream(echoApp('--stubborn'), await stdioDeps({ stopGraceMs: 50 }))
    const session = await upstream.open(openAs('legacy'))
    const pid = Number(toolText(await session.send(call('1', 'pid'), never)))
    await session.close()
    expect(isAlive(pid)).toBe(false)
    await session.close()
  })

  test('killAllNow leaves no process of any group', async () => {
    const deps = await stdioDeps()
    const upstream = createStdioUpstream(echoApp('--stubborn'), deps)
    opened.push(upstream)
    const session = await upstream.open(openAs('legacy'))
    await session.send(call('1', 'pid'), never)
    expect(deps.registry.count).toBe(1)
    deps.registry.killAllNow()
    expect(await session.ended).toBe('MCP server "tools" exited (signal SIGKILL)')
    await upstream.close()
    expect(deps.registry.count).toBe(0)
  })
})

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
