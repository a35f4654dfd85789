import { expect, test } from 'vitest'
import type { AuditEvent } from './event.ts'
import { renderEvent } from './event-text.ts'

const event: AuditEvent = { event: 'user.login', code: 'T1000I', time: '2026-01-02T03:04:05.678Z', uid: 'a', ei: 0, cluster_name: 'c' }

test('what no search could find is refused', () => {
  const broken: unknown = { ...event, uid: 'b', user: 7 }
  const isEvent = (value: unknown): value is AuditEvent => value === broken
  expect(() => renderEvent({ ...event, time: 'never' })).toThrow('audit event a has no readable time, code or names')
  expect(() => [broken].filter(isEvent).map(renderEvent)).toThrow('audit event b')
})

test('an event goes with what it is found by', () => {
  expect(renderEvent({ ...event, user: 'ana', outcome: 'success' })).toEqual({
    uid: 'a',
    time: 1_767_323_045_678,
    type: 'user.login',
    code: 'T1000I',
    user: 'ana',
    server: null,
    tool: null,
    outcome: 'success',
    sid: null,
    text: '{"event":"user.login","code":"T1000I","time":"2026-01-02T03:04:05.678Z","uid":"a","ei":0,"cluster_name":"c","user":"ana","outcome":"success"}',
  })
})
