import { EventEmitter } from 'node:events'
import { expect, test } from 'vitest'
import { firstEvent } from './first-event.ts'

test('settles with the first, and leaves no listener behind', async () => {
  const emitter = new EventEmitter()
  const waiting = firstEvent(emitter, ['drain', 'error'])
  expect(emitter.emit('other')).toBe(false)
  expect(emitter.emit('error', new Error('broken'))).toBe(true)
  await waiting
  expect(emitter.eventNames()).toEqual([])
})
