import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { deleteResource } from '../../src/api/resources.ts'
import { type IdentityFile, parseIdentityFile } from '../../src/ca/identity-file.ts'
import { joinCluster } from '../../src/client/join.ts'
import { openTunnelSocket } from '../../src/client/tunnel-socket.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { within } from '../wait.ts'

// Who asks the proxy for the tunnel of an agent and may have none.

let cluster: Cluster

beforeAll(async () => {
  cluster = await startCluster({ file: { app_service: { enabled: 'no' } } })
})
afterAll(() => cluster.close())

const proxy = () => ({ host: '127.0.0.1', port: cluster.running.address.port })

/** Settles when the proxy has hung up. */
async function dial(identity: IdentityFile): Promise<void> {
  const socket = await openTunnelSocket({ proxy: proxy(), identity }, new AbortController().signal)
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

test('a locked host gets none, nor one that was removed', async () => {
  await cluster.save({ kind: 'token', version: 'v2', metadata: { name: 'agents-secret' }, spec: { roles: ['App'] } })
  const { identity } = await joinCluster(
    { proxy: proxy(), caPins: [], authorities: [] },
    { role: 'App', hostname: 'box', hostId: 'suspect' },
    { method: 'token', token: 'agents-secret' },
    { now: Date.now },
  )
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
