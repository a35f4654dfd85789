import type { HttpExchange } from '../../lib/http-exchange.ts'
import { silentLogger } from '../../lib/log.ts'
import { createSseParser, frameSse } from '../../lib/sse.ts'
import { AggregateEndpoint } from './endpoint.ts'
import type { AggregateLimits } from './limits.ts'
import type { SessionShelf } from './session-shelf.ts'
import type { Timers } from '../../lib/timers.ts'
import type { Member, NamedTarget, View } from './view.ts'

export const NOW = Date.parse('2027-01-01T00:00:00Z')
export const MODERN = '2026-07-28'

/** What a test looks into without knowing its shape. */
type Json = Parameters<typeof JSON.stringify>[0]

/** One request as a fake member got it, and the means to answer it. */
export interface Call {
  method: string
  headers: Readonly<Record<string, string>>
  text: string
  message: Json
  signal: AbortSignal
  exchange: HttpExchange
  result(value: unknown): void
  /** Answers as a stream of these messages. */
  events(...messages: unknown[]): void
}

/** An MCP server in memory. `on` scripts methods; without a script a list is what `lists` has, and all else is `{}`. */
export interface FakeMember extends Member {
  calls: Call[]
  on: Record<string, (call: Call) => void>
  lists: { tools: unknown[]; prompts: unknown[]; resources: unknown[]; resourceTemplates: unknown[] }
  capabilities: Record<string, unknown>
  /** Sends an event on the open GET stream. */
  emit(message: unknown, id?: string): void
  /** Session ids that the server has forgotten. */
  forgotten: Set<string>
  sessions: number
  methods(): string[]
}

export function fakeMember(name: string, tools: (string | Record<string, unknown>)[] = []): FakeMember {
  let listener: HttpExchange | undefined
  const member: FakeMember = {
    name,
    calls: [],
    on: {},
    lists: {
      tools: tools.map((tool) => (typeof tool === 'string' ? toolNamed(tool) : tool)),
      prompts: [],
      resources: [],
      resourceTemplates: [],
    },
    capabilities: { tools: {}, prompts: {}, resources: { subscribe: true }, logging: {}, completions: {}, tasks: {} },
    forgotten: new Set(),
    sessions: 0,
    methods: () => member.calls.map(({ message, method }) => message.method ?? method),
    emit: (message, id) => {
      const data = typeof message === 'string' ? message : JSON.stringify(message)
      listener?.answer.write(frameSse({ data, ...(id !== undefined && { id }) }))
    },
    serve: (exchange) => {
      const text = exchange.body.toString('utf8')
      const message = text === '' ? {} : JSON.parse(text)
      const call: Call = {
        method: exchange.method,
        headers: exchange.headers,
        text,
        message,
        signal: exchange.signal,
        exchange,
        result: (value) => json(exchange, 200, { jsonrpc: '2.0', id: message.id, result: value }),
        events: (...messages) => {
          exchange.answer.head(200, { 'content-type': 'text/event-stream' })
          for (const one of messages) exchange.answer.write(frameSse({ data: JSON.stringify(one) }))
          exchange.answer.end()
        },
      }
      member.calls.push(call)
      const session = exchange.headers['mcp-session-id']
      if (session !== undefined && member.forgotten.has(session))
        return json(exchange, 404, { jsonrpc: '2.0', id: null, error: { code: -32001, message: 'unknown' } })
      const script = member.on[message.method ?? exchange.method]
      if (script) return script(call)
      if (exchange.method === 'GET') {
        listener = exchange
        exchange.answer.head(200, { 'content-type': 'text/event-stream' })
        return exchange.answer.write(Buffer.from(': open\n\n')) && undefined
      }
      if (exchange.method === 'DELETE' || message.id === undefined || message.method === undefined) return json(exchange, 202, undefined)
      if (message.method === 'initialize') {
        const id = `${name}-${++member.sessions}`
        const result = {
          protocolVersion: message.params.protocolVersion,
          capabilities: member.capabilities,
          serverInfo: { name, version: '1' },
          instructions: `say ${name}`,
        }
        return json(exchange, 200, { jsonrpc: '2.0', id: message.id, result }, { 'mcp-session-id': id })
      }
      const list: unknown = Object.entries({
        'tools/list': 'tools',
        'prompts/list': 'prompts',
        'resources/list': 'resources',
        'resources/templates/list': 'resourceTemplates',
      }).find(([method]) => method === message.method)?.[1]
      call.result(typeof list === 'string' ? { [list]: Reflect.get(member.lists, list), ttlMs: 5000 } : {})
    },
  }
  return member
}

export function toolNamed(name: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  return { name, description: `does ${name}`, inputSchema: { type: 'object' }, ...more }
}

function json(exchange: HttpExchange, status: number, value: unknown, headers: Record<string, string> = {}): void {
  exchange.answer.head(status, { 'content-type': 'application/json', ...headers })
  exchange.answer.end(value === undefined ? undefined : Buffer.from(JSON.stringify(value)))
}

/** Timers that only the test moves. */
export interface FakeTimers extends Timers {
  /** Lets so much time pass, a timer at a time, with everything that follows from each. */
  advance(ms: number): Promise<void>
}

export function fakeTimers(clock: { now: number }): FakeTimers {
  const waiting = new Set<{ at: number; run: () => void }>()
  return {
    after: (ms, run) => {
      const timer = { at: clock.now + ms, run }
      waiting.add(timer)
      return () => waiting.delete(timer)
    },
    async advance(ms) {
      const end = clock.now + ms
      await settle()
      for (;;) {
        const [next] = [...waiting].filter(({ at }) => at <= end).toSorted((a, b) => a.at - b.at)
        if (!next) break
        waiting.delete(next)
        clock.now = Math.max(clock.now, next.at)
        next.run()
        await settle()
      }
      clock.now = end
      await settle()
    },
  }
}

/** Lets all promises that can settle do so. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
}

/** An answer on its way. */
export interface Answered {
  /** How often each was called: a whole answer has one of both. */
  heads: number
  ends: number
  status: number
  headers: Record<string, string>
  text: string
  /** The JSON body, or the messages of the stream so far. */
  readonly json: Json
  readonly events: Json[]
  ended: Promise<'ended' | 'aborted'>
  isOver: boolean
  leave(): void
}

export interface Fixture {
  endpoint: AggregateEndpoint
  clock: { now: number }
  timers: FakeTimers
  members: Member[]
  /** The view of an owner; changed by tests through `views`. */
  view(owner?: string): View
  views: Partial<View>
  standing: { reason: string | undefined }
  send(request: { text?: string; method?: string; headers?: Record<string, string> }, view?: View): Answered
  /** Sends and waits for the end, letting no time pass. */
  ask(request: { text?: string; method?: string; headers?: Record<string, string> }, view?: View): Promise<Answered>
  open(options?: { owner?: string; revision?: string; client?: string }): Promise<string>
  /** A request of a legacy session. */
  call(session: string, method: string, params?: unknown, id?: unknown): Promise<Answered>
  modern(method: string, params?: Record<string, unknown>, id?: unknown, headers?: Record<string, string>): Promise<Answered>
  modernRequest(
    method: string,
    params?: Record<string, unknown>,
    id?: unknown,
    headers?: Record<string, string>,
  ): { text: string; headers: Record<string, string> }
}

export function createFixture(members: Member[], limits: Partial<AggregateLimits> = {}, shelf?: SessionShelf): Fixture {
  const clock = { now: NOW }
  const timers = fakeTimers(clock)
  const standing: Fixture['standing'] = { reason: undefined }
  let tokens = 0
  const ids = { uuidv7: () => `uid-${++tokens}`, token: () => `token-${++tokens}` }
  const endpoint = new AggregateEndpoint({
    name: 'gate',
    version: '9',
    now: () => clock.now,
    timers,
    ids,
    key: Buffer.alloc(32, 7),
    log: silentLogger,
    limits,
    shelf,
  })
  const names = new Map<string, NamedTarget>()
  const fixture: Fixture = {
    endpoint,
    clock,
    timers,
    members,
    standing,
    views: {},
    view: (owner = 'user:ana') => ({
      owner,
      expiresAt: NOW + 3_600_000,
      reasonToLeave: () => standing.reason,
      members: async () => fixture.members,
      namesFor: async (server, what, originals) =>
        originals.map((original) => {
          const exposed = `${server}_${original.replaceAll(/[^\w-]/g, '_')}`
          if (original === 'nameless') return undefined
          names.set(`${what} ${exposed}`, { server, original })
          return exposed
        }),
      findName: async (what, exposed) => names.get(`${what} ${exposed}`),
      discovery: 'auto',
      ...fixture.views,
    }),
    send: (request, view = fixture.view()) => send(endpoint, request, view),
    ask: async (request, view) => {
      const answered = fixture.send(request, view)
      await Promise.race([answered.ended, timers.advance(0).then(() => answered.ended)])
      return answered
    },
    open: async ({ owner, revision = '2025-11-25', client = 'test' } = {}) => {
      const params = { protocolVersion: revision, capabilities: {}, clientInfo: { name: client, version: '1' } }
      const text = JSON.stringify({ jsonrpc: '2.0', id: 'init', method: 'initialize', params })
      return (await fixture.ask({ text }, fixture.view(owner))).headers['mcp-session-id'] ?? ''
    },
    call: (session, method, params, id = 1) =>
      fixture.ask({ text: JSON.stringify({ jsonrpc: '2.0', id, method, params }), headers: { 'mcp-session-id': session } }),
    modern: (method, params, id, headers) => fixture.ask(fixture.modernRequest(method, params, id, headers)),
    modernRequest: (method, params = {}, id = 1, headers = {}) => {
      const _meta = {
        'io.modelcontextprotocol/protocolVersion': MODERN,
        'io.modelcontextprotocol/clientCapabilities': {},
        ...(params['_meta'] as object),
      }
      const name = params['name'] ?? params['uri'] ?? params['taskId']
      const isNamed = typeof name === 'string' && method !== 'completion/complete'
      return {
        text: JSON.stringify({ jsonrpc: '2.0', id, method, params: { ...params, _meta } }),
        headers: { 'mcp-protocol-version': MODERN, 'mcp-method': method, ...(isNamed && { 'mcp-name': name }), ...headers },
      }
    },
  }
  return fixture
}

function send(
  endpoint: AggregateEndpoint,
  { text = '', method = 'POST', headers = {} }: { text?: string; method?: string; headers?: Record<string, string> },
  view: View,
): Answered {
  const gone = new AbortController()
  const ended = Promise.withResolvers<'ended' | 'aborted'>()
  const finish = (how: 'ended' | 'aborted'): void => {
    answered.ends += 1
    answered.isOver = true
    ended.resolve(how)
  }
  const answered: Answered = {
    heads: 0,
    ends: 0,
    status: 0,
    headers: {},
    text: '',
    get json() {
      return JSON.parse(answered.text)
    },
    get events() {
      const all = createSseParser().push(Buffer.from(answered.text))
      return all.filter(({ data }) => data.length > 0).map(({ data }) => JSON.parse(data.toString()))
    },
    ended: ended.promise,
    isOver: false,
    leave: () => gone.abort(),
  }
  void endpoint.serve(
    {
      method,
      headers,
      body: Buffer.from(text),
      path: '/mcp',
      remoteAddress: '127.0.0.1',
      signal: gone.signal,
      answer: {
        head: (status, given) => {
          answered.heads += 1
          answered.status = status
          answered.headers = { ...given }
        },
        write: (chunk) => {
          answered.text += Buffer.from(chunk).toString('utf8')
          return true
        },
        drained: () => Promise.resolve(),
        end: (chunk) => {
          if (chunk) answered.text += Buffer.from(chunk).toString('utf8')
          finish('ended')
        },
        abort: () => finish('aborted'),
      },
    },
    view,
  )
  return answered
}
