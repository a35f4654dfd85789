import { expect, test } from 'vitest'
import { appSchema } from './app.ts'

function faultsOf(mcp: unknown, uri?: string): string[] {
  const spec = { ...(uri && { uri }), mcp }
  const parsed = appSchema.safeParse({ kind: 'app', version: 'v3', metadata: { name: 'tools' }, spec })
  return (parsed.error?.issues ?? []).map(({ path, message }) => `${path.slice(2).join('.')}: ${message}`)
}

function hosted(fields: unknown): string[] {
  return faultsOf({ command: 'tools', run_as_host_user: 'bob', ...Object(fields) })
}

const WRONG: [unknown, string][] = [
  [{ env: { LD_PRELOAD: '/x.so' } }, 'env.LD_PRELOAD: may not be set: it would change the programs that start the server'],
  [{ env: { 'A-B': '1' } }, 'env.A-B: is no name of an environment variable (letters, digits and _)'],
  [{ env: { A: 'x\0' } }, 'env.A: has a value with a NUL character'],
  [{ env: { A: 'x'.repeat(32_769) } }, 'env.A: has a value of more than 32768 characters'],
  [{ env_from: [{ file: 'secrets' }] }, 'env_from.0.file: must be an absolute path'],
  [{ cwd: '/a/../b' }, 'cwd: must not contain ..'],
  [{ limits: { memory: '10KB' } }, 'limits.memory: must be a size from 1MiB to 1024GiB, such as 512MiB'],
  [{ limits: { wall_time: '10' } }, 'limits.wall_time: must be a duration from 1s to 30d'],
  [{ sandbox: {} }, 'sandbox: needs confinement: sandbox'],
  [{ confinement: 'sandbox', sandbox: { writable: ['/proc/sys'] } }, 'sandbox.writable.0: must not be /, or lie in /proc, /sys or /dev'],
  [{ confinement: 'sandbox', sandbox: { writable: ['//'] } }, 'sandbox.writable.0: must not be /, or lie in /proc, /sys or /dev'],
  [{ restart: 'always' }, 'restart: is for lifecycle: shared; a process of one session ends with it'],
  [{ lifecycle: 'shared', warm: 2 }, 'warm: is for lifecycle: per_session; a shared server has one process: use restart: always'],
  [{ lifecycle: 'shared', restart: 'always', idle_stop: '1m' }, 'idle_stop: contradicts restart: always'],
]

test.each(WRONG)('%j is refused', (fields, fault) => expect(hosted(fields)).toEqual([fault]))

test('servers that the agent does not start have none of it', () => {
  expect(faultsOf({ confinement: 'process' }, 'mcp+http://localhost/mcp')).toEqual([
    'confinement: is for servers that the agent starts by a command',
  ])
  expect(faultsOf({ env: {} }, 'mcp+stdio://teleport-mcp-demo')).toEqual(['env: is for servers that the agent starts by a command'])
})

test('a server with all of it', () => {
  const limits = { memory: '512MiB', processes: 64, open_files: 1024, wall_time: '8h', cpu_time: '1h' }
  const sandbox = { writable: ['/srv/data'], readable: ['/srv'], network: true }
  const fields = { env: { PATH: '/usr/bin' }, env_from: [{ file: '/etc/tools.env' }], cwd: '/srv', warm: 2, idle_stop: '10m', limits }
  expect(hosted({ ...fields, lifecycle: 'per_session', confinement: 'sandbox', sandbox, health_check: 'off' })).toEqual([])
  expect(hosted({ lifecycle: 'shared', restart: 'never', confinement: 'process' })).toEqual([])
})
