import { expect, test } from 'vitest'
import { NOW } from '../../../test/fakes/mcp-endpoint.ts'
import { createMemoryUpstream, type MemoryUpstream } from '../../../test/fakes/memory-upstream.ts'
import { serverAccess } from '../../access/check.ts'
import { compileRoles } from '../../access/role-set.ts'
import { AppError } from '../../lib/errors.ts'
import { silentLogger } from '../../lib/log.ts'
import { type App, appSchema } from '../../resources/app.ts'
import type { Identity } from '../../resources/identity.ts'
import { roleSchema } from '../../resources/role.ts'
import { NO_SECRETS } from './headers.ts'
import { Servers, type ServersOptions } from './servers.ts'

function appOf(name: string, labels: Record<string, string> = { env: 'test' }, port = 1): App {
  return appSchema.parse({ kind: 'app', version: 'v3', metadata: { name, labels }, spec: { uri: `mcp+http://127.0.0.1:${port}` } })
}

function create(more: Partial<ServersOptions> = {}) {
  const changes: string[] = []
  const warnings: string[] = []
  const upstreams: MemoryUpstream[] = []
  const servers = new Servers({
    selectors: [{ env: 'test' }],
    fixed: [],
    createUpstream: (app) => {
      if (app.metadata.name === 'bad') throw new AppError('unimplemented', 'no such transport')
      upstreams.push(createMemoryUpstream())
      return upstreams.at(-1) ?? createMemoryUpstream()
    },
    tokens: { get: () => 'token' },
    labels: { run: () => Promise.resolve(''), after: () => () => {}, log: silentLogger },
    allowsCommands: false,
    secrets: NO_SECRETS,
    audit: {
      spool: {
        start: (uid) => ({ uid, line: '', place: -1 }),
        end: () => {},
        point: () => {},
        flushed: async () => {},
      },
      ids: { uuidv7: () => 'u', token: () => 'session' },
      now: () => NOW,
      monotonic: () => 0,
      cluster: 'c',
      redactor: { value: (value) => value },
    },
    log: { ...silentLogger, warn: (message) => void warnings.push(message) },
    onHealth: () => undefined,
    onChange: (name, served) => void changes.push(`${served ? '+' : '-'}${name}`),
    ...more,
  })
  return { servers, changes, warnings, upstreams }
}

const names = ({ servers }: ReturnType<typeof create>): string[] => servers.list().map(({ app }) => app.metadata.name)

test('an app that no selector matches is not served', () => {
  const made = create()
  made.servers.reconcile('a', appOf('a', { env: 'prod' }))
  made.servers.reconcile('b', undefined)
  expect(names(made)).toEqual([])
  expect(made.changes).toEqual([])
  const none = create({ selectors: [] })
  none.servers.reconcile('a', appOf('a'))
  expect(names(none)).toEqual([])
})

test('an app comes, changes and goes with its resource', () => {
  const made = create()
  made.servers.reconcile('a', appOf('a'))
  const first = made.servers.find('a')
  made.servers.reconcile('a', appOf('a'))
  expect(made.servers.find('a')).toBe(first)
  made.servers.reconcile('a', appOf('a', { env: 'test' }, 2))
  expect(made.servers.find('a')).not.toBe(first)
  made.servers.reconcile('a', appOf('a', { env: 'prod' }))
  made.servers.reconcile('a', appOf('a'))
  made.servers.reconcile('a', undefined)
  expect(made.changes).toEqual(['+a', '-a', '+a', '-a', '+a', '-a'])
})

test('a new revision alone disturbs nobody', () => {
  const made = create()
  made.servers.reconcile('a', appOf('a'))
  const app = appOf('a')
  made.servers.reconcile('a', { ...app, metadata: { ...app.metadata, revision: '2' } })
  expect(made.changes).toEqual(['+a'])
})

test('one app that cannot be served does not keep the others from it', () => {
  const made = create()
  made.servers.reconcile('bad', appOf('bad'))
  made.servers.reconcile('good', appOf('good'))
  expect(names(made)).toEqual(['good'])
  expect(made.warnings).toEqual(['MCP server cannot be served'])
})

test('an app of the configuration file is never replaced, whatever its labels', () => {
  const made = create({ fixed: [appOf('a', { env: 'prod' })] })
  const own = made.servers.find('a')
  made.servers.reconcile('a', appOf('a'))
  made.servers.reconcile('a', undefined)
  expect(made.servers.find('a')).toBe(own)
  expect(made.changes).toEqual(['+a'])
  expect(made.warnings).toEqual(['an app resource has the name of an app of the configuration file: ignored'])
})

test('the first of two static apps of one name stands', () => {
  const made = create({ fixed: [appOf('a'), appOf('a', {}, 2)] })
  expect(made.servers.find('a')?.app.spec.uri).toBe('mcp+http://127.0.0.1:1')
  expect(made.warnings).toEqual(['two apps of the configuration file have one name: the second is ignored'])
  expect(made.upstreams).toHaveLength(1)
})

test('no more sessions than the configuration says, and no more streams', async () => {
  const made = create({ limits: { sessions: 1, sessions_per_user: 1, idle_timeout: '10s' } })
  made.servers.reconcile('a', appOf('a'))
  const statuses: number[] = []
  const visit = (method: string, body: string, name: string): Promise<void> => {
    const identity: Identity = {
      kind: 'user',
      name,
      roles: ['r'],
      traits: {},
      credential: 'api_token',
      credentialId: name,
      expiresAt: NOW + 1000,
      mfaVerified: false,
    }
    const role = roleSchema.parse({
      kind: 'role',
      version: 'v8',
      metadata: { name: 'r' },
      spec: { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } },
    })
    const access = serverAccess(compileRoles([role], identity), { name: 'a', labels: {} }, { mfaVerified: false, requireMfa: false })
    const answer = {
      head: (status: number) => void statuses.push(status),
      write: () => true,
      drained: async () => {},
      end: () => {},
      abort: () => {},
    }
    const exchange = {
      method,
      path: '/mcp/apps/a',
      headers: { accept: 'text/event-stream' },
      body: Buffer.from(body),
      remoteAddress: '',
      signal: new AbortController().signal,
      answer,
    }
    const caller = { identity, assertion: 'a', access: () => access, reasonToLeave: () => undefined }
    return made.servers.find('a')?.door.serve(exchange, caller) ?? Promise.reject(new Error('not served'))
  }
  const opening = '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}'
  await visit('POST', opening, 'ana')
  await visit('POST', opening, 'bob')
  expect(statuses).toEqual([200, 429])
  const stream = visit('GET', '', 'ana')
  await expect(visit('GET', '', 'bob')).rejects.toMatchObject({ code: 'resource_exhausted' })
  await made.servers.close(new AppError('unavailable', 'over'))
  await stream
})

test('sessions of a server that is no longer served end with the reason', async () => {
  const made = create()
  made.servers.reconcile('a', appOf('a'))
  const endpoint = made.servers.find('a')?.endpoint
  const [upstream] = made.upstreams
  if (!endpoint || !upstream) throw new Error('not served')
  upstream.script = () => new Promise(() => undefined)
  const identity: Identity = {
    kind: 'user',
    name: 'ana',
    roles: ['r'],
    traits: {},
    credential: 'api_token',
    credentialId: 't',
    expiresAt: NOW + 1000,
    mfaVerified: false,
  }
  const role = roleSchema.parse({
    kind: 'role',
    version: 'v8',
    metadata: { name: 'r' },
    spec: { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } },
  })
  const access = serverAccess(compileRoles([role], identity), { name: 'a', labels: {} }, { mfaVerified: false, requireMfa: false })
  const ask = (text: string, headers: Record<string, string> = {}): Promise<string> =>
    new Promise((resolve) => {
      const answer = {
        head: () => {},
        write: () => true,
        drained: async () => {},
        end: (chunk?: Uint8Array) => resolve(String(chunk)),
        abort: resolve,
      }
      const exchange = {
        method: 'POST',
        path: '/mcp/apps/a',
        headers,
        body: Buffer.from(text),
        remoteAddress: '',
        signal: new AbortController().signal,
        answer,
      }
      void endpoint.serve(exchange, { identity, assertion: 'a', access: () => access, reasonToLeave: () => undefined })
    })
  await ask('{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}')
  const pending = ask('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}', { 'mcp-session-id': 'session' })
  await expect.poll(() => upstream.sent.length).toBe(2)
  made.servers.reconcile('a', appOf('a', { env: 'prod' }))
  expect(await pending).toContain('MCP server \\"a\\" is no longer served')
  await expect.poll(() => upstream.closed).toBe(1)
})

const COMMANDED = { dynamic_labels: { load: { command: ['load'], period: '1m' } } }

function commanded(name: string, origin: Record<string, string> = { env: 'test' }): App {
  const spec = { uri: 'mcp+http://127.0.0.1:1', ...COMMANDED }
  return appSchema.parse({ kind: 'app', version: 'v3', metadata: { name, labels: origin }, spec })
}

/** Commands that say what the test wants, when it wants it. */
function createCommands() {
  const waiting: (() => void)[] = []
  const said: (string | AppError)[] = []
  return {
    waiting,
    said,
    labels: {
      run: () => {
        const next = said.shift() ?? new AppError('unavailable', 'silent')
        return next instanceof AppError ? Promise.reject(next) : Promise.resolve(next)
      },
      after: (_ms: number, run: () => void) => {
        waiting.push(run)
        return () => void waiting.splice(waiting.indexOf(run), 1)
      },
      log: silentLogger,
    },
    /** Has the commands run that wait, and lets them end. */
    next: async (): Promise<void> => {
      for (const run of waiting.splice(0)) run()
      await new Promise((resolve) => setImmediate(resolve))
    },
  }
}

const loadOf = ({ servers }: ReturnType<typeof create>) => servers.find('a')?.app.spec.dynamic_labels?.['load']?.result

test('an app resource with commands is not served unless that is allowed', async () => {
  const refused = create()
  refused.servers.reconcile('a', commanded('a'))
  expect(names(refused)).toEqual([])
  expect(refused.warnings[0]).toContain('app_service.allow_dynamic_commands')
  const commands = createCommands()
  commands.said.push('high')
  const allowed = create({ labels: commands.labels, allowsCommands: true })
  allowed.servers.reconcile('a', commanded('a'))
  await commands.next()
  expect(names(allowed)).toEqual(['a'])
})

test('a server waits for the first result of its commands, keeps the last one when they fail, and is told of a new one', async () => {
  const commands = createCommands()
  commands.said.push(new AppError('unavailable', 'not yet'), 'low', new AppError('unavailable', 'broken'), 'high')
  const made = create({ labels: commands.labels, fixed: [commanded('a')] })
  await commands.next()
  expect(names(made)).toEqual([])
  await commands.next()
  expect(names(made)).toEqual(['a'])
  expect(loadOf(made)).toBe('low')
  await commands.next()
  expect(loadOf(made)).toBe('low')
  await commands.next()
  expect(loadOf(made)).toBe('high')
  expect(made.changes).toEqual(['+a', '+a'])
})

test('the commands of a server end with it, and a result that comes later changes nothing', async () => {
  const commands = createCommands()
  commands.said.push('low')
  const made = create({ labels: commands.labels, allowsCommands: true })
  made.servers.reconcile('a', commanded('a'))
  made.servers.reconcile('a', undefined)
  await commands.next()
  expect(names(made)).toEqual([])
  expect(commands.waiting).toEqual([])
})

test('what a command says never selects: the labels of the resource do', async () => {
  const commands = createCommands()
  commands.said.push('test')
  const made = create({ labels: commands.labels, allowsCommands: true, selectors: [{ load: 'test' }] })
  made.servers.reconcile('a', commanded('a'))
  await commands.next()
  expect(names(made)).toEqual([])
})
