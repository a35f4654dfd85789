import { afterAll, beforeAll, expect, test } from 'vitest'
import { serverAccess } from '../../access/check.ts'
import { compileRoles } from '../../access/role-set.ts'
import { verifyAssertion } from '../../ca/assertion.ts'
import { ADMIN, AGENT, appServer, role, START, startFixture, userIdentity } from './auth-fixture.ts'
import type { Fixture } from './auth-fixture.ts'

let f: Fixture
beforeAll(async () => {
  f = await startFixture()
  const put = (document: { kind: string; metadata: { name: string } }, as = ADMIN) =>
    f.call('PUT', `/v1/resources/${document.kind}/${document.metadata.name}`, { resource: document }, as)
  await put(role('dev', { app_labels: { env: 'dev' }, mcp: { tools: ['get_*'] } }))
  await put(role('ops', { app_labels: { env: 'prod' }, mcp: { tools: ['*'] }, rules: [{ resources: ['lock'], verbs: ['*'] }] }))
  await put(appServer('dev-db', { env: 'dev' }), AGENT)
  await put(appServer('prod-db', { env: 'prod' }), AGENT)
  await f.addUser('ana', ['dev'], { team: ['blue'] })
  await f.addUser('bob', ['dev', 'ops'])
})
afterAll(() => f.close())

const ana = userIdentity('ana', ['dev'])
const bob = userIdentity('bob', ['dev', 'ops'])
const assert = (server: string, as: Parameters<Fixture['call']>[3]) => f.call('POST', '/v1/assertions', { server }, as)
const token = async (as: typeof ana, more: object = {}) => (await f.call('POST', '/v1/api-tokens', more, as)).body
const verify = async (assertion: string, server: string) =>
  (await verifyAssertion(assertion, f.auth.assertionKeys(), { clusterName: 'example', server, now: START })).identity

test('a server that may not be seen is as absent as one that does not exist', async () => {
  const hidden = await assert('prod-db', ana)
  const absent = await assert('no-db', ana)
  expect(hidden).toEqual({
    status: 404,
    body: { error: { code: 'not_found', message: 'MCP server "prod-db" not found: tsh mcp ls lists the ones you may use' } },
  })
  expect(absent).toEqual({
    status: 404,
    body: { error: { code: 'not_found', message: 'MCP server "no-db" not found: tsh mcp ls lists the ones you may use' } },
  })
  expect((await f.events()).filter((event) => event.event === 'access.denied')).toMatchObject([
    { user: 'ana', server: 'prod-db', decision: { kind: 'no_labels' } },
    { user: 'ana', server: 'no-db', decision: { kind: 'no_role' } },
  ])
})

test('a misspelt server is answered with the nearest one that the caller may use, and never with another', async () => {
  const message = async (server: string, as: typeof ana) => (await assert(server, as)).body.error.message
  expect(await message('dev-bd', ana)).toBe('MCP server "dev-bd" not found (did you mean "dev-db"?): tsh mcp ls lists the ones you may use')
  expect(await message('prod-bd', bob)).toContain('(did you mean "prod-db"?)')
  expect(await message('prod-bd', ana)).toBe('MCP server "prod-bd" not found: tsh mcp ls lists the ones you may use')
})

test('nobody and no host gets an assertion', async () => {
  expect(await assert('dev-db', undefined)).toMatchObject({ status: 401 })
  expect(await assert('dev-db', 'spt_nonsense')).toMatchObject({ status: 401 })
  expect(await assert('dev-db', AGENT)).toMatchObject({ status: 403 })
})

test('an assertion says who the user is now and lives no longer than the credential', async () => {
  const { body } = await assert('dev-db', { ...ana, traits: { team: ['blue'] }, expiresAt: START + 60_000 })
  expect(body.expires).toBe(new Date(START + 60_000).toISOString())
  expect(await verify(body.assertion, 'dev-db')).toMatchObject({ name: 'ana', roles: ['dev'], traits: { team: ['blue'] } })
  await expect(verify(body.assertion, 'prod-db')).rejects.toMatchObject({ code: 'unauthenticated' })
})

test('an API token reaches no more servers and has no more roles than it names', async () => {
  const scoped = await token(bob, { servers: ['dev-db'] })
  expect(await assert('prod-db', scoped.token)).toMatchObject({ status: 404 })
  expect(await assert('dev-db', scoped.token)).toMatchObject({ status: 200 })
  expect(await f.call('GET', '/v1/resources/lock', undefined, scoped.token)).toMatchObject({ status: 403 })
  const narrow = await token(bob, { roles: ['dev'] })
  expect(await assert('prod-db', narrow.token)).toMatchObject({ status: 404 })
  const { body } = await assert('dev-db', narrow.token)
  expect(await verify(body.assertion, 'dev-db')).toMatchObject({
    name: 'bob',
    roles: ['dev', 'ops'],
    grantingRoles: ['dev'],
    credential: 'api_token',
    credentialId: narrow.item.id,
  })
})

test('a token that leaves a role out is refused what that role refuses, and locked with it', async () => {
  const put = (document: { kind: string; version: string; metadata: { name: string }; spec: object }) =>
    f.call('PUT', `/v1/resources/${document.kind}/${document.metadata.name}`, { resource: document }, ADMIN)
  await put(appServer('dev-secret', { env: 'dev', secret: 'yes' }))
  await put(role('contractor', {}, { app_labels: { secret: 'yes' }, mcp: { tools: ['get_salary'] } }))
  await f.addUser('con', ['dev', 'contractor'])
  const { token: text } = await token(userIdentity('con', ['dev', 'contractor']), { roles: ['dev'] })
  expect(await assert('dev-secret', text)).toMatchObject({ status: 404 })
  const { body } = await assert('dev-db', text)
  const identity = await verify(body.assertion, 'dev-db')
  const roles = identity.roles.flatMap((name) => f.auth.feed.find('role', name) ?? [])
  const access = serverAccess(
    compileRoles(roles, identity),
    { name: 'dev-db', labels: { env: 'dev' } },
    { mfaVerified: false, requireMfa: false },
  )
  expect(access.check('tool', 'get_name')).toEqual({ allow: true, by: 'dev' })
  expect(access.check('tool', 'get_salary')).toMatchObject({ allow: false, kind: 'deny_rule', by: 'contractor' })
  expect((await f.call('GET', '/v1/whoami', undefined, text)).body).toMatchObject({ roles: ['dev'] })
  await put({ kind: 'lock', version: 'v2', metadata: { name: 'out' }, spec: { target: { role: 'contractor' } } })
  expect(await assert('dev-db', text)).toMatchObject({ status: 403 })
  await f.call('DELETE', '/v1/resources/app_server/agent-1-dev-secret', undefined, ADMIN)
})

test('tokens are made, seen and revoked by their owner only, and not by tokens', async () => {
  const own = await token(ana)
  expect(own.token).toMatch(/^spt_/)
  expect(await f.call('POST', '/v1/api-tokens', { user: 'bob' }, ana)).toMatchObject({ status: 403 })
  expect(await f.call('POST', '/v1/api-tokens', { roles: ['ops'] }, ana)).toMatchObject({ status: 400 })
  expect(await f.call('POST', '/v1/api-tokens', { ttl: 366 * 86_400 + 1 }, ana)).toMatchObject({ status: 400 })
  expect(await f.call('POST', '/v1/api-tokens', {}, own.token)).toMatchObject({ status: 403 })
  expect(await f.call('POST', '/v1/api-tokens', {}, ADMIN)).toMatchObject({ status: 400 })
  expect(await f.call('GET', '/v1/api-tokens?user=*', undefined, ana)).toMatchObject({ status: 403 })
  const { body } = await f.call('GET', '/v1/api-tokens', undefined, ana)
  expect(body.items.map((item) => item.id)).toEqual([own.item.id])
  const others = await f.call('DELETE', `/v1/api-tokens/${own.item.id}`, undefined, bob)
  expect(others).toMatchObject({ status: 403 })
  expect(await f.call('DELETE', '/v1/api-tokens/unknown', undefined, bob)).toEqual(others)

  const seen: unknown[] = []
  const stop = f.auth.feed.subscribe((change) => seen.push(change))
  expect(await f.call('DELETE', `/v1/api-tokens/${own.item.id}`, undefined, ana)).toMatchObject({ status: 200 })
  stop()
  expect(seen).toEqual([{ type: 'revoked', kind: 'api_token', name: own.item.id }])
  expect(await assert('dev-db', own.token)).toMatchObject({ status: 401 })
  expect(JSON.stringify(await f.events())).not.toContain(own.token)
  expect((await f.events()).at(-1)).toMatchObject({ event: 'api_token.use.failure', token_id: own.item.id })
})

test('a token ends with its time', async () => {
  const { token: text } = await token(ana, { ttl: 60 })
  f.clock.now = START + 60_000
  expect(await assert('dev-db', text)).toMatchObject({
    status: 401,
    body: { error: { message: 'the API token has expired: ask for a new one' } },
  })
  f.clock.now = START
})

test('a lock on the user or on a role stops assertions at once', async () => {
  const { token: text } = await token(ana)
  await f.call(
    'PUT',
    '/v1/resources/lock/l',
    { resource: { kind: 'lock', version: 'v2', metadata: { name: 'l' }, spec: { target: { role: 'dev' } } } },
    ADMIN,
  )
  expect(await assert('dev-db', text)).toMatchObject({ status: 403, body: { error: { message: 'lock targeting role:"dev" is in force' } } })
  await f.call('DELETE', '/v1/resources/lock/l', undefined, ADMIN)
  expect(await assert('dev-db', text)).toMatchObject({ status: 200 })
})

test('where a second factor is required, who would be let in with it is told so, others are not', async () => {
  const cap = (spec: object) => ({
    resource: { kind: 'cluster_auth_preference', version: 'v2', metadata: { name: 'cluster-auth-preference' }, spec },
  })
  await f.call('PUT', '/v1/resources/cap/cluster-auth-preference', cap({ require_session_mfa: true }), ADMIN)
  expect(await assert('dev-db', ana)).toMatchObject({ status: 403, body: { error: { message: expect.stringContaining('requires MFA') } } })
  expect(await assert('prod-db', ana)).toMatchObject({ status: 404 })
  expect(await assert('dev-db', { ...ana, mfaVerified: true })).toMatchObject({ status: 200 })
  await f.call('DELETE', '/v1/resources/cap/cluster-auth-preference', undefined, ADMIN)
})

test('the list of servers holds what may be used, each once', async () => {
  const second = appServer('dev-db', { env: 'dev' })
  await f.call('PUT', '/v1/resources/app_server/second', { resource: { ...second, metadata: { name: 'second' } } }, AGENT)
  const { body } = await f.call('GET', '/v1/mcp/servers', undefined, ana)
  expect(body.items).toMatchObject([
    { kind: 'app', metadata: { name: 'dev-db' }, permissions: { mcp: { tools: { allowed: ['get_*'], denied: [] } } } },
  ])
})

test('access is explained to who may read roles', async () => {
  const question = { user: 'ana', server: 'dev-db', tool: 'rm_all' }
  expect(await f.call('POST', '/v1/access/explain', question, ana)).toMatchObject({ status: 403 })
  expect(await f.call('POST', '/v1/access/explain', { ...question, user: 'x' }, ADMIN)).toMatchObject({ status: 404 })
  expect(await f.call('POST', '/v1/access/explain', question, ADMIN)).toMatchObject({ status: 200, body: { allow: false, by: null } })
  expect(await f.call('POST', '/v1/access/explain', { ...question, tool: 'get_it' }, ADMIN)).toMatchObject({
    status: 200,
    body: { allow: true, by: 'dev' },
  })
})

test('with the user everything ends by which the user came in', async () => {
  const { token: text, item } = await token(bob)
  const seen: unknown[] = []
  const stop = f.auth.feed.subscribe((change) => seen.push(change))
  expect(await f.call('DELETE', '/v1/resources/user/bob', undefined, ADMIN)).toMatchObject({ status: 200 })
  stop()
  expect(seen).toContainEqual({ type: 'delete', kind: 'user', name: 'bob' })
  expect(seen).toContainEqual({ type: 'revoked', kind: 'api_token', name: item.id })
  expect(await assert('dev-db', text)).toMatchObject({ status: 401 })
})

test('a server is as well as where it does best, and its standard error is not for users', async () => {
  const health = { since: '2027-01-01T00:00:00.000Z', failures: 3, restarts: 3, reason: 'exited (code 3)', stderr: ['secret words'] }
  const offer = async (name: string, state: string) => {
    const { spec } = appServer('dev-db', { env: 'dev' })
    const resource = { kind: 'app_server', version: 'v3', metadata: { name }, spec: { ...spec, health: { ...health, state } } }
    expect(await f.call('PUT', `/v1/resources/app_server/${name}`, { resource }, AGENT)).toMatchObject({ status: 200 })
  }
  await offer('agent-1-dev-db', 'failing')
  const seen = async () => (await f.call('GET', '/v1/mcp/servers', undefined, ana)).body
  expect(await seen()).toMatchObject({ items: [{ health: { state: 'failing', since: health.since, reason: 'exited (code 3)' } }] })
  expect(JSON.stringify(await seen())).not.toContain('secret words')
  await offer('second', 'degraded')
  expect(await seen()).toMatchObject({ items: [{ health: { state: 'degraded' } }] })
})
