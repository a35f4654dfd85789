import type { Fields } from '../message.ts'
import { numberOf, objectOf } from './compose.ts'

/** The extension that has tasks in the modern revision; they were part of the core in 2025-11-25 alone. */
export const TASKS_EXTENSION = 'io.modelcontextprotocol/tasks'
/** The key of `_meta` that says which task a message belongs to (2025-11-25, tasks). */
export const RELATED_TASK = 'io.modelcontextprotocol/related-task'

/** The same words in 2025-11-25 and in the extension. */
export type TaskStatus = 'working' | 'input_required' | 'completed' | 'failed' | 'cancelled'

/** A call that goes on without its caller, in the terms that both protocols share. */
export interface Task {
  taskId: string
  status: TaskStatus
  statusMessage: string | undefined
  /** ISO 8601. */
  createdAt: string
  lastUpdatedAt: string
  /** From its creation; null for no end. */
  ttlMs: number | null
  pollMs: number | undefined
}

/** How the two protocols name times: in milliseconds both. */
const NAMES = {
  legacy: { ttl: 'ttl', poll: 'pollInterval' },
  modern: { ttl: 'ttlMs', poll: 'pollIntervalMs' },
} as const
const STATUSES: ReadonlySet<unknown> = new Set<TaskStatus>(['working', 'input_required', 'completed', 'failed', 'cancelled'])
const MAX_ID = 1024
const MAX_MESSAGE = 2000
const MAX_TIME = 64

/**
 * What a server says of a task; members that are missing or cannot be read are made up so that the task can be used. A status nobody knows
 * is a task at work, with the server's word in its message.
 * @param now milliseconds since the epoch.
 * @returns undefined without an id of 1 to 1024 characters.
 */
export function readTask(fields: Fields, form: keyof typeof NAMES, now: number): Task | undefined {
  const { taskId, status, statusMessage, createdAt, lastUpdatedAt } = fields
  if (typeof taskId !== 'string' || taskId === '' || taskId.length > MAX_ID) return undefined
  const { ttl, poll } = NAMES[form]
  const at = new Date(now).toISOString()
  const created = timeOf(createdAt) ?? at
  return {
    taskId,
    ...(isStatus(status)
      ? { status, statusMessage: typeof statusMessage === 'string' ? statusMessage.slice(0, MAX_MESSAGE) : undefined }
      : { status: 'working', statusMessage: `the MCP server says ${(JSON.stringify(status) ?? 'nothing').slice(0, 100)}` }),
    createdAt: created,
    lastUpdatedAt: timeOf(lastUpdatedAt) ?? at,
    ttlMs: msOf(fields[ttl]) ?? null,
    pollMs: msOf(fields[poll]),
  }
}

/** The members of a task as a message of that protocol has them. */
export function renderTask(task: Task, form: keyof typeof NAMES): Fields {
  const { taskId, status, statusMessage, createdAt, lastUpdatedAt, ttlMs, pollMs } = task
  const { ttl, poll } = NAMES[form]
  return {
    taskId,
    status,
    ...(statusMessage !== undefined && { statusMessage }),
    createdAt,
    lastUpdatedAt,
    [ttl]: ttlMs,
    ...(pollMs !== undefined && { [poll]: pollMs }),
  }
}

/** Whether nothing will change any more. */
export function isOver({ status }: Task): boolean {
  return status === 'completed' || status === 'failed' || status === 'cancelled'
}

/** A task that was made just now: one that is over already is at work to its client, which finds the end with its first look. */
export function asBegun(task: Task): Task {
  return task.status === 'cancelled' || !isOver(task) ? task : { ...task, status: 'working' }
}

/** What a call becomes a task by (2025-11-25, tasks). */
export function asksForTask(method: string, params: Fields): boolean {
  return method === 'tools/call' && objectOf(params['task']) !== undefined
}

function isStatus(value: unknown): value is TaskStatus {
  return STATUSES.has(value)
}

function timeOf(value: unknown): string | undefined {
  return typeof value === 'string' && value.length <= MAX_TIME ? value : undefined
}

function msOf(value: unknown): number | undefined {
  const ms = numberOf(value)
  return ms !== undefined && ms >= 0 && Number.isFinite(ms) ? ms : undefined
}
