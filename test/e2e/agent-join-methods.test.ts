import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { whoami } from '../../src/api/identity.ts'
import { deleteResource } from '../../src/api/resources.ts'
import { type JoinSource, readJoinSource } from '../../src/client/join-source.ts'
import { silentLogger } from '../../src/lib/log.ts'
import { Enrolment } from '../../src/services/agent/enrolment.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { type Issuer, startIssuer } from '../fakes/issuer.ts'

// Agents that join without a secret of the cluster: by a key pair that never leaves them, or by an ID token.

let cluster: Cluster
let issuer: Issuer
let directory = ''
let env: Record<string, string> = {}
let told: unknown[] = []
const open: Enrolment[] = []

beforeAll(async () => {
  cluster = await startCluster({ file: { app_service: { enabled: 'no' } } })
  issuer = await startIssuer()
})
afterAll(async () => {
  await cluster.close()
  await issuer.close()
})
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'agent-join-'))
  env = {}
  told = []
})
afterEach(async () => {
  for (const enrolment of open.splice(0)) enrolment.close()
  await rm(directory, { recursive: true, force: true })
})

async function saveToken(name: string, method: string, settings: Record<string, unknown>): Promise<void> {
  await cluster.save({
    kind: 'token',
    version: 'v2',
    metadata: { name },
    spec: { roles: ['App'], join_method: method, [method]: settings },
  })
}

async function enrol(source: JoinSource): Promise<Enrolment> {
  const enrolment = await Enrolment.open(
    {
      directory,
      target: { proxy: { host: '127.0.0.1', port: cluster.running.address.port }, caPins: [] },
      role: 'App',
      hostname: 'build-7',
      version: '0.0.0',
      findProof: () => readJoinSource(source, env),
      now: Date.now,
      after: () => () => {},
      random: () => 0.5,
      log: { ...silentLogger, info: (...what) => void told.push(what) },
    },
    new AbortController().signal,
  )
  open.push(enrolment)
  return enrolment
}

test('a key pair registers with a secret once, and joins again without it as often as it may', async () => {
  await saveToken('by-key', 'bound_keypair', {
    onboarding: { registration_secret: 'a-registration-secret' },
    recovery: { limit: 2, mode: 'standard' },
  })
  const wrong = { method: 'bound_keypair', token: 'by-key', bound_keypair: { registration_secret: 'another-registration' } } as const
  await expect(enrol(wrong)).rejects.toThrow('this host has not joined yet, and joining was refused')
  const path = join(directory, 'secret')
  await writeFile(path, 'a-registration-secret\n')
  const first = await enrol({ method: 'bound_keypair', token: 'by-key', bound_keypair: { registration_secret_path: path } })
  expect(await first.api(whoami, {})).toMatchObject({ name: first.hostId, kind: 'host' })
  await rm(path)
  // Its certificate is lost, its key is not.
  const plain = { method: 'bound_keypair', token: 'by-key' } as const
  await rm(join(directory, 'host.json'))
  const second = await enrol(plain)
  expect(await second.api(whoami, {})).toMatchObject({ name: second.hostId, kind: 'host' })
  await rm(join(directory, 'host.json'))
  await expect(enrol(plain)).rejects.toThrow('joined as often as it may')
})

test('a key that the token names needs no secret, and the log says which it is', async () => {
  await saveToken('by-name', 'bound_keypair', { onboarding: { registration_secret: 'a-registration-secret' } })
  await expect(enrol({ method: 'bound_keypair', token: 'by-name' })).rejects.toThrow('joining was refused')
  const key = /-----BEGIN PUBLIC KEY-----[^-]*-----END PUBLIC KEY-----\\n/.exec(JSON.stringify(told))?.[0].replaceAll('\\n', '\n')
  await cluster.admin(deleteResource, { kind: 'token', name: 'by-name' })
  await saveToken('by-name', 'bound_keypair', { onboarding: { initial_public_key: key } })
  const host = await enrol({ method: 'bound_keypair', token: 'by-name' })
  expect(await host.api(whoami, {})).toMatchObject({ name: host.hostId })
})

test('an ID token of an issuer lets a workload in, read anew from its place', async () => {
  await saveToken('by-issuer', 'oidc', { issuer: issuer.url, allow: [{ sub: 'repo:acme/*' }] })
  env['CI_TOKEN'] = await issuer.sign({ aud: 'test', sub: 'repo:evil/app' })
  const source = { method: 'oidc', token: 'by-issuer', oidc: { token_env_var_name: 'CI_TOKEN' } } as const
  await expect(enrol(source)).rejects.toThrow('no allow rule of the join token fits this workload')
  env['CI_TOKEN'] = await issuer.sign({ aud: 'test', sub: 'repo:acme/app' })
  const host = await enrol(source)
  expect(await host.api(whoami, {})).toMatchObject({ name: host.hostId, kind: 'host' })
})

test('says where it looked for an ID token that is not there', async () => {
  await expect(enrol({ method: 'gitlab', token: 't' })).rejects.toThrow('the variable TBOT_GITLAB_JWT holds no ID token')
  await expect(enrol({ method: 'kubernetes', token: 't', kubernetes: { token_path: join(directory, 'sa') } })).rejects.toThrow(
    `the file ${join(directory, 'sa')} is missing`,
  )
})
