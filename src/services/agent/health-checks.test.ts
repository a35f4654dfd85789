import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { faultOf } from '../../../test/fakes/outgoing.ts'
import { ECHO_STDIO, openAs, stdioApp, stdioDeps } from '../../../test/fakes/stdio-app.ts'
import { silentLogger } from '../../lib/log.ts'
import { createBridgedUpstream } from '../../mcp/eras/bridged.ts'
import { createUpstream } from '../../mcp/upstream/open.ts'
import type { Upstream } from '../../mcp/upstream/upstream.ts'
import type { Hosting } from '../../resources/hosting.ts'
import { HealthChecks } from './health-checks.ts'

const closers: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function serve(
  args: readonly string[],
  hosting: Hosting,
  deadlineMs?: number,
): Promise<{ upstream: Upstream; checks: HealthChecks }> {
  const app = stdioApp(process.execPath, args, undefined, hosting)
  const inner = createUpstream(app, { now: Date.now, log: silentLogger, demo: { clusterName: 'c' }, stdio: await stdioDeps(), http: {} })
  const random = (size: number): Buffer => Buffer.alloc(size, 1)
  const upstream = createBridgedUpstream(inner, { server: 'tools', now: Date.now, random, log: silentLogger, version: '1' })
  closers.push(() => upstream.close())
  const checks = new HealthChecks({ log: silentLogger, ...(deadlineMs !== undefined && { deadlineMs }) })
  closers.push(() => checks.close())
  checks.watch(app, upstream)
  return { upstream, checks }
}

const stateOf = (upstream: Upstream): string | undefined => upstream.health?.current().state

test('a server that exits is checked again and again, and shows what it said', async () => {
  const { upstream } = await serve([ECHO_STDIO, '--exit-at-start'], { health_check: 'on' })
  await expect.poll(() => upstream.health?.current().failures).toBeGreaterThanOrEqual(3)
  expect(upstream.health?.current()).toMatchObject({
    state: 'failing',
    reason: 'exited (code 3): no licence',
    stderr: ['no licence', 'no licence', 'no licence'],
  })
  expect((await faultOf(upstream.open(openAs('legacy')))).message).toMatch(
    /^MCP server "tools" failed \d times in a row \(exited \(code 3\): no licence\): it is started again in \d+ s at the latest$/,
  )
})

test('one that never answers is failing after the deadline', async () => {
  const { upstream } = await serve(['-e', 'setInterval(() => {}, 1000)'], { health_check: 'on' }, 500)
  await expect.poll(() => stateOf(upstream)).toBe('failing')
  expect(upstream.health?.current().reason).toMatch(/did not answer within 1 s/)
})

test('one whose confinement cannot be is failing with the remedy', async () => {
  const { upstream } = await serve([ECHO_STDIO], { health_check: 'on', cwd: '/no/such' })
  await expect.poll(() => stateOf(upstream)).toBe('failing')
  expect(upstream.health?.current().reason).toBe('the working directory "/no/such" does not exist on the agent\'s machine')
})

test('where a start has effects nobody starts it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'effects-'))
  closers.push(() => rm(folder, { recursive: true }))
  const script = `require('node:fs').writeFileSync(${JSON.stringify(join(folder, 'started'))}, '')`
  const quiet = await serve(['-e', script], { health_check: 'off', lifecycle: 'shared' })
  const usual = await serve(['-e', script], {})
  const asked = await serve([ECHO_STDIO], { health_check: 'on' })
  await expect.poll(() => stateOf(asked.upstream)).toBe('healthy')
  expect([stateOf(quiet.upstream), stateOf(usual.upstream)]).toEqual(['unknown', 'unknown'])
})

test('one that works again is found to', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'recovers-'))
  closers.push(() => rm(folder, { recursive: true }))
  const script = join(folder, 'server.mjs')
  await writeFile(script, 'process.exit(9)')
  const { upstream } = await serve([script], {})
  const session = await upstream.open(openAs('legacy'))
  await session.ended
  await session.close()
  await expect.poll(() => stateOf(upstream)).toBe('failing')
  await writeFile(script, `import ${JSON.stringify(ECHO_STDIO)}`)
  await expect.poll(() => stateOf(upstream)).toBe('healthy')
})
