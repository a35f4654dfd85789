import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, test } from 'vitest'
import { call, eventsOf, faultOf, messageText, never, notification, readData, request, toolText } from '../../../test/fakes/outgoing.ts'
import { ECHO_STDIO, openAs, stdioApp, stdioDeps } from '../../../test/fakes/stdio-app.ts'
import { silentLogger } from '../../lib/log.ts'
import type { Hosting } from '../../resources/hosting.ts'
import { createBridgedUpstream } from '../eras/bridged.ts'
import type { ChildRegistry } from '../upstream/child.ts'
import { createStdioUpstream } from '../upstream/stdio.ts'
import type { Upstream, UpstreamSession } from '../upstream/upstream.ts'

const opened: Upstream[] = []
afterEach(async () => {
  for (const upstream of opened.splice(0)) await upstream.close()
})

async function serve(hosting: Hosting, ...flags: string[]): Promise<{ upstream: Upstream; registry: ChildRegistry; started: number[] }> {
  const deps = await stdioDeps()
  const started: number[] = []
  const registry: ChildRegistry = {
    add(child) {
      started.push(child.pid)
      deps.registry.add(child)
    },
    remove: (child) => deps.registry.remove(child),
    get count() {
      return deps.registry.count
    },
    killAllNow: () => deps.registry.killAllNow(),
  }
  const upstream = createStdioUpstream(stdioApp(process.execPath, [ECHO_STDIO, ...flags], undefined, hosting), { ...deps, registry })
  opened.push(upstream)
  return { upstream, registry, started }
}

async function ask(session: UpstreamSession, tool: string, args = {}): Promise<string> {
  return toolText(await session.send(call('1', tool, args), never))
}

describe('lifecycle: shared', () => {
  const shared: Hosting = { lifecycle: 'shared' }

  test('a legacy conversation is refused with the reason', async () => {
    const { upstream, registry } = await serve(shared)
    expect(await faultOf(upstream.open(openAs('legacy')))).toEqual({
      code: 'failed_precondition',
      origin: 'gateway',
      message:
        'MCP server "tools" has lifecycle: shared, but does not speak MCP 2026-07-28; a process that speaks an older revision keeps the state of one client: set lifecycle: per_session',
    })
    expect(registry.count).toBe(0)
  })

  test('nobody cancels, or sees, what is of others with the same id', async () => {
    const { upstream } = await serve(shared)
    const [alice, bob] = [await upstream.open(openAs('modern')), await upstream.open(openAs('modern'))]
    const slow = alice.send(call('1', 'slow', { ms: 300 }), never)
    await bob.send(notification('notifications/cancelled', { requestId: 1 }), never)
    const heard = eventsOf(await alice.send(request('2', 'subscriptions/listen'), never))
    const known = readData(heard, 2)
    // Log messages that belong to no request: a process of one caller would give them to its last request.
    const hanging = alice.send(call('3', 'hang'), never)
    expect(await ask(bob, 'log', { count: 3 })).toBe('ok')
    expect(toolText(await slow)).toBe('late')
    expect(await ask(bob, 'changed')).toBe('ok')
    expect((await known)[1]).toContain('"io.modelcontextprotocol/subscriptionId":2')
    const left = faultOf(hanging)
    await alice.close()
    expect(await left).toEqual({ code: 'cancelled', origin: 'gateway', message: 'the session with MCP server "tools" was closed' })
  })

  test('one process serves all, and outlives each of them', async () => {
    const { upstream, registry } = await serve(shared)
    const [alice, bob] = await Promise.all([upstream.open(openAs('modern')), upstream.open(openAs('modern'))])
    const pid = await ask(alice, 'pid')
    expect(await ask(bob, 'pid')).toBe(pid)
    await alice.close()
    expect((await faultOf(alice.send(call('1', 'pid'), never))).code).toBe('cancelled')
    expect(await ask(bob, 'pid')).toBe(pid)
    expect(await ask(await upstream.open(openAs('modern')), 'pid')).toBe(pid)
    expect(registry.count).toBe(1)
    await upstream.close()
    expect(registry.count).toBe(0)
  })

  test('one caller cannot take all requests', async () => {
    const { upstream } = await serve(shared)
    const [alice, bob] = [await upstream.open(openAs('modern')), await upstream.open(openAs('modern'))]
    const hanging = Array.from({ length: 250 }, (_, id) => faultOf(alice.send(call(String(id + 10), 'hang'), never)))
    expect(await faultOf(alice.send(call('1', 'echo'), never))).toEqual({
      code: 'resource_exhausted',
      origin: 'gateway',
      message: 'MCP server "tools" works on 250 of your requests already',
    })
    expect(await ask(bob, 'echo', { text: 'hi' })).toBe('hi')
    await alice.close()
    await Promise.all(hanging)
  })

  test('restart: never says so', async () => {
    const { upstream } = await serve({ ...shared, restart: 'never' })
    const session = await upstream.open(openAs('modern'))
    await faultOf(session.send(call('1', 'exit', { code: 4 }), never))
    const message =
      'MCP server "tools" exited (code 4): giving up; it is not started again (restart: never) before the app "tools" is changed'
    expect((await faultOf(session.send(call('2', 'echo'), never))).message).toBe(message)
    expect((await faultOf(upstream.open(openAs('modern')))).message).toBe(message)
  })

  test('restart: always runs it before anybody came, and again when it has ended', async () => {
    const { upstream, registry, started } = await serve({ ...shared, restart: 'always' })
    await expect.poll(() => started.length).toBe(1)
    const session = await upstream.open(openAs('modern'))
    await faultOf(session.send(call('1', 'exit', { code: 0 }), never))
    await expect.poll(() => started.length).toBe(2)
    expect(await ask(session, 'echo', { text: 'back' })).toBe('back')
    await expect.poll(() => registry.count).toBe(1)
  })
})

describe('idle_stop', () => {
  test('ends a process that nobody uses; the next request starts another, as often as it likes', async () => {
    const { upstream, registry } = await serve({ idle_stop: '1s' })
    const session = await upstream.open(openAs('modern'))
    const pid = await ask(session, 'pid')
    await expect.poll(() => registry.count).toBe(0)
    expect(await ask(session, 'pid')).not.toBe(pid)
  })

  test('a request under way is use', async () => {
    const { upstream } = await serve({ idle_stop: '1s' })
    const session = await upstream.open(openAs('legacy'))
    expect(await ask(session, 'slow', { ms: 2500 })).toBe('late')
    expect(await session.ended).toBe('MCP server "tools" was stopped for want of use')
  })
})

describe('warm', () => {
  test('a spare is there before anybody came, and another after', async () => {
    const { upstream, registry } = await serve({ warm: 2 })
    await expect.poll(() => registry.count).toBe(2)
    const session = await upstream.open(openAs('legacy'))
    expect(await ask(session, 'echo', { text: 'hi' })).toBe('hi')
    await expect.poll(() => registry.count).toBe(3)
    await upstream.close()
    expect(registry.count).toBe(0)
  })

  test('spares that die are not started in a loop', async () => {
    const { upstream, registry } = await serve({ warm: 1 }, '--exit-at-start')
    await expect.poll(() => upstream.stderrTail()).toEqual(['no licence'])
    await expect.poll(() => registry.count).toBe(0)
    const session = await upstream.open(openAs('legacy'))
    expect(await session.ended).toBe('MCP server "tools" exited (code 3): no licence')
    expect(upstream.stderrTail()).toEqual(['no licence', 'no licence'])
  })
})

describe('lifecycle: shared, behind the bridge of eras', () => {
  const initialize = request('1', 'initialize', {
    protocolVersion: '2025-11-25',
    capabilities: {},
    clientInfo: { name: 'c', version: '1' },
  })

  async function bridged(script: string): Promise<{ upstream: Upstream; registry: ChildRegistry }> {
    const deps = await stdioDeps()
    const inner = createStdioUpstream(stdioApp(process.execPath, [script], undefined, { lifecycle: 'shared' }), deps)
    const random = (size: number): Buffer => Buffer.alloc(size, 1)
    const upstream = createBridgedUpstream(inner, { server: 'tools', now: Date.now, random, log: silentLogger, version: '1' })
    opened.push(upstream)
    return { upstream, registry: deps.registry }
  }

  test('a server of an older revision is refused, whoever comes', async () => {
    const { upstream } = await bridged(ECHO_STDIO)
    const session = await upstream.open(openAs('legacy'))
    expect((await faultOf(session.send(initialize, never))).message).toMatch(/does not speak MCP 2026-07-28.*set lifecycle: per_session$/)
    const modern = await upstream.open(openAs('modern'))
    expect((await faultOf(modern.send(request('2', 'tools/list'), never))).message).toMatch(
      /does not speak MCP 2026-07-28.*set lifecycle: per_session$/,
    )
  })

  test('clients of older revisions share the process of a modern one', async () => {
    const { upstream, registry } = await bridged(fileURLToPath(new URL('../../../test/fakes/modern-server.ts', import.meta.url)))
    for (const _ of [1, 2]) {
      const session = await upstream.open(openAs('legacy'))
      expect(messageText(await session.send(initialize, never))).toContain('"protocolVersion":"2025-11-25"')
      expect(toolText(await session.send(call('2', 'add', { a: 1, b: 2 }), never))).toBe('3')
    }
    expect(registry.count).toBe(1)
  })
})
