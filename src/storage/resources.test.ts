import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseResource } from '../resources/registry.ts'
import type { App } from '../resources/app.ts'
import { getChangeSeq } from './changes.ts'
import type { Database } from './database.ts'
import {
  createResource,
  deleteExpired,
  deleteResource,
  findResource,
  getResource,
  listResources,
  updateResource,
  upsertResource,
} from './resources.ts'
import { freshStore, STORES } from './stores.fixture.ts'

const NOW = Date.UTC(2026, 0, 1)

function app(name: string, metadata: Record<string, unknown> = {}): App {
  return parseResource('app', { kind: 'app', version: 'v3', metadata: { name, ...metadata }, spec: { uri: 'mcp+http://localhost:1' } })
}

describe.each(STORES)('on %s', (type) => {
  let db: Database
  beforeAll(async () => {
    db = await freshStore(type)
  })
  afterAll(() => db.close())

  test('what is not there cannot be read, changed or deleted', async () => {
    await expect(getResource(db, 'app', 'ghost', NOW)).rejects.toThrow('app "ghost" not found')
    await expect(updateResource(db, 'app', app('ghost'), NOW)).rejects.toMatchObject({ code: 'not_found' })
    await expect(deleteResource(db, 'app', 'ghost', NOW)).rejects.toMatchObject({ code: 'not_found' })
    await expect(getResource(db, 'token', 'abracadabra', NOW)).rejects.toThrow(/^token not found$/)
    expect(await findResource(db, 'app', 'ghost', NOW)).toBeUndefined()
  })

  test('a name is taken once', async () => {
    await createResource(db, 'app', app('one'), NOW)
    await expect(createResource(db, 'app', app('one'), NOW)).rejects.toMatchObject({
      code: 'already_exists',
      message: expect.stringContaining('app "one" already exists'),
    })
    const race = await Promise.allSettled([1, 2, 3, 4].map(() => createResource(db, 'app', app('raced'), NOW)))
    expect(race.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  test('of changes that began with the same revision one wins', async () => {
    const { metadata } = await createResource(db, 'app', app('contested'), NOW)
    const race = await Promise.allSettled(
      ['a', 'b', 'c'].map((description) => updateResource(db, 'app', app('contested', { revision: metadata.revision, description }), NOW)),
    )
    expect(race.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect(race.filter((result) => result.status === 'rejected').map(({ reason }) => [reason.code, reason.message])).toEqual(
      [1, 2].map(() => ['aborted', 'app "contested" was changed by someone else since you read it: read it again and repeat your change']),
    )
    await expect(upsertResource(db, 'app', app('contested', { revision: metadata.revision }), NOW)).rejects.toMatchObject({
      code: 'aborted',
    })
    await expect(deleteResource(db, 'app', 'contested', NOW, metadata.revision)).rejects.toMatchObject({ code: 'aborted' })
    const current = await getResource(db, 'app', 'contested', NOW)
    expect(current.metadata.description).toMatch(/^[abc]$/)
    await deleteResource(db, 'app', 'contested', NOW, current.metadata.revision)
  })

  test('without a revision the last one wins, and every write has a new revision and counts', async () => {
    const before = await getChangeSeq(db)
    const first = await upsertResource(db, 'app', app('free'), NOW)
    const second = await upsertResource(db, 'app', app('free', { description: 'new' }), NOW)
    expect(second.metadata.revision).not.toBe(first.metadata.revision)
    expect(await getResource(db, 'app', 'free', NOW)).toEqual(second)
    await deleteResource(db, 'app', 'free', NOW)
    expect(await getChangeSeq(db)).toBe(before + 3)
    const restored = await upsertResource(db, 'app', second, NOW)
    expect(restored.metadata.description).toBe('new')
  })

  test('what has expired is not there, and is told when removed', async () => {
    const soon = { expires: '2026-01-01T00:01:00Z' }
    await createResource(db, 'app', app('fleeting', soon), NOW)
    const before = await listResources(db, 'app', NOW + 59_999)
    expect(before.map(({ metadata }) => metadata.name)).toContain('fleeting')
    const later = NOW + 60_000
    expect(await findResource(db, 'app', 'fleeting', later)).toBeUndefined()
    expect((await listResources(db, 'app', later)).map(({ metadata }) => metadata.name)).not.toContain('fleeting')
    await expect(updateResource(db, 'app', app('fleeting'), later)).rejects.toMatchObject({ code: 'not_found' })
    await createResource(db, 'app', app('fleeting', { expires: '2026-01-01T00:02:00+00:00' }), later)
    expect(await deleteExpired(db, later)).toEqual([])
    expect(await deleteExpired(db, NOW + 120_000)).toEqual([{ kind: 'app', name: 'fleeting' }])
  })

  test('a list is of one kind and sorted by name', async () => {
    for (const name of ['b', 'C', 'a'])
      await upsertResource(
        db,
        'lock',
        parseResource('lock', { kind: 'lock', version: 'v2', metadata: { name }, spec: { target: { user: 'eve' } } }),
        NOW,
      )
    expect((await listResources(db, 'lock', NOW)).map(({ metadata }) => metadata.name)).toEqual(['C', 'a', 'b'])
  })

  test('a stored resource that is not valid any more is named and can be removed', async () => {
    await createResource(db, 'role', parseResource('role', { kind: 'role', version: 'v8', metadata: { name: 'old' }, spec: {} }), NOW)
    await db.updateTable('resources').set({ document: '{"kind":"role"}' }).where('name', '=', 'old').execute()
    await expect(listResources(db, 'role', NOW)).rejects.toThrow('role "old" as stored is not valid any more')
    await deleteResource(db, 'role', 'old', NOW)
    expect(await listResources(db, 'role', NOW)).toEqual([])
  })
})
