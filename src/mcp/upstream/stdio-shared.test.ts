import { afterEach, expect, test } from 'vitest'
import { call, eventsOf, faultOf, never, notification, readData, request, toolText } from '../../../test/fakes/outgoing.ts'
import { echoApp, openAs, stdioDeps } from '../../../test/fakes/stdio-app.ts'
import type { ChildRegistry } from './child.ts'
import { createStdioUpstream } from './stdio.ts'
import type { StdioLimits } from './stdio-limits.ts'
import type { Upstream, UpstreamSession } from './upstream.ts'

const opened: Upstream[] = []
afterEach(async () => {
  for (const upstream of opened.splice(0)) await upstream.close()
})

interface Opened {
  session: UpstreamSession
  upstream: Upstream
  registry: ChildRegistry
  clock: { ms: number }
}

async function open({ flags = [], ...limits }: Partial<StdioLimits> & { flags?: string[] } = {}): Promise<Opened> {
  const deps = await stdioDeps(limits)
  const clock = { ms: 1_000_000 }
  const upstream = createStdioUpstream(echoApp(...flags), { ...deps, now: () => clock.ms })
  opened.push(upstream)
  return { session: await upstream.open(openAs('modern')), upstream, registry: deps.registry, clock }
}

test('a server that dies again and again is left alone for a while, and says why', async () => {
  const { session, registry, clock } = await open()
  for (let n = 1; n <= 5; n++) {
    expect((await faultOf(session.send(call('1', 'exit'), never))).message).toBe('MCP server "tools" exited (code 1): giving up')
    clock.ms += 2000
  }
  const refusal = {
    code: 'unavailable',
    origin: 'upstream',
    message: 'MCP server "tools" exited (code 1): giving up; it is started 5 times in 60 s at most: try again in 50 s',
  }
  expect(await faultOf(session.send(call('1', 'echo'), never))).toEqual(refusal)
  expect(await faultOf(session.send(call('1', 'echo'), never))).toEqual(refusal)
  await expect.poll(() => registry.count).toBe(0)
  clock.ms += 49_999
  expect((await faultOf(session.send(call('1', 'echo'), never))).message).toContain('try again in 1 s')
  clock.ms += 1
  expect(toolText(await session.send(call('1', 'echo', { text: 'back' }), never))).toBe('back')
  await expect.poll(() => registry.count).toBe(1)
})

test('large answers come under the ids that were asked with', async () => {
  const { session } = await open()
  const ids = ['7', '"seven"', '900719925474099', '"with \\"quotes\\", \\u00e9"', '7.5']
  const replies = await Promise.all(ids.map((id, at) => session.send(call(id, 'echo', { text: String(at).repeat(20_000) }), never)))
  const answers = replies.map((reply) => (reply.kind === 'message' ? JSON.parse(reply.bytes.toString()) : reply))
  expect(answers.map(({ id }) => JSON.stringify(id))).toEqual(ids.map((id) => JSON.stringify(JSON.parse(id))))
  expect(replies.map(toolText)).toEqual(ids.map((_, at) => String(at).repeat(20_000)))
})

test('what was under way fails when the process dies, the next request starts another', async () => {
  const { session, registry } = await open()
  const first = toolText(await session.send(call('1', 'pid'), never))
  const hanging = faultOf(session.send(call('2', 'hang'), never))
  const events = eventsOf(await session.send(request('3', 'subscriptions/listen'), never))
  await readData(events, 1)
  await faultOf(session.send(call('4', 'exit', { code: 7 }), never))
  expect((await hanging).message).toBe('MCP server "tools" exited (code 7): giving up')
  expect((await faultOf(readData(events))).code).toBe('unavailable')
  const pids = await Promise.all(['1', '2', '3'].map(async (id) => toolText(await session.send(call(id, 'pid'), never))))
  expect(new Set(pids).size).toBe(1)
  expect(pids[0]).not.toBe(first)
  await expect.poll(() => registry.count).toBe(1)
})

test('a process that is being ended gets no more requests', async () => {
  const { session } = await open({ maxLineBytes: 4096, stopGraceMs: 100, flags: ['--stubborn'] })
  expect((await faultOf(session.send(call('1', 'big', { bytes: 5000 }), never))).message).toContain('a line of more than 4096 bytes')
  expect(toolText(await session.send(call('1', 'echo', { text: 'another' }), never))).toBe('another')
})

test('a notification starts nothing', async () => {
  const { session, registry } = await open()
  await faultOf(session.send(call('1', 'exit'), never))
  expect(await session.send(notification('notifications/x'), never)).toEqual({ kind: 'accepted' })
  await expect.poll(() => registry.count).toBe(0)
})

test('what is closed stays closed, also while it starts', async () => {
  const { session, registry } = await open()
  await faultOf(session.send(call('1', 'exit'), never))
  const starting = faultOf(session.send(call('1', 'echo'), never))
  await session.close()
  expect((await starting).code).toBe('cancelled')
  expect((await faultOf(session.send(call('2', 'echo'), never))).code).toBe('cancelled')
  expect((await faultOf(session.send(notification('notifications/x'), never))).code).toBe('cancelled')
  await session.close()
  await expect.poll(() => registry.count).toBe(0)
})
