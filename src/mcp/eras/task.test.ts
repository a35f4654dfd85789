import { expect, it } from 'vitest'
import { readTask, renderTask } from './task.ts'

it.each([[undefined], [''], [7], ['x'.repeat(1025)]])('a task with the id %j is none', (taskId) => {
  expect(readTask({ taskId, status: 'working' }, 'modern', 0)).toBeUndefined()
})

it('what is missing or cannot be read is made up', () => {
  expect(readTask({ taskId: 't', ttlMs: -1, pollIntervalMs: 'soon', createdAt: 7, statusMessage: {} }, 'modern', 1000)).toEqual({
    taskId: 't',
    status: 'working',
    statusMessage: 'the MCP server says nothing',
    createdAt: '1970-01-01T00:00:01.000Z',
    lastUpdatedAt: '1970-01-01T00:00:01.000Z',
    ttlMs: null,
    pollMs: undefined,
  })
})

it('a task of one protocol is written as the other has it', () => {
  const times = { createdAt: 'a', lastUpdatedAt: 'b' }
  const legacy = { taskId: 't', status: 'input_required', statusMessage: 'm', ...times, ttl: 5, pollInterval: 7 }
  const modern = { taskId: 't', status: 'input_required', statusMessage: 'm', ...times, ttlMs: 5, pollIntervalMs: 7 }
  const fromLegacy = readTask({ ...legacy, other: 1 }, 'legacy', 0)
  const fromModern = readTask({ ...modern, other: 1 }, 'modern', 0)
  expect(fromLegacy && renderTask(fromLegacy, 'modern')).toEqual(modern)
  expect(fromModern && renderTask(fromModern, 'legacy')).toEqual(legacy)
})
