import { expect, it } from 'vitest'
import type { Task, TaskStatus } from '../task.ts'
import { createTaskStore, type TaskStore } from './task-store.ts'

const KEPT_MS = 1000

interface Setting {
  store: TaskStore
  clock: { now: number }
  /** What ran at each change. */
  changes: string[][]
}

/** Two places, and ten bytes for outcomes, whose size is that of their text. */
function start(): Setting {
  const clock = { now: 0 }
  const changes: string[][] = []
  const store = createTaskStore({
    now: () => clock.now,
    maxTasks: 2,
    keptMs: KEPT_MS,
    maxKeptBytes: 10,
    sizeOf: (answer) => ('result' in answer ? String(answer.result['text']).length : 0),
    onChange: () => changes.push(store.running()),
  })
  return { store, clock, changes }
}

const taskOf = (taskId: string, status: TaskStatus = 'working', ttlMs: number | null = null): Task => ({
  taskId,
  status,
  statusMessage: undefined,
  createdAt: 'then',
  lastUpdatedAt: 'then',
  ttlMs,
  pollMs: undefined,
})
const idsOf = (store: TaskStore): string[] => store.list().map(({ taskId }) => taskId)

it('has no room for more than it may while all of them run', () => {
  const { store } = start()
  const first = store.add(taskOf('a'))
  store.add(taskOf('b'))
  expect(() => store.assertRoom()).toThrow('an MCP session may have 2 tasks: wait for some to end, or cancel them')
  expect(() => store.add(taskOf('c'))).toThrow('an MCP session may have 2 tasks')
  expect(idsOf(store)).toEqual(['a', 'b'])
  store.update(first, taskOf('a', 'completed'))
  store.assertRoom()
  store.add(taskOf('c'))
  expect(idsOf(store)).toEqual(['b', 'c'])
})

it('forgets a task after its time, and after its own at the latest', () => {
  const { store, clock } = start()
  store.add(taskOf('short', 'working', 10))
  store.add(taskOf('endless', 'working', null))
  clock.now = 10
  expect(idsOf(store)).toEqual(['endless'])
  clock.now = KEPT_MS
  expect(store.find('endless')).toBeUndefined()
})

it('sends away who waits for a task that it forgets', () => {
  const { store, clock } = start()
  const waiting = new AbortController()
  store.add(taskOf('a')).waiting.add(waiting)
  clock.now = KEPT_MS
  store.find('a')
  expect(waiting.signal.aborted).toBe(true)
})

it('lets go of the oldest outcomes when they are too large', () => {
  const { store } = start()
  store.add(taskOf('a', 'completed'), { result: { text: 'six...' } })
  store.add(taskOf('b', 'completed'), { result: { text: 'five.' } })
  expect(idsOf(store)).toEqual(['b'])
})

it('does not bring back what is over', () => {
  const { store } = start()
  const kept = store.add(taskOf('a'))
  store.update(kept, taskOf('a', 'cancelled'))
  store.update(kept, taskOf('a', 'completed'))
  expect(store.find('a')?.task.status).toBe('cancelled')
})

it('says when other tasks run than before', () => {
  const { store, changes } = start()
  const kept = store.add(taskOf('a'))
  store.add(taskOf('b', 'completed'))
  store.update(kept, taskOf('a', 'input_required'))
  store.update(kept, taskOf('a', 'failed'))
  expect(changes).toEqual([['a'], []])
})
