import { readFile } from 'node:fs/promises'
import { createServer } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { deleteResource } from '../../src/api/resources.ts'
import { type IdentityFile, parseIdentityFile } from '../../src/ca/identity-file.ts'
import { joinCluster } from '../../src/client/join.ts'
import { openTunnelSocket, TUNNEL_ALPN } from '../../src/client/tunnel-socket.ts'
import { silentLogger } from '../../src/lib/log.ts'
import type { ResourceFeed } from '../../src/resources/feed.ts'
import { Tunnels } from '../../src/services/proxy/tunnels.ts'
import { realClock } from '../../src/tunnel/clock.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { eventually, within } from '../wait.ts'

// Who asks the proxy for the tunnel of an agent and may have none.

let cluster: Cluster

beforeAll(async () => {
  cluster = await startCluster({ file: { app_service: { enabled: 'no' } } })
})
afterAll(() => cluster.close())

const proxy = () => ({ host: '127.0.0.1', port: cluster.running.address.port })

/** Settles when the proxy has hung up. */
async function dial(identity: IdentityFile, to = proxy()): Promise<void> {
  const socket = await openTunnelSocket({ proxy: to, identity }, new AbortController().signal)
  socket.on('error', () => undefined)
  await within('the end of the connection', new Promise((resolve) => socket.once('close', resolve).resume()))
}

test('a person gets none, however often, and one event says so', async () => {
  await cluster.saveUser('mallory', ['access'])
  const identity = parseIdentityFile(await readFile(await cluster.identityFileOf('mallory'), 'utf8'))
  for (let n = 0; n < 5; n++) await dial(identity)
  const events = await cluster.eventsOnceThere({ type: 'access.denied' }, 1)
  expect(events).toMatchObject([{ kind: 'tunnel', verb: 'create', remote_addr: '127.0.0.1', success: false, error: expect.any(String) }])
})

/** The identity of a new host. */
async function join(hostId: string): Promise<IdentityFile> {
  const { identity } = await joinCluster(
    { proxy: proxy(), caPins: [], authorities: [] },
    { role: 'App', hostname: 'box', hostId },
    { method: 'token', token: 'agents-secret' },
    { now: Date.now },
  )
  return identity
}

test('a locked host gets none, nor one that was removed', async () => {
  await cluster.save({ kind: 'token', version: 'v2', metadata: { name: 'agents-secret' }, spec: { roles: ['App'] } })
  const identity = await join('suspect')
  await cluster.save({
    kind: 'lock',
    version: 'v2',
    metadata: { name: 'l' },
    spec: { target: { server_id: 'suspect' }, message: 'stolen' },
  })
  await dial(identity)
  await cluster.eventsOnceThere({ type: 'access.denied', user: 'suspect' }, 1)
  await cluster.admin(deleteResource, { kind: 'host', name: 'suspect' })
  await dial(identity)
  expect(await cluster.eventsOnceThere({ type: 'access.denied', user: 'suspect' }, 2)).toMatchObject([
    { kind: 'tunnel', server_id: 'suspect', error: expect.stringContaining('stolen') },
    { kind: 'tunnel', server_id: 'suspect', error: expect.stringContaining('it was removed') },
  ])
})

describe('at a replica that has not heard of a host', () => {
  /** The tunnels of a proxy whose memory has no hosts until it has caught up, on a port of their own. */
  async function startLate(catchUp: () => Promise<void>) {
    const { auth } = cluster.running
    let isBehind = true
    const feed: ResourceFeed = {
      ...auth.feed,
      find: (kind, name) => (isBehind && kind === 'host' ? undefined : auth.feed.find(kind, name)),
    }
    const refused: string[] = []
    const tunnels = new Tunnels({
      clusterName: auth.clusterName,
      authorities: auth.hostAuthorityPems,
      feed,
      catchUp: async () => {
        await catchUp()
        isBehind = false
      },
      now: Date.now,
      clock: realClock,
      fail: () => undefined,
      onRefused: ({ reason }) => refused.push(reason),
      log: silentLogger,
    })
    const { key, cert } = await auth.issueServerCertificate({ dns: ['localhost'], ip: ['127.0.0.1'] })
    const options = { key, cert, ca: auth.hostAuthorityPems(), requestCert: true, rejectUnauthorized: false, ALPNProtocols: [TUNNEL_ALPN] }
    const server = createServer(options, (socket) => tunnels.accept(socket.on('error', () => undefined)))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    return {
      tunnels,
      refused,
      place: { host: '127.0.0.1', port },
      close: async () => {
        tunnels.close()
        await new Promise((resolve) => server.close(resolve))
      },
    }
  }

  test('one that is in no store is refused, and that is said', async () => {
    const identity = await join('gone')
    await cluster.admin(deleteResource, { kind: 'host', name: 'gone' })
    const late = await startLate(async () => undefined)
    await dial(identity, late.place)
    expect(late.refused).toEqual(['host "gone": it was removed, or has joined anew since'])
    await late.close()
  })

  test('while the store cannot be read nobody is let in, nor said to have been removed', async () => {
    const identity = await join('unsure')
    const late = await startLate(() => Promise.reject(new Error('away')))
    await dial(identity, late.place)
    expect(late.tunnels.isConnected('unsure')).toBe(false)
    expect(late.refused).toEqual([])
    await late.close()
  })

  test('one that joined at another replica just now is let in, and nobody says that it was refused', async () => {
    const identity = await join('fresh')
    const late = await startLate(async () => undefined)
    const over = dial(identity, late.place)
    await eventually('the tunnel', () => late.tunnels.isConnected('fresh'))
    expect(late.refused).toEqual([])
    await late.close()
    await over
  })
})
