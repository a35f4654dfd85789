import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Identity } from '../../resources/identity.ts'
import { ADMIN, AGENT, userIdentity } from './auth-fixture.ts'
import { type Replicas, startReplicas } from './replicas-fixture.ts'

const PROXY: Identity = { ...ADMIN, name: 'proxy-1', roles: ['Proxy'], credential: 'certificate' }

let replicas: Replicas
beforeAll(async () => {
  replicas = await startReplicas()
  await replicas.a.addUser('root', ['editor'])
})
afterAll(() => replicas.close())

const expires = '2100-01-01T00:00:00.000Z'
const keep = (body: string, revision: number, as?: Identity) =>
  replicas.a.call('POST', '/v1/mcp/sessions', { name: 's1', owner: 'ana', body, revision, expires }, as)
const find = (as?: Identity) => replicas.b.call('GET', '/v1/mcp/sessions?name=s1', undefined, as)
const take = (as?: Identity) => replicas.b.call('POST', '/v1/mcp/sessions/take', { name: 's1' }, as)

test.each([
  ['nobody', undefined, 401],
  ['an agent', AGENT, 403],
  ['a user who may do everything', userIdentity('root', ['editor']), 403],
])('%s neither keeps, finds nor takes what proxies know of sessions', async (_, as, status) => {
  expect(await keep('x', 0, as)).toMatchObject({ status })
  expect(await find(as)).toMatchObject({ status })
  expect(await take(as)).toMatchObject({ status })
  expect(await find(PROXY)).toMatchObject({ body: { found: null } })
})

test('one proxy keeps it, the other is told, finds it and takes it', async () => {
  const told = Promise.withResolvers<string>()
  const end = replicas.b.auth.onSessionKept(told.resolve)
  expect((await keep('x'.repeat(513 * 1024), 0, PROXY)).status).toBe(400)
  expect(await keep('one', 0, PROXY)).toMatchObject({ body: { kept: true } })
  expect(await keep('two', 0, PROXY)).toMatchObject({ body: { kept: false } })
  expect(await told.promise).toBe('s1')
  end()
  expect(await find(PROXY)).toMatchObject({ body: { found: { body: 'one', revision: 1 } } })
  expect(await take(PROXY)).toMatchObject({ body: { body: 'one' } })
  expect(await take(PROXY)).toMatchObject({ body: { body: null } })
})
