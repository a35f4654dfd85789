import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createApiToken } from '../../src/api/api-tokens.ts'
import { upsertResource } from '../../src/api/resources.ts'
import { acceptInvite, inviteUser } from '../../src/api/users.ts'
import { createAuthority } from '../../src/ca/authority.ts'
import { issueCertificate } from '../../src/ca/certificate.ts'
import { generateKeyPair, renderPrivateKey } from '../../src/ca/keys.ts'
import { type ApiClient, createApiClient } from '../../src/client/call.ts'
import { createLocalCarrier } from '../../src/client/local-carrier.ts'
import { silentLogger } from '../../src/lib/log.ts'
import { findSecret } from '../../src/storage/secrets.ts'
import { openStore } from '../../src/storage/store.ts'
import { PASSWORD } from '../cluster.ts'
import { type EchoHttp, startEchoHttp } from '../fakes/echo-http.ts'
import { POSTGRES_BIN, startPostgres, type TestPostgres } from '../fakes/postgres.ts'
import { bin, type Ended, runProgram, type Started, startProgram, temporaryDirectory } from '../programs.ts'
import { runTctl } from '../tctl.ts'
import { eventually, succeeds } from '../wait.ts'
import { openRawSession } from './raw-session.ts'

// `sallyport start` with its store in PostgreSQL, over TLS and by password, as an administrator would set it up.

const SECRET = 'geheim'
const authority = createAuthority('db', 'test', Date.now())

let directory: Awaited<ReturnType<typeof temporaryDirectory>>
let echo: EchoHttp
let postgres: TestPostgres
let api: ApiClient
const path = (name: string): string => join(directory.path, name)
const started: Started[] = []

beforeAll(async () => {
  if (POSTGRES_BIN === undefined) return
  directory = await temporaryDirectory()
  echo = await startEchoHttp()
  postgres = await startPostgres()
  await postgres.admin(`create role sallyport login password '${SECRET}'`)
  await postgres.admin('create database sallyport owner sallyport')
  await encrypt()
  await writeFile(path('ca.pem'), authority.certificatePem)
  await writeFile(path('password'), `${PASSWORD}\n`)
  await writeFile(path('conn'), `${connString(`sslmode=verify-full&sslrootcert=${path('ca.pem')}`)}\n`, { mode: 0o600 })
  await writeConfig('sallyport.yaml', 'conn_string_file: conn')
  api = createApiClient(createLocalCarrier(path('data')))
})
afterAll(async () => {
  for (const each of started) {
    each.kill('SIGKILL')
    await each.ended
  }
  await echo?.close()
  await postgres?.close()
  await directory?.dispose()
})

/** Gives the server a certificate for `localhost`, and lets nobody in by the network without TLS and password. */
async function encrypt(): Promise<void> {
  const server = await certify('localhost', 'server')
  await postgres.encrypt({
    ...server,
    clients: authority.certificatePem,
    rules: 'local all postgres trust\nhostssl all certified 127.0.0.1/32 cert\nhostssl all all 127.0.0.1/32 scram-sha-256\n',
  })
}

async function certify(commonName: string, usage: 'server' | 'client'): Promise<{ certificate: string; key: string }> {
  const pair = await generateKeyPair()
  const certificate = issueCertificate({
    subject: { commonName },
    publicKey: pair.publicKey,
    issuer: authority,
    notBefore: Date.now() - 60_000,
    notAfter: Date.now() + 3_600_000,
    usage,
    names: { dns: [commonName], ip: [] },
    serial: randomBytes(16),
  })
  return { certificate, key: renderPrivateKey(pair.privateKey) }
}

function connString(parameters: string, host = 'localhost'): string {
  return `postgresql://sallyport:${SECRET}@${host}:${postgres.port}/sallyport?${parameters}`
}

async function writeConfig(name: string, storage: string): Promise<string> {
  const text = `teleport:\n  storage:\n    type: postgresql\n    ${storage}\nproxy_service:\n  web_listen_addr: 127.0.0.1:0\n`
  await writeFile(path(name), text)
  return path(name)
}

/** Starts it on the same data as before; `HOST:PORT` of its door. */
async function start(): Promise<string> {
  const gateway = startProgram(bin('sallyport'), ['start', '-c', path('sallyport.yaml'), '--data-dir', path('data')])
  started.push(gateway)
  await gateway.saw('is up')
  return `127.0.0.1:${/listening on 127\.0\.0\.1:(\d+)/.exec(gateway.stdout())?.[1]}`
}

const tsh = (...args: string[]): Promise<Ended> => runProgram(bin('tsh'), args, { env: { SALLYPORT_TSH_HOME: path('tsh') } })
const tctl = (...args: string[]): Promise<string> => runTctl(path('data'), ...args)

/** Waits until calls with these texts are in the audit log. */
async function logHas(...texts: string[]): Promise<void> {
  const ask = async () => {
    const log = await tctl('audit', 'search', '--tool', 'echo', '--format', 'json')
    return texts.every((text) => log.includes(`"text": "${text}"`)) || undefined
  }
  await eventually(`${texts.join()} in the log`, ask, 40_000)
}

describe.skipIf(POSTGRES_BIN === undefined)('the store in PostgreSQL', () => {
  it('is not used when it is not the one that was meant, and nobody hears the password', async () => {
    const checks: [storage: string, says: string][] = [
      [`conn_string: ${connString('sslmod=require')}`, '4:18 teleport.storage.conn_string: has a parameter other than'],
      [`conn_string: ${SECRET}`, 'must have the form postgresql://USER@HOST/DATABASE'],
      ['conn_string_file: missing', `cannot read ${path('missing')}, which storage.conn_string_file names`],
      ['conn_string_file: password', `${path('password')}: the connection string must have the form`],
      ['path: /srv', 'teleport.storage.path: is for type: sqlite'],
    ]
    for (const [storage, says] of checks) {
      const ended = await runProgram(bin('sallyport'), ['config', 'check', await writeConfig('check.yaml', storage)])
      expect(ended).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining(says) })
      expect(ended.stderr).not.toContain(SECRET)
    }
    const starts: [conn: string, code: number, says: string][] = [
      [connString('sslmode=disable'), 4, 'refuses the user or password'],
      [connString('sslmode=verify-full&sslrootcert=system'), 4, 'the certificate of the database server is not trusted'],
      [connString(`sslrootcert=${path('ca.pem')}&sslmode=verify-full`, '127.0.0.1'), 4, 'not trusted (ERR_TLS_CERT_ALTNAME_INVALID)'],
      [connString('sslmode=require').replace(SECRET, `${SECRET}2`), 4, 'refuses the user or password'],
    ]
    for (const [conn, code, says] of starts) {
      const config = await writeConfig('start.yaml', `conn_string: ${conn}`)
      const ended = await runProgram(bin('sallyport'), ['start', '-c', config, '--data-dir', path('other')])
      expect(ended).toMatchObject({ code, stdout: '', stderr: expect.stringContaining(says) })
      expect(ended.stderr).not.toContain(SECRET)
    }
  }, 180_000)

  it('takes a certificate in place of a password', async () => {
    await postgres.admin('create role certified login')
    await postgres.admin('create schema certified authorization certified', 'sallyport')
    const { certificate, key } = await certify('certified', 'client')
    await writeFile(path('client.pem'), certificate)
    await writeFile(path('client.key'), key)
    const tls = `sslmode=verify-ca&sslrootcert=${path('ca.pem')}&sslcert=${path('client.pem')}&sslkey=${path('client.key')}`
    const at = `postgresql://certified@127.0.0.1:${postgres.port}/sallyport?${tls}`
    const db = await openStore({ type: 'postgresql', at }, silentLogger)
    expect(await findSecret(db, 'none')).toBeUndefined()
    await db.close()
    const another = at.replace('certified@', 'sallyport@')
    await expect(openStore({ type: 'postgresql', at: another }, silentLogger)).rejects.toThrow('refuses the user or password')
  })

  it('keeps resources, users and the audit log over a restart', async () => {
    const proxy = await start()
    await writeFile(path('app.yaml'), `kind: app\nversion: v3\nmetadata: {name: echo}\nspec: {uri: "mcp+${echo.url}"}\n`)
    const allow = "{app_labels: {'*': '*'}, mcp: {tools: ['*']}}"
    await writeFile(path('role.yaml'), `kind: role\nversion: v8\nmetadata: {name: dev}\nspec: {allow: ${allow}}\n`)
    await tctl('create', path('app.yaml'))
    await tctl('create', path('role.yaml'))
    const invited = await api(inviteUser, { name: 'ana', roles: ['dev'] })
    await api(acceptInvite, { token: invited.path.split('/').at(-1) ?? '', password: PASSWORD })
    const login = ['login', `--proxy=${proxy}`, '--user=ana', '--auth=local', `--password-file=${path('password')}`]
    expect(await tsh(...login)).toMatchObject({ code: 0, stdout: expect.stringContaining('Logged in as:       ana') })
    const first = await tsh('mcp', 'call', 'echo', 'echo', '{"text":"first"}')
    expect(first).toMatchObject({ code: 0, stdout: expect.stringContaining('first') })

    started.at(-1)?.kill('SIGTERM')
    expect(await started.at(-1)?.ended).toMatchObject({ code: 0 })
    const again = await start()
    expect(await tsh('login', `--proxy=${again}`, ...login.slice(2))).toMatchObject({ code: 0 })
    expect(await tsh('mcp', 'call', 'echo', 'echo', '{"text":"second"}')).toMatchObject({ code: 0 })
    await logHas('first', 'second')
    expect(await tctl('audit', 'verify')).toContain('events are intact')
    expect(
      await postgres.admin('select distinct usename, ssl from pg_stat_ssl join pg_stat_activity using (pid) where ssl', 'sallyport'),
    ).toEqual([{ usename: 'sallyport', ssl: true }])
  }, 180_000)

  it('while the database is away new callers are turned away, and what goes on is recorded later', async () => {
    const proxy = `127.0.0.1:${/listening on 127\.0\.0\.1:(\d+)/.exec(started.at(-1)?.stdout() ?? '')?.[1]}`
    const [{ token }, other] = [await api(createApiToken, { user: 'ana' }), await api(createApiToken, { user: 'ana' })]
    const url = new URL(`http://${proxy}/mcp/apps/echo`)
    const session = await openRawSession(url, token)
    await session.call('echo', { text: 'before' })
    await postgres.stop()
    expect(await session.call('echo', { text: 'during' })).toMatchObject({ status: 200 })
    await expect(openRawSession(url, other.token)).rejects.toThrow('no session: 503')
    await expect(
      api(upsertResource, { kind: 'role', name: 'x', resource: { kind: 'role', version: 'v8', metadata: { name: 'x' }, spec: {} } }),
    ).rejects.toMatchObject({
      code: 'unavailable',
    })
    await postgres.start()
    await succeeds('the store', () => api(createApiToken, { user: 'ana' }))
    await logHas('before', 'during')
    expect(await tctl('audit', 'verify')).toContain('events are intact')
    for (const each of started) expect(each.stdout() + each.stderr()).not.toContain(SECRET)
  }, 180_000)
})
