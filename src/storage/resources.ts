import { randomUUID } from 'node:crypto'
import { AppError } from '../lib/errors.ts'
import { isKind, kindRow, parseResource } from '../resources/registry.ts'
import type { Kind, ResourceOf } from '../resources/registry.ts'
import { lockChanges, noteChange } from './changes.ts'
import { transact } from './database.ts'
import type { Executor } from './database.ts'

/** @param now milliseconds since 1970: a resource whose `metadata.expires` is not after it does not exist. */
export async function findResource<K extends Kind>(db: Executor, kind: K, name: string, now: number): Promise<ResourceOf<K> | undefined> {
  const row = await live(db, kind, now).where('name', '=', name).executeTakeFirst()
  return row && parseRow(kind, row)
}

/** Throws `not_found`. */
export async function getResource<K extends Kind>(db: Executor, kind: K, name: string, now: number): Promise<ResourceOf<K>> {
  const resource = await findResource(db, kind, name, now)
  if (!resource) throw notFound(kind, name)
  return resource
}

/** All of a kind, sorted by name (by code point). */
export async function listResources<K extends Kind>(db: Executor, kind: K, now: number): Promise<ResourceOf<K>[]> {
  const rows = await live(db, kind, now).orderBy('name').execute()
  return rows.map((row) => parseRow(kind, row))
}

/** Those of a kind with one of these names, as far as they are there. */
export async function findResources<K extends Kind>(
  db: Executor,
  kind: K,
  names: readonly string[],
  now: number,
): Promise<ResourceOf<K>[]> {
  if (names.length === 0) return []
  const rows = await live(db, kind, now).where('name', 'in', names).execute()
  return rows.map((row) => parseRow(kind, row))
}

/** Throws `already_exists`. Returns the resource with its revision, as do the two below. */
export function createResource<K extends Kind>(db: Executor, kind: K, resource: ResourceOf<K>, now: number): Promise<ResourceOf<K>> {
  return transact(db, async (tx) => {
    const { name } = resource.metadata
    const existing = await live(tx, kind, now).where('name', '=', name).executeTakeFirst()
    if (existing) throw new AppError('already_exists', `${subject(kind, name)} already exists: use "tctl create -f" to replace it`)
    return put(tx, kind, resource, now)
  })
}

/** Throws `not_found`, or `aborted` when the resource carries a revision that is not the current one. */
export function updateResource<K extends Kind>(db: Executor, kind: K, resource: ResourceOf<K>, now: number): Promise<ResourceOf<K>> {
  return transact(db, async (tx) => {
    const { name, revision } = resource.metadata
    const existing = await live(tx, kind, now).where('name', '=', name).executeTakeFirst()
    if (!existing) throw notFound(kind, name)
    checkRevision(kind, name, revision, existing.revision)
    return put(tx, kind, resource, now)
  })
}

/**
 * Creates or replaces. A revision that the resource carries must be the current one, as with `updateResource`; where there is no such
 * resource it is ignored, so that what was exported can be restored.
 */
export function upsertResource<K extends Kind>(db: Executor, kind: K, resource: ResourceOf<K>, now: number): Promise<ResourceOf<K>> {
  return transact(db, async (tx) => {
    const { name, revision } = resource.metadata
    const existing = await live(tx, kind, now).where('name', '=', name).executeTakeFirst()
    if (existing) checkRevision(kind, name, revision, existing.revision)
    return put(tx, kind, resource, now)
  })
}

/** Throws `not_found`, or `aborted` when `revision` is given and not the current one. */
export function deleteResource(db: Executor, kind: Kind, name: string, now: number, revision?: string): Promise<void> {
  return transact(db, async (tx) => {
    const existing = await live(tx, kind, now).where('name', '=', name).executeTakeFirst()
    if (!existing) throw notFound(kind, name)
    checkRevision(kind, name, revision, existing.revision)
    await tx.deleteFrom('resources').where('kind', '=', kind).where('name', '=', name).execute()
    await noteChange(tx, { type: 'delete', kind, name }, now)
  })
}

/** Removes what has expired and tells what that was, for those who watch. */
export function deleteExpired(db: Executor, now: number): Promise<{ kind: Kind; name: string }[]> {
  return transact(db, async (tx) => {
    await lockChanges(tx)
    const rows = await tx.deleteFrom('resources').where('expires_at', '<=', now).returning(['kind', 'name']).execute()
    const removed: { kind: Kind; name: string }[] = []
    for (const { kind, name } of rows) {
      await noteChange(tx, { type: 'delete', kind, name }, now)
      if (isKind(kind)) removed.push({ kind, name })
    }
    return removed
  })
}

function live(db: Executor, kind: Kind, now: number) {
  return db
    .selectFrom('resources')
    .select(['name', 'revision', 'document'])
    .where('kind', '=', kind)
    .where((where) => where.or([where('expires_at', 'is', null), where('expires_at', '>', now)]))
}

async function put<K extends Kind>(tx: Executor, kind: K, resource: ResourceOf<K>, now: number): Promise<ResourceOf<K>> {
  const { metadata } = resource
  const revision = randomUUID()
  const document = JSON.stringify({ ...resource, metadata: { ...metadata, revision } })
  const row = {
    revision,
    expires_at: metadata.expires === undefined ? null : Date.parse(metadata.expires),
    document,
    updated_at: now,
    change_seq: await noteChange(tx, { type: 'put', kind, name: metadata.name }, now),
  }
  await tx
    .insertInto('resources')
    .values({ kind, name: metadata.name, ...row })
    .onConflict((conflict) => conflict.columns(['kind', 'name']).doUpdateSet(row))
    .execute()
  return parseRow(kind, { name: metadata.name, document })
}

function parseRow<K extends Kind>(kind: K, row: { name: string; document: string }): ResourceOf<K> {
  try {
    return parseResource(kind, JSON.parse(row.document))
  } catch (cause) {
    throw new AppError('internal', `${subject(kind, row.name)} as stored is not valid any more: replace or remove it`, { cause })
  }
}

function checkRevision(kind: Kind, name: string, wanted: string | undefined, current: string): void {
  if (wanted !== undefined && wanted !== '' && wanted !== current)
    throw new AppError(
      'aborted',
      `${subject(kind, name)} was changed by someone else since you read it: read it again and repeat your change`,
    )
}

function notFound(kind: Kind, name: string): AppError {
  return new AppError('not_found', `${subject(kind, name)} not found`)
}

/** A name that is a secret stands in no message: messages reach logs. */
function subject(kind: Kind, name: string): string {
  return kindRow(kind).secretName ? kind : `${kind} ${JSON.stringify(name)}`
}
