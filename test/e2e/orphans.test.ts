import { readdir, readFile } from 'node:fs/promises'
import { deleteApiToken, listApiTokens } from '../../src/api/api-tokens.ts'
import { deleteResource } from '../../src/api/resources.ts'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Cluster, startCluster } from '../cluster.ts'
import { ECHO_STDIO } from '../fakes/stdio-app.ts'
import { eventually } from '../wait.ts'
import { openRawSession, type RawSession } from './raw-session.ts'

// Every stdio session is a process. However sessions end, in great number and at once, no process is left, not even as a zombie.

const BATCH = 16

let cluster: Cluster
/** What the test runner and the agent have started before there is a session. */
let before: Set<number>
let opened = 0

beforeAll(async () => {
  cluster = await startCluster()
  // What watches over the servers of the agent is there as long as the agent.
  before = new Set((await descendants()).map(({ pid }) => pid))
  await cluster.saveStdioApp('tools', process.execPath, [ECHO_STDIO])
  await cluster.saveRole('all', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } })
  await cluster.saveUser('alice', ['all'])
})

afterAll(() => cluster.close())

interface Process {
  pid: number
  state: string
}

/** Our children, their children and so on, the ones that nobody waited for too (`Z`). */
async function descendants(): Promise<Process[]> {
  const found: (Process & { parent: number })[] = []
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '') // gone meanwhile
    const [, pid, state, parent] = /^(\d+) \([^]*\) (\S) (\d+)/.exec(stat) ?? []
    if (pid && state && parent) found.push({ pid: Number(pid), state, parent: Number(parent) })
  }
  const ours = new Set([process.pid])
  for (let size = 0; size < ours.size;) {
    size = ours.size
    for (const { pid, parent } of found) if (ours.has(parent)) ours.add(pid)
  }
  return found.filter(({ pid }) => pid !== process.pid && ours.has(pid))
}

async function noneLeft(): Promise<void> {
  let left: Process[] = []
  await eventually('the end of every process', async () => {
    left = (await descendants()).filter(({ pid }) => !before.has(pid))
    return left.length === 0 || undefined
  }).catch(() => expect(left).toEqual([]))
}

/** Opens sessions of a user, `BATCH` of them at a time, and does something to each batch. */
async function inBatches(count: number, user: string, act: (sessions: RawSession[], token: string) => Promise<unknown>): Promise<void> {
  for (let left = count; left > 0; left -= BATCH) {
    const token = await cluster.tokenOf(user)
    const sessions = await Promise.all(Array.from({ length: Math.min(BATCH, left) }, () => openRawSession(cluster.mcpUrl('tools'), token)))
    opened += sessions.length
    await act(sessions, token)
  }
}

const all = (sessions: RawSession[], act: (session: RawSession) => Promise<unknown>): Promise<unknown> =>
  Promise.allSettled(sessions.map(act))

it('by DELETE, with and without a call under way', { timeout: 60_000 }, async () => {
  await inBatches(112, 'alice', (sessions) =>
    all(sessions, async (session) => {
      const call = session.call('slow', { ms: 60_000 }).catch(() => undefined)
      await session.delete()
      await call
    }),
  )
  await noneLeft()
})

it('by a server that exits in the middle of a call', { timeout: 60_000 }, async () => {
  await inBatches(64, 'alice', (sessions) => all(sessions, (session) => session.call('exit', { code: 3 })))
  await noneLeft()
})

it('by a token that is revoked', { timeout: 60_000 }, async () => {
  await inBatches(64, 'alice', async (sessions) => {
    const calls = sessions.map((session) => session.call('hang', {}).catch(() => undefined))
    const { items } = await cluster.admin(listApiTokens, { user: 'alice' })
    for (const { id } of items) await cluster.admin(deleteApiToken, { id })
    await Promise.all(calls)
  })
  await noneLeft()
})

it('by a lock', { timeout: 60_000 }, async () => {
  for (let round = 1; round <= 4; round++) {
    const user = `locked-${round}`
    await cluster.saveUser(user, ['all'])
    await inBatches(BATCH, user, async (sessions) => {
      const calls = sessions.map((session) => session.call('hang', {}).catch(() => undefined))
      await cluster.save({ kind: 'lock', version: 'v2', metadata: { name: user }, spec: { target: { user } } })
      await Promise.all(calls)
    })
  }
  await noneLeft()
})

it('by newer sessions that need their room, and by clients that just go away', { timeout: 60_000 }, async () => {
  // 64 sessions of a caller at a time; the clients of these never say that they are done, some of them in the middle of a call.
  await inBatches(112, 'alice', (sessions) => all(sessions, (session) => session.abandon()))
  expect((await descendants()).filter(({ pid }) => !before.has(pid)).length).toBeLessThanOrEqual(64)
})

it('by a server that is taken away', { timeout: 60_000 }, async () => {
  await cluster.admin(deleteResource, { kind: 'app', name: 'tools' })
  await noneLeft()
})

it('by the gateway that stops', { timeout: 60_000 }, async () => {
  await cluster.saveStdioApp('tools', process.execPath, [ECHO_STDIO])
  for (const user of ['last-1', 'last-2', 'last-3', 'last-4', 'last-5', 'last-6']) {
    await cluster.saveUser(user, ['all'])
    await inBatches(BATCH, user, (sessions) => all(sessions.slice(0, 2), (session) => session.abandon()))
  }
  await cluster.running.close()
  await noneLeft()
  expect(opened).toBeGreaterThanOrEqual(500)
})
