import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { chmodSync, chownSync, existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { freePort } from '../free-port.ts'
import { eventually } from '../wait.ts'

export interface TestPostgres {
  port: number
  /** Of its database `postgres`, as the superuser. */
  connString: string
  /** Runs statements as the superuser `postgres`, over a socket that nobody else has. */
  admin(sql: string, database?: string): Promise<Record<string, unknown>[]>
  /** Puts other lines into `pg_hba.conf`, or other files for TLS into place, and has them read. */
  configure(files: Partial<Record<'pg_hba.conf' | 'pg_ident.conf' | 'server.crt' | 'server.key' | 'clients.crt', string>>): Promise<void>
  /** Speaks TLS from now on: with this certificate, to those with a certificate of `clients` where the lines of `pg_hba.conf` ask for one. */
  encrypt(tls: { certificate: string; key: string; clients: string; rules: string }): Promise<void>
  /** Its log so far. */
  log(): string
  /** Ends the server, sessions and all; its data stay. */
  stop(): Promise<void>
  /** Starts it again at the same port. */
  start(): Promise<void>
  close(): Promise<void>
}

/** Directory of the programs of a PostgreSQL server on this machine; undefined where there is none. */
export const POSTGRES_BIN = findPrograms()

if (POSTGRES_BIN === undefined) console.warn('no PostgreSQL server on this machine (Debian: apt install postgresql): its tests are skipped')

/** Starts a server of its own on a free loopback port, with data that vanish at `close`. Passwords are SCRAM-SHA-256. */
export async function startPostgres(settings: readonly string[] = []): Promise<TestPostgres> {
  const bin = POSTGRES_BIN ?? ''
  const account = unprivileged()
  const directory = await mkdtemp(join(tmpdir(), 'sallyport-pg-'))
  const data = join(directory, 'data')
  await mkdir(data, { mode: 0o700 })
  own(directory, account)
  own(data, account)
  execFileSync(join(bin, 'initdb'), ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync', '-n'], {
    ...account,
    cwd: directory,
    stdio: 'pipe',
  })
  const port = await freePort()
  const conf = [`port = ${port}`, "listen_addresses = '127.0.0.1'", `unix_socket_directories = '${directory}'`, 'fsync = off', ...settings]
  await writeFile(join(data, 'postgresql.auto.conf'), `${conf.join('\n')}\n`)
  const log: string[] = []
  const launch = (): ChildProcess => {
    const child = spawn(join(bin, 'postgres'), ['-D', data], { ...account, cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => void log.push(chunk.toString()))
    return child
  }
  let server = launch()
  const admin = async (sql: string, database = 'postgres'): Promise<Record<string, unknown>[]> => {
    const client = new Client({ host: directory, port, user: 'postgres', database })
    await client.connect()
    try {
      const result = await client.query(sql)
      return Array.isArray(result) ? [] : result.rows
    } finally {
      await client.end()
    }
  }
  const listening = () =>
    eventually('PostgreSQL', async () => {
      if (server.exitCode !== null) throw new Error(`PostgreSQL ended with ${server.exitCode}: ${log.join('')}`)
      return (await admin('SELECT 1').catch(() => undefined)) !== undefined || undefined
    })
  await listening()
  const configure: TestPostgres['configure'] = async (files) => {
    for (const [name, text] of Object.entries(files)) {
      await writeFile(join(data, name), text, { mode: 0o600 })
      own(join(data, name), account)
      chmodSync(join(data, name), 0o600)
    }
    await admin('SELECT pg_reload_conf()')
  }
  return {
    port,
    connString: `postgresql://postgres@127.0.0.1:${port}/postgres`,
    admin,
    configure,
    encrypt: async ({ certificate, key, clients, rules }) => {
      await configure({ 'server.crt': certificate, 'server.key': key, 'clients.crt': clients, 'pg_hba.conf': rules })
      await admin("ALTER SYSTEM SET ssl_ca_file = 'clients.crt'")
      await admin('ALTER SYSTEM SET ssl = on')
      await admin('SELECT pg_reload_conf()')
      await eventually('TLS', async () => ((await admin('SHOW ssl'))[0]?.['ssl'] === 'on' ? true : undefined))
    },
    log: () => log.join(''),
    stop: () => stop(server),
    start: async () => {
      server = launch()
      await listening()
    },
    close: async () => {
      await stop(server)
      await rm(directory, { recursive: true, force: true })
    },
  }
}

function findPrograms(): string | undefined {
  const debian = '/usr/lib/postgresql'
  const versions = existsSync(debian) ? readdirSync(debian).toSorted((a, b) => Number(b) - Number(a)) : []
  const places = [...versions.map((version) => join(debian, version, 'bin')), ...(process.env['PATH'] ?? '').split(':')]
  return places.find((place) => existsSync(join(place, 'initdb')) && existsSync(join(place, 'postgres')))
}

/** PostgreSQL refuses to run as root. */
function unprivileged(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {}
  const accounts = new Map(
    readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .map((line) => line.split(':'))
      .map(([name, , uid, gid]) => [name, { uid: Number(uid), gid: Number(gid) }]),
  )
  return accounts.get('postgres') ?? accounts.get('nobody') ?? {}
}

function own(path: string, { uid, gid }: { uid?: number; gid?: number }): void {
  if (uid !== undefined && gid !== undefined) chownSync(path, uid, gid)
}

/** SIGINT is "fast shutdown": sessions are ended. */
async function stop(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return
  const exited = new Promise((resolve) => server.once('exit', resolve))
  server.kill('SIGINT')
  await exited
}
