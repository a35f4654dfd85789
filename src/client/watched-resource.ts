import { AppError } from '../lib/errors.ts'
import { LOCK_TARGETS } from '../resources/lock.ts'
import { isKind, parseResource } from '../resources/registry.ts'
import type { Kind, ResourceOf } from '../resources/registry.ts'

/** A resource that came over a watch. */
export interface Watched {
  /** Undefined: nothing can stand for it. */
  resource: ResourceOf<Kind> | undefined
  /** Why it could not be read, as by a version of this program that is older than the Auth Service's. */
  fault?: string
}

/**
 * Reads a resource of a watch. One that cannot be read must not open anything: a role is replaced by one that denies all, a lock by one that
 * hits whoever its readable targets name.
 */
export function readWatched(kind: Kind, document: unknown): Watched {
  try {
    return { resource: parseResource(kind, document) }
  } catch (thrown) {
    if (!(thrown instanceof AppError)) throw thrown
    return { resource: standIn(kind, document), fault: thrown.message }
  }
}

const EVERYTHING = { app_labels: { '*': '*' } }

function standIn(kind: Kind, document: unknown): ResourceOf<Kind> | undefined {
  const name = memberOf(memberOf(document, 'metadata'), 'name')
  if (typeof name !== 'string' || !isKind(kind)) return undefined
  if (kind === 'role') return parseResource('role', { kind, version: 'v8', metadata: { name }, spec: { deny: EVERYTHING } })
  if (kind !== 'lock') return undefined
  const wanted = memberOf(memberOf(document, 'spec'), 'target')
  const readable = LOCK_TARGETS.flatMap((key) => {
    const value = memberOf(wanted, key)
    return typeof value === 'string' && value !== '' ? [[key, value] as const] : []
  })
  if (readable.length === 0) return undefined
  return parseResource('lock', { kind, version: 'v2', metadata: { name }, spec: { target: Object.fromEntries(readable) } })
}

function memberOf(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? Object.entries(value).find(([name]) => name === key)?.[1] : undefined
}
