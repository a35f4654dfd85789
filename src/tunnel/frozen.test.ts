import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { createServer } from 'node:net'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { within } from '../../test/wait.ts'
import { realClock } from './clock.ts'
import { openTunnel } from './proxy-tunnel.ts'
import type { ProxyTunnel } from './proxy-tunnel.ts'
import { ask } from './tunnel.fixture.ts'

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

/** A tunnel to an agent in a process of its own. */
async function start(): Promise<{ tunnel: ProxyTunnel; child: ChildProcess }> {
  const server = createServer()
  const connected = new Promise<Socket>((resolve) => {
    server.once('connection', resolve)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const child = spawn(process.execPath, [join(import.meta.dirname, 'frozen-child.ts'), String(port)], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  closers.push(
    () => child.kill('SIGKILL'),
    () => server.close(),
  )
  const limits = { pingEveryMs: 200, pingDeadlineMs: 1000 }
  const tunnel = openTunnel(await within('the agent', connected), { peer: 'the agent', clock: realClock, limits })
  const first = ask(tunnel.target, { path: '/echo', text: 'hello' })
  await within('the first answer', first.over)
  expect(first.body.toString()).toBe('hello')
  return { tunnel, child }
}

test('an agent that is stopped by SIGSTOP is noticed by its silence, and its calls fail', async () => {
  const { tunnel, child } = await start()
  const waiting = ask(tunnel.target, { path: '/never' })
  child.kill('SIGSTOP')
  const after = ask(tunnel.target, { path: '/echo', text: 'into the ice' })
  await within('the errors', Promise.all([waiting.over, after.over]))
  expect([waiting.status, after.status, (await tunnel.closed)?.message]).toEqual([
    503,
    503,
    expect.stringContaining('did not answer a ping'),
  ])
})

test('an agent that is killed is noticed at once', async () => {
  const { tunnel, child } = await start()
  const waiting = ask(tunnel.target, { path: '/never' })
  child.kill('SIGKILL')
  await within('the error', waiting.over)
  expect([waiting.status, (await tunnel.closed)?.code]).toEqual([503, 'unavailable'])
})
