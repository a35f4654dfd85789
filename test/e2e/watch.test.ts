import { afterEach, describe, expect, it } from 'vitest'
import { WatchedFeed } from '../../src/client/watch.ts'
import { type Logger, silentLogger } from '../../src/lib/log.ts'
import type { Change } from '../../src/resources/feed.ts'
import type { Identity } from '../../src/resources/identity.ts'
import { type Kind, parseResource } from '../../src/resources/registry.ts'
import { createLiveResources } from '../../src/services/auth/live-resources.ts'
import { Watches } from '../../src/services/auth/watches.ts'
import { eventually } from '../wait.ts'

const NOW = 1_801_396_800_000
const KINDS: Kind[] = ['app', 'role', 'user', 'lock']

describe('a watch of resources', () => {
  const closers: (() => unknown)[] = []
  afterEach(async () => {
    for (const close of closers.splice(0).toReversed()) await close()
  })

  /** Resources with those who watch them, and a client whose connections the test can cut. */
  function start({ log = silentLogger, identity = host() }: { log?: Logger; identity?: Identity } = {}) {
    const clock = { now: NOW }
    const live = createLiveResources(silentLogger)
    let watches = new Watches({ live, epoch: 'one', now: () => clock.now, beatEveryMs: 3_600_000 })
    closers.push(() => watches.close())
    const link = { isDown: false, opened: 0, cut: (): void => {}, pauses: [] as (() => void)[] }
    const create = (): WatchedFeed => {
      const feed = new WatchedFeed({
        kinds: KINDS,
        monotonic: () => clock.now,
        after: (ms, run) => {
          if (ms < 31_000) link.pauses.push(run)
          return () => {}
        },
        random: () => 0.5,
        log,
        open: async (signal) => {
          if (link.isDown) throw new Error('down')
          link.opened += 1
          const stream = watches.open(identity, KINDS)
          const reader = stream.getReader()
          let isCut = false
          link.cut = () => {
            isCut = true
            void reader.cancel()
          }
          signal.addEventListener('abort', link.cut)
          return (async function* () {
            for (let next = await reader.read(); !next.done && !isCut; next = await reader.read()) yield next.value
          })()
        },
      })
      closers.push(() => feed.close())
      return feed
    }
    return {
      live,
      clock,
      link,
      create,
      reconnect: async (feed: WatchedFeed) => {
        await eventually('a pause', async () => link.pauses.length > 0 || undefined)
        link.pauses.shift()?.()
        await eventually('being in step', async () => feed.fault() === undefined || undefined)
      },
      restart: () => {
        watches.close()
        clock.now += 1000
        watches = new Watches({ live, epoch: 'two', now: () => clock.now, beatEveryMs: 3_600_000 })
      },
      put: (kind: Kind, name: string, spec: unknown, labels = {}) =>
        live.put<Kind>(kind, parseResource(kind, { kind, version: VERSIONS[kind] ?? 'v2', metadata: { name, labels }, spec })),
    }
  }

  const VERSIONS: Partial<Record<Kind, string>> = { app: 'v3', role: 'v8' }
  const names = (feed: Pick<WatchedFeed, 'list'>, kind: Kind): string[] => feed.list<Kind>(kind).map(({ metadata }) => metadata.name)
  const APP = { uri: 'mcp+http://127.0.0.1:1/' }

  it('ends for a host that is locked, and for one whose certificate has expired', async () => {
    const watch = start({ identity: host({ expiresAt: NOW + 1000 }) })
    const feed = watch.create()
    await feed.ready()
    watch.put('lock', 'l', { target: { server_id: 'agent-1' }, message: 'stolen' })
    await eventually('the end', async () => feed.fault()?.message.includes('stolen') || undefined)
    watch.live.remove('lock', 'l')
    await watch.reconnect(feed)
    watch.clock.now += 1000
    watch.put('lock', 'other', { target: { user: 'nobody' } })
    await eventually('the end', async () => feed.fault()?.message.includes('expired') || undefined)
  })

  it('tells what there is, then every change in order', async () => {
    const watch = start()
    watch.put('app', 'a', APP)
    const feed = watch.create()
    await feed.ready()
    expect(names(feed, 'app')).toEqual(['a'])
    const seen: Change[] = []
    feed.subscribe((change) => seen.push(change))
    watch.clock.now = NOW + 5
    watch.put('app', 'b', APP)
    watch.live.remove('app', 'a')
    watch.live.revoke('api_token', 't1')
    await eventually('three changes', async () => seen.length === 3 || undefined)
    expect(seen).toEqual([
      { type: 'put', kind: 'app', name: 'b', at: NOW + 5 },
      { type: 'delete', kind: 'app', name: 'a', at: NOW + 5 },
      { type: 'revoked', kind: 'api_token', name: 't1', at: NOW + 5 },
    ])
    expect(names(feed, 'app')).toEqual(['b'])
  })

  it('tells after a gap what changed in between, revocations and vanished users too, each with its own time', async () => {
    const watch = start()
    watch.put('app', 'a', APP)
    watch.put('user', 'ana', { roles: [] })
    watch.put('user', 'leo', { roles: [] })
    const feed = watch.create()
    await feed.ready()
    const seen: Change[] = []
    feed.subscribe((change) => seen.push(change))
    seen.length = 0
    watch.link.isDown = true
    watch.link.cut()
    watch.clock.now = NOW + 100
    watch.live.revoke('api_token', 't1')
    watch.clock.now = NOW + 200
    watch.live.remove('user', 'leo')
    watch.put('user', 'ana', { roles: ['dev'] })
    watch.put('app', 'a', APP, { env: 'new' })
    watch.clock.now = NOW + 5000
    await eventually('the gap', async () => feed.fault() !== undefined || undefined)
    expect(feed.staleMs()).toBe(5000)
    watch.link.isDown = false
    await watch.reconnect(feed)
    expect(seen).toContainEqual({ type: 'revoked', kind: 'api_token', name: 't1', at: NOW + 100 })
    expect(seen).toContainEqual({ type: 'delete', kind: 'user', name: 'leo', at: NOW + 200 })
    expect(seen).toContainEqual({ type: 'put', kind: 'user', name: 'ana', at: NOW + 200 })
    expect(seen.map(({ type, name }) => `${type} ${name}`)).toContain('put a')
    expect(feed.knownSince()).toBe(NOW)
    const late: Change[] = []
    feed.subscribe((change) => late.push(change))
    expect(late.map(({ name }) => name).toSorted()).toEqual(['ana', 'leo', 't1'])
  })

  it('tells after a gap that a user was replaced, while there is none, and says it once', async () => {
    const watch = start()
    watch.put('user', 'ana', { roles: [] })
    const feed = watch.create()
    await feed.ready()
    const seen: string[] = []
    feed.subscribe(({ type, name }) => seen.push(`${type} ${name} ${feed.find('user', name) ? 'there' : 'gone'}`))
    seen.length = 0
    watch.link.isDown = true
    watch.link.cut()
    // As long as sessions may go on without news.
    watch.clock.now = NOW + 60_000
    watch.live.remove('user', 'ana')
    watch.put('user', 'ana', { roles: [] })
    watch.clock.now = NOW + 60 * 60_000
    await eventually('the gap', async () => feed.fault() !== undefined || undefined)
    watch.link.isDown = false
    await watch.reconnect(feed)
    expect(seen[0]).toBe('delete ana gone')
    expect(new Set(seen.slice(1))).toEqual(new Set(['put ana there']))
    seen.length = 0
    watch.link.cut()
    await eventually('the gap', async () => feed.fault() !== undefined || undefined)
    await watch.reconnect(feed)
    expect(seen).toEqual([])
  })

  it('knows of no revocation from before the Auth Service was started again', async () => {
    const watch = start()
    const feed = watch.create()
    await feed.ready()
    expect(feed.knownSince()).toBe(NOW)
    watch.restart()
    await watch.reconnect(feed)
    expect(feed.knownSince()).toBe(NOW + 1000)
  })

  it('cuts a watcher that falls behind, and has it begin anew', async () => {
    const watch = start()
    const feed = watch.create()
    await feed.ready()
    // All in one turn: the reader gets no chance to take any.
    for (let n = 0; n < 5000; n++) watch.put('app', `app-${n}`, APP)
    await eventually('the cut', async () => feed.fault()?.message.includes('too far behind') || undefined)
    await watch.reconnect(feed)
    expect(feed.list('app')).toHaveLength(5000)
  })

  it('has what the Auth Service has at rest, whatever changed and however often it was cut off', async () => {
    const watch = start()
    const feed = watch.create()
    await feed.ready()
    const mirror = new Map<string, string>()
    feed.subscribe(({ kind, name }) => {
      if (kind !== 'app') return
      const found = feed.find('app', name)
      if (found) mirror.set(name, JSON.stringify(found))
      else mirror.delete(name)
    })
    let seed = 7
    const random = (limit: number): number => (seed = (seed * 48_271) % 2_147_483_647) % limit
    for (let step = 0; step < 300; step++) {
      const name = `app-${random(20)}`
      const what = random(10)
      if (what < 6) watch.put('app', name, APP, { n: String(step) })
      else if (what < 9) watch.live.remove('app', name)
      else {
        watch.link.cut()
        await watch.reconnect(feed)
      }
    }
    const wanted = new Map(watch.live.list('app').map((app) => [app.metadata.name, JSON.stringify(app)]))
    await eventually('rest', async () => JSON.stringify([...mirror].toSorted()) === JSON.stringify([...wanted].toSorted()) || undefined)
    expect(watch.link.opened).toBeGreaterThan(5)
  })
})

function host(more: Partial<Identity> = {}): Identity {
  return {
    kind: 'host',
    name: 'agent-1',
    roles: ['App'],
    traits: {},
    credential: 'certificate',
    credentialId: '01',
    expiresAt: NOW * 2,
    mfaVerified: true,
    ...more,
  }
}
