import { expect, test } from 'vitest'
import { NOW } from '../../../test/fakes/mcp-endpoint.ts'
import type { AuditEvent } from '../../audit/event.ts'
import { AppError } from '../../lib/errors.ts'
import { silentLogger } from '../../lib/log.ts'
import type { Exchange } from '../../tunnel/exchange.ts'
import { Locked } from './callers.ts'
import { Refusals } from './refusals.ts'

function create() {
  const events: AuditEvent[] = []
  const warnings: unknown[] = []
  const clock = { monotonic: 0, isFull: false }
  const flushed = async (): Promise<void> => {
    if (clock.isFull) throw new AppError('resource_exhausted', 'full')
  }
  const spool = {
    start: (uid: string) => ({ uid, line: '', place: -1 }),
    end: () => {},
    point: (event: AuditEvent) => void events.push(event),
    flushed,
  }
  const audit = {
    spool,
    ids: { uuidv7: () => 'u', token: () => 't' },
    now: () => NOW,
    monotonic: () => clock.monotonic,
    cluster: 'c',
    redactor: { value: (value: unknown) => value },
  }
  const refusals = new Refusals(audit, { ...silentLogger, warn: (_, fields) => void warnings.push(fields) })
  return { refusals, events, warnings, clock }
}

const answer = { head: () => {}, write: () => true, drained: async () => {}, end: () => {}, abort: () => {} }
const exchange: Exchange = {
  method: 'POST',
  path: '/mcp/apps/tools',
  headers: {},
  body: Buffer.from('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"rm"}}'),
  remoteAddress: '10.0.0.1',
  signal: new AbortController().signal,
  answer,
  server: 'tools',
  assertion: 'a.b.c',
}
const forged = new AppError('unauthenticated', 'forged')

test('a stranger leaves an event without a name, of the request or of what was sent instead', async () => {
  const { refusals, events } = create()
  await refusals.record(exchange, undefined, forged)
  await refusals.record({ ...exchange, method: 'GET', body: Buffer.alloc(0) }, undefined, forged)
  expect(events).toMatchObject([
    {
      event: 'mcp.session.request',
      code: 'TMCP003E',
      server: 'tools',
      error: 'forged',
      remote_addr: '10.0.0.1',
      message: { id: 'int64:1' },
    },
    { event: 'mcp.session.invalid_http_request', code: 'TMCP006E', method: 'GET', path: '/mcp/apps/tools' },
  ])
  expect(events[0]).not.toHaveProperty('user')
})

test('strangers cannot fill the audit log, and are counted', async () => {
  const { refusals, events, warnings, clock } = create()
  for (let n = 0; n < 1000; n++) await refusals.record(exchange, undefined, forged)
  expect(events).toHaveLength(120)
  clock.monotonic = 60_000
  await refusals.record(exchange, undefined, forged)
  expect(events).toHaveLength(121)
  expect(warnings).toEqual([{ count: 880 }])
})

test('who is locked is named, and never left out', async () => {
  const { refusals, events } = create()
  const identity = {
    kind: 'user' as const,
    name: 'ana',
    roles: [],
    traits: {},
    credential: 'api_token' as const,
    credentialId: 'T',
    expiresAt: 1,
    mfaVerified: false,
  }
  for (let n = 0; n < 200; n++) await refusals.record(exchange, undefined, new Locked('lock in force', identity))
  expect(events).toHaveLength(200)
  expect(events[199]).toMatchObject({ user: 'ana', outcome: 'denied', decision: { kind: 'lock', allow: false } })
})

test('a full journal does not undo a refusal', async () => {
  const { refusals, clock, warnings } = create()
  clock.isFull = true
  await refusals.record(exchange, undefined, forged)
  expect(warnings).toHaveLength(1)
})
