import { expect, test } from 'vitest'
import { createIds } from '../lib/ids.ts'
import { createRedactor } from '../lib/redact.ts'
import { createEmitter } from './emit.ts'
import type { AuditEvent } from './event.ts'

const options = {
  ids: createIds(),
  now: () => 1_767_323_045_678,
  cluster: 'example',
  redactor: createRedactor({ knownSecrets: ['correct-horse-battery'] }),
}

test('an event that cannot be kept stops what it was to tell of', async () => {
  const emit = createEmitter({ ...options, store: () => Promise.reject(new Error('no store')) })
  await expect(emit('lock.created', { user: 'ana', name: 'l1', target: { user: 'eve' } })).rejects.toThrow('no store')
  const journal = createEmitter({
    ...options,
    store: () => {
      throw new Error('disk full')
    },
  })
  await expect(journal('lock.created', { user: 'ana' })).rejects.toThrow('disk full')
})

test('an event is complete, redacted and bounded when it is stored', async () => {
  const stored: AuditEvent[] = []
  const emit = createEmitter({ ...options, store: (events) => void stored.push(...events) })
  await emit('user.login', { user: 'ana', method: 'local', success: false, error: 'no user has the password correct-horse-battery' })
  await emit('mcp.session.request', {
    message: { method: 'tools/call', params: { name: 'x', arguments: { password: 'p', text: 'é'.repeat(100_000) } } },
    answer: Array.from({ length: 10_000 }, (_, index) => `item ${index}`),
    headers: { authorization: 'Bearer abcdefghijklmnop' },
    error: 'e'.repeat(100_000),
  })
  expect(stored[0]).toMatchObject({ event: 'user.login', code: 'T1000W', cluster_name: 'example', outcome: 'failure', user: 'ana' })
  const text = JSON.stringify(stored)
  expect(text).not.toMatch(/correct-horse|abcdefghijklmnop|"password":"p"/)
  expect(Buffer.byteLength(text)).toBeLessThan(32_768)
  expect(stored[1]).toMatchObject({ tool: 'x', message: { params: { name: 'x' } } })
  expect(stored[0]?.uid).not.toBe(stored[1]?.uid)
})
