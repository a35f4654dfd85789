import { serverAccess } from '../../src/access/check.ts'
import { compileRoles } from '../../src/access/role-set.ts'
import { settleEvent } from '../../src/audit/build-event.ts'
import type { AuditEvent } from '../../src/audit/event.ts'
import type { Recording } from '../../src/audit/spool.ts'
import { AppError, type Origin } from '../../src/lib/errors.ts'
import type { HttpExchange } from '../../src/lib/http-exchange.ts'
import { silentLogger } from '../../src/lib/log.ts'
import type { Caller } from '../../src/mcp/caller.ts'
import type { ConversationLimits } from '../../src/mcp/conversations.ts'
import { McpEndpoint } from '../../src/mcp/endpoint.ts'
import type { CallOutcome, ServerMetrics } from '../../src/mcp/metrics.ts'
import { appSchema } from '../../src/resources/app.ts'
import type { Identity } from '../../src/resources/identity.ts'
import { roleSchema } from '../../src/resources/role.ts'
import { createMemoryUpstream, type MemoryUpstream } from './memory-upstream.ts'

export const NOW = Date.parse('2027-01-01T00:00:00Z')

/** What `role.spec` allows and denies about MCP. */
export interface Rules {
  allow?: { tools?: string[]; resources?: string[]; prompts?: string[]; methods?: string[] }
  deny?: { tools?: string[]; resources?: string[]; prompts?: string[]; methods?: string[] }
}

/** An answer on its way. */
export interface Answered {
  status: number
  headers: Record<string, string>
  /** What was written so far. */
  text: string
  /** Settles when the answer is over: with `aborted` when it was broken off. */
  ended: Promise<'ended' | 'aborted'>
  /** Settles with the first byte. */
  begun: Promise<void>
  /** Settles when the endpoint is done with the request. */
  served: Promise<void>
  /** The client goes away. */
  leave(): void
}

export interface Fixture {
  endpoint: McpEndpoint
  upstream: MemoryUpstream
  clock: { now: number; monotonic: number }
  /** Point events, and the ends of calls merged with their starts. */
  events: AuditEvent[]
  /** How requests ended, as the metrics are told: outcome and whose failure it was, oldest first. */
  counted: [CallOutcome, Origin | undefined][]
  /** While `isFull` the journal takes nothing; every write waits for `gate`. */
  journal: MemoryJournal
  caller(name?: string, more?: Partial<Identity>): Caller
  /** Why every caller has to leave, once it is set. */
  standing: { reason: string | undefined }
  /** Replaces the rules of everybody. */
  rule(rules: Rules): void
  send(request: Partial<HttpExchange> & { text?: string }, caller?: Caller): Answered
  /** Sends and waits for the end. */
  ask(request: Partial<HttpExchange> & { text?: string }, caller?: Caller): Promise<Answered>
  /** Opens a legacy session and gives its id. */
  open(caller?: Caller, revision?: string): Promise<string>
  /** A request of a session. */
  call(session: string, message: string, caller?: Caller): Promise<Answered>
}

/** An MCP endpoint in front of a server in memory, with a clock and a journal in the hands of the test. */
export function createFixture(rules: Rules = { allow: { tools: ['get_*', 'echo'] } }, limits: Partial<ConversationLimits> = {}): Fixture {
  const clock = { now: NOW, monotonic: 0 }
  const standing: Fixture['standing'] = { reason: undefined }
  const upstream = createMemoryUpstream()
  const { spool, events, journal } = createMemorySpool()
  const counted: Fixture['counted'] = []
  const metrics: ServerMetrics = {
    opened: () => undefined,
    closed: () => undefined,
    ended: (_method, outcome, _bytes, _seconds, origin) => void counted.push([outcome, origin]),
    denied: () => undefined,
  }
  let tokens = 0
  const app = appSchema.parse({
    kind: 'app',
    version: 'v3',
    metadata: { name: 'tools', labels: { env: 'test' } },
    spec: { uri: 'mcp+http://127.0.0.1:1/mcp' },
  })
  let role = roleOf(rules)
  const endpoint = new McpEndpoint({
    app,
    upstream,
    limits,
    log: silentLogger,
    ownHeaders: () => ({}),
    audit: {
      spool,
      metrics: { of: () => metrics },
      cluster: 'test',
      now: () => clock.now,
      monotonic: () => clock.monotonic,
      ids: { uuidv7: () => `uid-${++tokens}`, token: () => `session-${++tokens}` },
      redactor: { value: (value) => value },
    },
  })
  const fixture: Fixture = {
    endpoint,
    upstream,
    clock,
    events,
    counted,
    journal,
    standing,
    rule: (changed) => (role = roleOf(changed)),
    caller: (name = 'ana', more = {}) => {
      const identity: Identity = {
        kind: 'user',
        name,
        roles: ['tester'],
        traits: {},
        credential: 'api_token',
        credentialId: `${name}-1`,
        expiresAt: NOW + 3_600_000,
        mfaVerified: false,
        ...more,
      }
      const view = { name: 'tools', labels: { env: 'test' } }
      return {
        identity,
        assertion: 'assertion',
        access: () => serverAccess(compileRoles([role], identity), view, { mfaVerified: false, requireMfa: false }),
        reasonToLeave: () => standing.reason,
      }
    },
    send: (request, caller = fixture.caller()) => serve(endpoint, request, caller),
    ask: async (request, caller) => {
      const answered = fixture.send(request, caller)
      await Promise.all([answered.ended, answered.served])
      return answered
    },
    open: async (caller, revision = '2025-11-25') => {
      const text = `{"jsonrpc":"2.0","id":"init","method":"initialize","params":{"protocolVersion":"${revision}","clientInfo":{"name":"test","version":"1"}}}`
      return (await fixture.ask({ text }, caller)).headers['mcp-session-id'] ?? ''
    },
    call: (session, text, caller) => fixture.ask({ text, headers: { 'mcp-session-id': session } }, caller),
  }
  return fixture
}

function roleOf({ allow, deny }: Rules) {
  const labels = { app_labels: { env: 'test' } }
  return roleSchema.parse({
    kind: 'role',
    version: 'v8',
    metadata: { name: 'tester' },
    spec: { allow: { ...labels, mcp: allow ?? {} }, ...(deny && { deny: { mcp: deny } }) },
  })
}

function serve(endpoint: McpEndpoint, { text, ...request }: Partial<HttpExchange> & { text?: string }, caller: Caller): Answered {
  const gone = new AbortController()
  const ended = Promise.withResolvers<'ended' | 'aborted'>()
  const begun = Promise.withResolvers<void>()
  const answered: Answered = {
    status: 0,
    headers: {},
    text: '',
    ended: ended.promise,
    begun: begun.promise,
    served: Promise.resolve(),
    leave: () => gone.abort(),
  }
  const take = (chunk: Uint8Array): void => {
    answered.text += Buffer.from(chunk).toString('utf8')
    begun.resolve()
  }
  answered.served = endpoint.serve(
    {
      method: 'POST',
      path: '/mcp/apps/tools',
      headers: {},
      body: Buffer.from(text ?? ''),
      remoteAddress: '127.0.0.1',
      signal: gone.signal,
      answer: {
        head: (status, headers) => {
          answered.status = status
          answered.headers = { ...headers }
        },
        write: (chunk) => {
          take(chunk)
          return true
        },
        drained: () => Promise.resolve(),
        end: (chunk) => {
          if (chunk) take(chunk)
          ended.resolve('ended')
        },
        abort: () => ended.resolve('aborted'),
      },
      ...request,
    },
    caller,
  )
  return answered
}

interface MemoryJournal {
  isFull: boolean
  gate: Promise<void>
}

/** A journal in memory that refuses when told to. */
function createMemorySpool(): { spool: Recording; events: AuditEvent[]; journal: MemoryJournal } {
  const events: AuditEvent[] = []
  const begun = new Map<string, AuditEvent>()
  const journal: MemoryJournal = { isFull: false, gate: Promise.resolve() }
  const spool: Recording = {
    start: (uid, text) => {
      begun.set(uid, JSON.parse(text))
      return { uid, line: text, place: -1 }
    },
    end: ({ uid }, text) => {
      const event = begun.get(uid)
      if (event) events.push(settleEvent({ ...event, ...JSON.parse(text) }))
      begun.delete(uid)
    },
    point: (event) => void events.push(event),
    flushed: async () => {
      await journal.gate
      if (journal.isFull) throw new AppError('resource_exhausted', 'the audit journal is full')
    },
  }
  return { spool, events, journal }
}
