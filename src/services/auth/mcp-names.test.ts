import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Identity } from '../../resources/identity.ts'
import { ADMIN, AGENT, startFixture, userIdentity } from './auth-fixture.ts'
import type { Fixture } from './auth-fixture.ts'

const PROXY: Identity = { ...ADMIN, name: 'proxy-1', roles: ['Proxy'], credential: 'certificate' }

let f: Fixture
beforeAll(async () => {
  f = await startFixture()
  await f.addUser('root', ['editor'])
})
afterAll(() => f.close())

const assign = (originals: unknown, as?: Identity) => f.call('POST', '/v1/mcp/names', { server: 'git', what: 'tool', originals }, as)
const find = (exposed: string, as?: Identity) => f.call('GET', `/v1/mcp/names?what=tool&exposed=${exposed}`, undefined, as)

test.each([
  ['nobody', undefined, 401],
  ['an agent', AGENT, 403],
  ['a user who may do everything', userIdentity('root', ['editor']), 403],
])('%s neither gives nor finds names', async (_, as, status) => {
  expect(await assign(['log'], as)).toMatchObject({ status })
  expect(await find('git_log', as)).toMatchObject({ status })
  expect(await find('git_log', PROXY)).toMatchObject({ body: { found: null } })
})

test('more than a thousand, or an endless one, are refused', async () => {
  expect(await assign(Array(1001).fill('a'), PROXY)).toMatchObject({ status: 400 })
  expect(await assign(['a'.repeat(1025)], PROXY)).toMatchObject({ status: 400 })
  expect(await assign('log', PROXY)).toMatchObject({ status: 400 })
})

test('a proxy gives names and finds them again', async () => {
  expect(await assign(['log', '', 'a.b'], PROXY)).toMatchObject({
    status: 200,
    body: { exposed: ['git_log', null, expect.stringMatching(/^git_a_b_\w{6}$/)] },
  })
  expect(await find('git_log', PROXY)).toMatchObject({ body: { found: { server: 'git', original: 'log' } } })
})
