import { describe, expect, test } from 'vitest'
import { buildEvent, buildFields, parseEvent, settleEvent } from './build-event.ts'
import { renderRequestId } from './event.ts'
import { EVENTS } from './events.ts'

const options = {
  ids: { uuidv7: () => '0190f000-0000-7000-8000-000000000001' },
  now: () => 1_767_323_045_678,
  cluster: 'example',
  // Stands in for lib/redact: cuts strings to the limit and knows one secret.
  redactor: {
    value: (value: unknown, { maxBytes }: { maxBytes: number }): unknown => {
      const text = JSON.stringify(value).replaceAll('hunter2', '<REDACTED>')
      return text.length <= maxBytes ? JSON.parse(text) : `cut at ${maxBytes}`
    },
  },
}

describe('what must not be written', () => {
  test('the name of a join token is a secret', () => {
    const event = buildEvent('join_token.create', { user: 'ana', name: 'abracadabra', roles: ['App'] }, options)
    expect(JSON.stringify(event)).not.toContain('abracadabra')
    expect(event.roles).toEqual(['App'])
  })

  test('secrets in arguments, errors, answers and headers are redacted', () => {
    const event = buildEvent(
      'mcp.session.request',
      {
        message: { method: 'tools/call', id: 'int64:3', params: { name: 'login', arguments: { word: 'hunter2' } } },
        error: 'no hunter2',
        answer: ['hunter2'],
        headers: { 'x-word': 'hunter2' },
      },
      options,
    )
    expect(JSON.stringify(event)).not.toContain('hunter2')
    expect(event.message?.params).toEqual({ name: 'login', arguments: { word: '<REDACTED>' } })
  })

  test('fields that the type does not name are dropped, also from what another service hands over', () => {
    const given = {
      event: 'user.create',
      code: 'x',
      time: '2026-01-02T03:04:05.678Z',
      uid: 'u1',
      ei: 0,
      cluster_name: 'example',
      name: 'eve',
      body: 'x',
      foo: 1,
    }
    expect(parseEvent(given)).toEqual({
      event: 'user.create',
      code: 'x',
      time: '2026-01-02T03:04:05.678Z',
      uid: 'u1',
      ei: 0,
      cluster_name: 'example',
      name: 'eve',
    })
    expect(parseEvent({ ...given, event: 'join_token.create', name: 'abracadabra' })).not.toHaveProperty('name')
  })

  test.each([
    [
      { event: 'user.created', code: 'x', time: '2026-01-02T03:04:05.678Z', uid: 'u1', ei: 0, cluster_name: 'c' },
      'unknown audit event type "user.created"',
    ],
    [{ event: 'user.create', code: 'x', time: 'yesterday', uid: 'u1', ei: 0, cluster_name: 'c' }, 'not an audit event: time'],
    [
      { event: 'user.create', code: 'x', time: '2026-01-02T03:04:05.678Z', uid: 'u1', ei: 0, cluster_name: 'c'.repeat(70_000) },
      'larger than 65536 bytes',
    ],
    [null, 'not an audit event'],
  ])('parseEvent refuses %#', (document, message) => {
    expect(() => parseEvent(document)).toThrow(message)
  })
})

test('size: params, answer and long texts are capped, then the largest fields go until the event fits', () => {
  const params = buildEvent(
    'mcp.session.request',
    { message: { method: 'x', params: 'p'.repeat(20_000) }, answer: 'a'.repeat(5000) },
    options,
  )
  expect(params.message?.params).toBe('cut at 16384')
  expect(params.answer).toBe('cut at 4096')
  expect(buildEvent('user.login', { user: 'u'.repeat(9000) }, options).user).toBe(`${'u'.repeat(1024)}…`)

  const careless = { ...options, redactor: { value: (value: unknown) => value } }
  const fields = {
    user: 'ana',
    message: { method: 'tools/call', params: { name: 'echo', text: 'p'.repeat(60_000) } },
    answer: 'a'.repeat(50_000),
    error: 'e'.repeat(10_000),
  }
  const event = buildEvent('mcp.session.request', fields, careless)
  expect(event.truncated).toEqual(['message.params'])
  expect(event.message).toEqual({ method: 'tools/call' })
  expect([event.user, event.tool, event.error?.length]).toEqual(['ana', 'echo', 10_000])
  expect(JSON.stringify(event).length).toBeLessThan(65_536)
})

test('public fields of many or deep parts are cut too; short ones are as they were', () => {
  const roles = Array.from({ length: 101 }, (_, index) => `r${index}`)
  expect(buildEvent('user.login', { user_roles: roles }, options).user_roles?.length).toBe(100)
  expect(buildEvent('user.login', { user_roles: ['a', 'u'.repeat(2000)] }, options).user_roles).toEqual(['a', `${'u'.repeat(1024)}…`])
  const credential = { kind: 'api_token', id: 'i'.repeat(2000) }
  expect(buildEvent('user.login', { credential }, options).credential).toEqual({ kind: 'api_token', id: `${'i'.repeat(1024)}…` })
  expect(buildEvent('user.login', { user_roles: ['dev'], credential: { kind: 'local', id: 'x' } }, options)).toMatchObject({
    user_roles: ['dev'],
    credential: { kind: 'local', id: 'x' },
  })
})

test('an event says who, what, when and how it went', () => {
  const event = buildEvent(
    'mcp.session.request',
    {
      ei: 3,
      user: 'ana',
      user_kind: 1,
      server: 'everything',
      message: { jsonrpc: '2.0', method: 'tools/call', id: 'int64:3', params: { name: 'echo' } },
      success: true,
    },
    options,
  )
  expect(event).toEqual({
    event: 'mcp.session.request',
    code: 'TMCP003I',
    time: '2026-01-02T03:04:05.678Z',
    uid: '0190f000-0000-7000-8000-000000000001',
    ei: 3,
    cluster_name: 'example',
    user: 'ana',
    user_kind: 1,
    server: 'everything',
    app_name: 'everything',
    message: { jsonrpc: '2.0', method: 'tools/call', id: 'int64:3', params: { name: 'echo' } },
    tool: 'echo',
    success: true,
    outcome: 'success',
  })
})

test.each([
  ['mcp.session.request', { decision: { allow: false, by: 'dev', kind: 'no_tool' } }, 'TMCP003E', 'denied'],
  ['mcp.session.request', { success: false }, 'TMCP003E', 'failure'],
  ['mcp.session.end', { success: false, reason: 'lock' }, 'TMCP002E', 'failure'],
  ['mcp.session.start', {}, 'TMCP001I', 'success'],
  ['mcp.session.invalid_http_request', {}, 'TMCP006E', 'failure'],
  ['user.login', { success: true }, 'T1000I', 'success'],
  ['user.login', { success: false }, 'T1000W', 'failure'],
] as const)('code and outcome of %s %o', (type, fields, code, outcome) => {
  const event = buildEvent(type, fields, options)
  expect([event.code, event.outcome]).toEqual([code, outcome])
})

test('the end of a request settles anew what its start had', () => {
  const start = buildEvent('mcp.session.request', { user: 'ana' }, options)
  const end = buildFields('mcp.session.request', { success: false, error: 'hunter2 is wrong', latency_ms: 12 }, options)
  expect(end).toEqual({ success: false, error: '<REDACTED> is wrong', latency_ms: 12 })
  expect(settleEvent({ ...start, outcome: undefined, ...end })).toMatchObject({ code: 'TMCP003E', outcome: 'failure', user: 'ana' })
})

test('request ids keep their type', () => {
  expect([3, 'x', 1.5, null].map(renderRequestId)).toEqual(['int64:3', 'string:x', 'float64:1.5', 'null'])
})

test('no code is given twice', () => {
  const codes = Object.values(EVENTS).flatMap(({ code }) => Object.values(code))
  expect(new Set(codes).size).toBe(codes.length)
})
