import { AppError } from '../../../lib/errors.ts'
import { isOver, type Task } from '../task.ts'
import type { Answer } from './results.ts'

/** A task of one session. */
export interface KeptTask {
  task: Task
  /** What its call came to, where the gateway knows it: the server answered at once, or its task cannot be brought to an end. */
  outcome: Answer | undefined
  /** The client cancelled it: it stays so, whatever the server makes of it (2025-11-25, tasks). */
  isCancelled: boolean
  /** Keys of input requests that were answered or are being asked; each is asked once (tasks extension). */
  asked: Set<string>
  /** Requests of the client that wait for the result, oldest first; aborting one sends it away. */
  waiting: Set<AbortController>
}

/** The tasks of one session of a legacy client. */
export interface TaskStore {
  /** @throws AppError resource_exhausted when every place is taken by a task that still runs. */
  assertRoom(): void
  /** Takes the place of one that is over when there is no other. */
  add(task: Task, outcome?: Answer): KeptTask
  find(taskId: string): KeptTask | undefined
  /** The newest state; a task that is over or was cancelled does not come back. */
  update(kept: KeptTask, task: Task): void
  remove(taskId: string): void
  /** Oldest first. */
  list(): Task[]
  /** Ids of those at the server that are not over. */
  running(): string[]
  /** Sends away everybody who waits. */
  close(): void
}

export interface TaskStoreOptions {
  now: () => number
  maxTasks: number
  /** For how long a task is known that says nothing of its end, from its creation. */
  keptMs: number
  /** Of results that are kept here. */
  maxKeptBytes: number
  sizeOf: (answer: Answer) => number
  /** What runs has changed. */
  onChange: () => void
}

interface Entry {
  kept: KeptTask
  /** Of its outcome. */
  bytes: number
  expiresAt: number
}

export function createTaskStore({ now, maxTasks, keptMs, maxKeptBytes, sizeOf, onChange }: TaskStoreOptions): TaskStore {
  const all = createEntries({ now, maxTasks, maxKeptBytes, onChange })
  return {
    assertRoom() {
      if (!all.hasRoom()) throw tooMany(maxTasks)
    },
    add(task, outcome) {
      all.remove(task.taskId)
      if (!all.hasRoom()) throw tooMany(maxTasks)
      const kept: KeptTask = { task, outcome, isCancelled: false, asked: new Set(), waiting: new Set() }
      all.add({ kept, bytes: outcome ? sizeOf(outcome) : 0, expiresAt: now() + Math.min(task.ttlMs ?? keptMs, keptMs) })
      if (!isOver(task)) onChange()
      return kept
    },
    find: (taskId) => all.alive().find(({ kept }) => kept.task.taskId === taskId)?.kept,
    update(kept, task) {
      if (kept.isCancelled || kept.outcome || isOver(kept.task)) return
      kept.task = task
      if (isOver(task)) onChange()
    },
    remove: all.remove,
    list: () => all.alive().map(({ kept }) => kept.task),
    running: () =>
      all
        .alive()
        .filter(({ kept }) => !isOver(kept.task))
        .map(({ kept }) => kept.task.taskId),
    close: all.close,
  }
}

interface Entries {
  /** Whether there is a place, or one taken by a task that is over. */
  hasRoom(): boolean
  /** Takes that place; what is kept in bytes makes room, oldest first. */
  add(entry: Entry): void
  remove(taskId: string): void
  /** Those that have not expired, oldest first. */
  alive(): Entry[]
  close(): void
}

function createEntries({
  now,
  maxTasks,
  maxKeptBytes,
  onChange,
}: Pick<TaskStoreOptions, 'now' | 'maxTasks' | 'maxKeptBytes' | 'onChange'>): Entries {
  const all = new Map<string, Entry>()
  let keptBytes = 0

  const remove = (taskId: string): void => {
    const found = all.get(taskId)
    if (!found) return
    all.delete(taskId)
    keptBytes -= found.bytes
    for (const one of found.kept.waiting) one.abort()
    if (!isOver(found.kept.task)) onChange()
  }
  const alive = (): Entry[] => {
    for (const [taskId, { expiresAt }] of all) if (expiresAt <= now()) remove(taskId)
    return [...all.values()]
  }
  const removeFirst = (fits: (entry: Entry) => boolean): void => {
    const first = alive().find(fits)
    if (first) remove(first.kept.task.taskId)
  }

  return {
    alive,
    remove,
    hasRoom: () => alive().length < maxTasks || alive().some(({ kept }) => isOver(kept.task)),
    add(entry) {
      if (all.size >= maxTasks) removeFirst(({ kept }) => isOver(kept.task))
      while (keptBytes > 0 && keptBytes + entry.bytes > maxKeptBytes) removeFirst(({ bytes }) => bytes > 0)
      keptBytes += entry.bytes
      all.set(entry.kept.task.taskId, entry)
    },
    close() {
      for (const { kept } of all.values()) for (const one of kept.waiting) one.abort()
      all.clear()
      keptBytes = 0
    },
  }
}

function tooMany(maxTasks: number): AppError {
  return new AppError('resource_exhausted', `an MCP session may have ${maxTasks} tasks: wait for some to end, or cancel them`, {
    details: { http: 200 },
  })
}
