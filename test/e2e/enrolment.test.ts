import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { whoami } from '../../src/api/identity.ts'
import { deleteResource } from '../../src/api/resources.ts'
import { silentLogger } from '../../src/lib/log.ts'
import { Enrolment, type EnrolmentOptions } from '../../src/services/agent/enrolment.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { eventually } from '../wait.ts'

const HOUR = 3_600_000

let cluster: Cluster
let directory = ''
let skew = 0
let waiting: (() => void)[] = []
const open: Enrolment[] = []

beforeAll(async () => {
  cluster = await startCluster({ file: { app_service: { enabled: 'no' } } })
})
afterAll(() => cluster.close())
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'enrolment-'))
  skew = 0
  waiting = []
  await cluster.save({ kind: 'token', version: 'v2', metadata: { name: 'a-token' }, spec: { roles: ['App'] } })
})
afterEach(async () => {
  for (const enrolment of open.splice(0)) enrolment.close()
  await rm(directory, { recursive: true, force: true })
})

async function enrol(more: Partial<EnrolmentOptions> = {}): Promise<Enrolment> {
  const enrolment = await Enrolment.open(
    {
      directory,
      target: { proxy: { host: '127.0.0.1', port: cluster.running.address.port }, caPins: [] },
      role: 'App',
      hostname: 'build-7',
      version: '0.0.0',
      findProof: () => Promise.resolve({ method: 'token', token: 'a-token' }),
      now: () => Date.now() + skew,
      after: (_ms, run) => {
        waiting.push(run)
        return () => {}
      },
      random: () => 0.5,
      log: silentLogger,
      ...more,
    },
    new AbortController().signal,
  )
  open.push(enrolment)
  return enrolment
}

/** Has everything run that waits for a time. */
async function pass(ms: number): Promise<void> {
  skew += ms
  for (const run of waiting.splice(0)) run()
  await eventually('the next wait', () => waiting.length > 0 || undefined)
}

const serial = async (enrolment: Enrolment): Promise<string> => (await enrolment.api(whoami, {})).credential_id

test('without a token it says what to do, and an unknown token is refused for good', async () => {
  await expect(enrol({ findProof: () => Promise.resolve(undefined) })).rejects.toMatchObject({
    code: 'failed_precondition',
    message: expect.stringContaining('tctl tokens add --type=app'),
  })
  await expect(enrol({ findProof: () => Promise.resolve({ method: 'token', token: 'nope' }) })).rejects.toMatchObject({
    code: 'permission_denied',
    message: expect.stringContaining('this host has not joined yet, and joining was refused'),
  })
  await writeFile(join(directory, 'host.json'), '{"host_id": 1}')
  await expect(enrol()).rejects.toThrow('host.json is damaged: remove it')
})

test('a host that joined stays who it is, without a token, and nobody else reads its key', async () => {
  const first = await enrol()
  const file = join(directory, 'host.json')
  expect((await stat(file)).mode & 0o777).toBe(0o600)
  expect(await readFile(file, 'utf8')).toContain('PRIVATE KEY')
  await cluster.admin(deleteResource, { kind: 'token', name: 'a-token' }).catch(() => undefined)
  await cluster.save({ kind: 'token', version: 'v2', metadata: { name: 'a-token' }, spec: { roles: ['App'] } })
  const second = await enrol({ findProof: () => Promise.resolve(undefined) })
  expect(second.hostId).toBe(first.hostId)
  expect(second.clusterName).toBe('test')
})

test('its certificate is renewed when a third of it is left, once, and calls go on with the new one', async () => {
  const enrolment = await enrol()
  const before = await serial(enrolment)
  await pass(15 * HOUR)
  expect(await serial(enrolment)).toBe(before)
  await pass(2 * HOUR)
  await eventually('another certificate', async () => (await serial(enrolment)) !== before || undefined)
  const renewed = await serial(enrolment)
  await pass(HOUR)
  expect(await serial(enrolment)).toBe(renewed)
})

test('one that ran out while the host was off is replaced by joining again under the same id, or it says why not', async () => {
  const first = await enrol()
  const before = await serial(first)
  skew = 25 * HOUR
  await expect(enrol({ findProof: () => Promise.resolve({ method: 'token', token: 'nope' }) })).rejects.toThrow(
    /the certificate of this host expired at .*, and joining was refused: .*tctl tokens add/,
  )
  skew = 0
  const state: Record<string, unknown> = JSON.parse(await readFile(join(directory, 'host.json'), 'utf8'))
  await writeFile(join(directory, 'host.json'), JSON.stringify({ ...state, expires_at: Date.now() - 1 }))
  const again = await enrol()
  expect(again.hostId).toBe(first.hostId)
  expect(await serial(again)).not.toBe(before)
  await expect(serial(first)).rejects.toThrow('has joined anew since')
})
