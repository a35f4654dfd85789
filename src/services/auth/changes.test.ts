import { afterEach, beforeEach, expect, test } from 'vitest'
import { openSqlite } from '../../storage/sqlite.ts'
import { join } from 'node:path'
import { ADMIN, role } from './auth-fixture.ts'
import { heard, type Replicas, startReplicas } from './replicas-fixture.ts'

let replicas: Replicas
beforeEach(async () => {
  replicas = await startReplicas()
})
afterEach(async () => await replicas.close())

test('what ends access at one replica is told by the other at once', async () => {
  const { a, b } = replicas
  await a.addUser('alice', ['access'])
  const { body } = await a.call('POST', '/v1/api-tokens', { user: 'alice' }, ADMIN)
  const { item } = body

  const revoked = heard(b.auth.feed, ({ type, kind }) => type === 'revoked' && kind === 'api_token')
  await a.call('DELETE', `/v1/api-tokens/${item.id}`, undefined, ADMIN)
  expect(await revoked).toEqual({ type: 'revoked', kind: 'api_token', name: item.id })

  const locked = heard(b.auth.feed, ({ kind }) => kind === 'lock')
  const lock = { kind: 'lock', version: 'v2', metadata: { name: 'l1' }, spec: { target: { user: 'alice' } } }
  await a.call('POST', '/v1/resources/lock', { resource: lock }, ADMIN)
  expect(await locked).toEqual({ type: 'put', kind: 'lock', name: 'l1' })

  const reset = heard(b.auth.feed, ({ type, kind }) => type === 'delete' && kind === 'user')
  await a.call('POST', '/v1/users/reset', { name: 'alice' }, ADMIN)
  expect(await reset).toEqual({ type: 'delete', kind: 'user', name: 'alice' })
  expect(b.auth.feed.find('user', 'alice')).toBeDefined()

  const removed = heard(b.auth.feed, ({ type, kind }) => type === 'delete' && kind === 'user')
  await a.call('DELETE', '/v1/resources/user/alice', undefined, ADMIN)
  await removed
  expect(b.auth.feed.find('user', 'alice')).toBeUndefined()
})

test('a request sees what was done at the other replica a moment ago, without waiting to be told', async () => {
  const { a, b } = replicas
  for (let round = 1; round <= 20; round++) {
    const [here, there] = round % 2 === 0 ? [a, b] : [b, a]
    const created = await here.call('POST', '/v1/resources/role', { resource: role(`r${round}`, {}) }, ADMIN)
    expect(created.status).toBe(200)
    expect((await there.call('GET', `/v1/resources/role/r${round}`, undefined, ADMIN)).status).toBe(200)
    expect((await there.call('DELETE', `/v1/resources/role/r${round}`, undefined, ADMIN)).status).toBe(200)
    expect((await here.call('GET', `/v1/resources/role/r${round}`, undefined, ADMIN)).status).toBe(404)
  }
})

test('a change rests on what the other replica did before it', async () => {
  const { a, b } = replicas
  await a.call('POST', '/v1/resources/role', { resource: role('r', {}) }, ADMIN)
  const resource = (await a.call('GET', '/v1/resources/role/r', undefined, ADMIN)).body
  expect((await b.call('PUT', '/v1/resources/role/r', { resource }, ADMIN)).status).toBe(200)
  expect((await a.call('PUT', '/v1/resources/role/r', { resource }, ADMIN)).body.error.code).toBe('aborted')
})

test('a new signing key is published by both at once', async () => {
  const { a, b } = replicas
  await a.call('POST', '/v1/jwt-keys', {}, ADMIN)
  expect((await b.call('GET', '/.well-known/jwks.json')).body.keys).toHaveLength(3)
  expect((await b.call('GET', '/.well-known/jwks.json')).body).toEqual((await a.call('GET', '/.well-known/jwks.json')).body)
})

test('a replica that missed what is forgotten by now reads everything anew, and ends what rests on what was before', async () => {
  const { a, b } = replicas
  await a.addUser('alice', ['access'])
  await a.addUser('bob', ['access'])
  await b.call('GET', '/v1/resources/user', undefined, ADMIN)
  const told: string[] = []
  b.auth.feed.subscribe(({ type, kind, name }) => kind === 'user' && told.push(`${type} ${name}`))
  const db = openSqlite(join(a.dataDirectory, 'sallyport.db'))
  await db.transaction().execute(async (tx) => {
    await tx.deleteFrom('resources').where('kind', '=', 'user').where('name', '=', 'bob').execute()
    await tx.updateTable('counters').set({ value: 1000 }).execute()
    await tx.deleteFrom('changes').execute()
  })
  await db.close()
  expect((await b.call('GET', '/v1/resources/user/bob', undefined, ADMIN)).status).toBe(404)
  expect(told).toEqual(['delete alice', 'delete bob', 'put alice'])
  await a.call('POST', '/v1/resources/role', { resource: role('r', {}) }, ADMIN)
  expect((await b.call('GET', '/v1/resources/role/r', undefined, ADMIN)).status).toBe(200)
})
