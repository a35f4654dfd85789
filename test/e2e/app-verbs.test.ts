import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { deleteResource, listResources } from '../../src/api/resources.ts'
import { main } from '../../src/cli/tctl/main.ts'
import type { Identity } from '../../src/resources/identity.ts'
import { type Cluster, startCluster } from '../cluster.ts'

// Which verb of a role's rule on `app` each command needs, and that every refusal is in the audit log.

const APP = 'kind: app\nversion: v3\nmetadata: {name: everything, labels: {env: dev}}\nspec: {uri: "mcp+http://127.0.0.1:1/mcp"}\n'
const VERBS = ['list', 'create', 'read', 'update', 'delete']

let cluster: Cluster
let folder = ''
let file = ''

beforeAll(async () => {
  cluster = await startCluster()
  folder = await mkdtemp(join(tmpdir(), 'app-verbs-'))
  file = join(folder, 'mcp_server.yaml')
  await writeFile(file, APP)
})
afterAll(async () => {
  await cluster.close()
  await rm(folder, { recursive: true, force: true })
})

const identity: Identity = {
  kind: 'user',
  name: 'ana',
  roles: ['manager'],
  traits: {},
  credential: 'certificate',
  credentialId: '01',
  expiresAt: Date.now() + 3_600_000,
  mfaVerified: false,
}

beforeEach(async () => {
  const { items } = await cluster.admin(listResources, { kind: 'app' })
  for (const { metadata } of items) await cluster.admin(deleteResource, { kind: 'app', name: metadata.name })
})

async function tctl(...argv: string[]): Promise<{ code: number; err: string }> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  let err = ''
  stdout.resume()
  stderr.on('data', (chunk) => (err += String(chunk)))
  const carrier = cluster.running.auth.carrier(identity)
  const code = await main(argv, { stdin: Readable.from([]), stdout, stderr, isTTY: false, env: {}, carrier })
  return { code, err }
}

const grant = (...verbs: string[]) => cluster.saveRole('manager', { allow: { rules: [{ resources: ['app'], verbs }] } })
const register = () => cluster.saveHttpApp('everything', 'http://127.0.0.1:1/mcp')
const denials = async (): Promise<unknown[]> =>
  (await cluster.events({ type: 'access.denied', user: 'ana' })).map(({ verb, kind }) => `${String(verb)} ${String(kind)}`)

test.each([
  { command: () => ['create', file], needs: ['create'], lacks: 'create', isThere: false },
  { command: () => ['create', '-f', file], needs: ['update', 'create'], lacks: 'create', isThere: false },
  { command: () => ['create', '-f', file], needs: ['update'], lacks: 'update', isThere: true },
  { command: () => ['get', 'apps'], needs: ['list', 'read'], lacks: 'list', isThere: true },
  { command: () => ['get', 'app/everything'], needs: ['read'], lacks: 'readnosecrets', isThere: true },
  { command: () => ['rm', 'app/everything'], needs: ['delete'], lacks: 'delete', isThere: true },
])('tctl $command needs $needs', async ({ command, needs, lacks, isThere }) => {
  if (isThere) await register()
  await grant(...VERBS.filter((verb) => verb !== lacks && !(lacks === 'readnosecrets' && verb === 'read')))
  const before = await denials()
  const { code, err } = await tctl(...command())
  expect([code, err]).toEqual([5, expect.stringContaining(`access denied to perform action "${lacks}" on "app"`)])
  expect((await denials()).slice(before.length)).toEqual([`${lacks} app`])
  await grant(...needs)
  expect(await tctl(...command())).toEqual({ code: 0, err: '' })
})

test('a deny rule wins over the same verbs, and a role on app opens no other kind', async () => {
  await register()
  await cluster.saveRole('manager', {
    allow: { rules: [{ resources: ['app'], verbs: VERBS }] },
    deny: { rules: [{ resources: ['app'], verbs: ['delete'] }] },
  })
  expect((await tctl('rm', 'app/everything')).code).toBe(5)
  expect((await tctl('get', 'roles')).code).toBe(5)
  expect((await denials()).slice(-2)).toEqual(['delete app', 'list role'])
})
