import { afterAll, beforeAll, expect, test } from 'vitest'
import { ADMIN, AGENT, app, appServer, role, START, startFixture, userIdentity } from './auth-fixture.ts'
import type { Fixture } from './auth-fixture.ts'

let f: Fixture
const put = (document: { kind: string; metadata: { name: string } }, as = ADMIN) =>
  f.call('PUT', `/v1/resources/${document.kind}/${document.metadata.name}`, { resource: document }, as)

beforeAll(async () => {
  f = await startFixture()
  await f.addUser('ana', ['access', 'auditor'])
})
afterAll(() => f.close())

test('nobody reads or writes without an identity or a rule', async () => {
  expect(await f.call('GET', '/v1/resources/role')).toMatchObject({ status: 401, body: { error: { code: 'unauthenticated' } } })
  expect(await f.call('GET', '/v1/resources/role', undefined, 'spt_wrong')).toMatchObject({ status: 401 })
  const ana = userIdentity('ana', ['access'])
  expect(await f.call('GET', '/v1/resources/role', undefined, ana)).toMatchObject({
    status: 403,
    body: { error: { code: 'permission_denied', message: 'access denied to perform action "list" on "role"' } },
  })
  expect(await put(role('mine', {}), ana)).toMatchObject({ status: 403 })
  expect((await f.events()).filter((event) => event.event === 'access.denied').at(-1)).toMatchObject({
    user: 'ana',
    kind: 'role',
    verb: 'update',
    outcome: 'denied',
  })
})

test('unknown paths, kinds, members and bodies are refused', async () => {
  expect(await f.call('GET', '/v1/nothing', undefined, ADMIN)).toMatchObject({ status: 404, body: { error: { code: 'not_found' } } })
  expect(await f.call('GET', '/v1/resources/rooole', undefined, ADMIN)).toMatchObject({ status: 400 })
  expect(await f.call('GET', '/v1/whoami?as=admin', undefined, ADMIN)).toMatchObject({ status: 400 })
  expect(await f.call('POST', '/v1/assertions', { server: 1 }, userIdentity('ana', []))).toMatchObject({
    status: 400,
    body: { error: { details: { faults: [expect.stringContaining('server')] } } },
  })
  const answer = await f.auth.carrier(ADMIN)({
    method: 'POST',
    path: '/v1/resources/app',
    headers: { 'content-type': 'text/plain' },
    body: '{}',
  })
  expect(answer.status).toBe(400)
  const large = await f.auth.carrier(ADMIN)({
    method: 'POST',
    path: '/v1/resources/app',
    headers: { 'content-type': 'application/json' },
    body: ' '.repeat(1024 * 1024 + 1),
  })
  expect(large.status).toBe(400)
})

test('reserved role names, missing roles and system labels are refused', async () => {
  expect(await put(role('Admin', {}))).toMatchObject({ status: 400, body: { error: { message: expect.stringContaining('reserved') } } })
  const bo = { kind: 'user', version: 'v2', metadata: { name: 'bo' }, spec: { roles: ['nope'] } }
  expect(await put(bo)).toMatchObject({
    status: 412,
    body: { error: { code: 'failed_precondition', message: expect.stringContaining('role "nope" does not exist') } },
  })
  const editor = userIdentity('ed', ['editor'])
  expect(await put(app('a', { 'teleport.internal/app-sub-kind': 'x' }), editor)).toMatchObject({
    status: 400,
    body: { error: { message: expect.stringContaining('teleport.internal/') } },
  })
})

test('a heartbeat is written by agents only, and by each for itself', async () => {
  expect(await put(appServer('s1'), userIdentity('ed', ['editor']))).toMatchObject({ status: 403 })
  expect(await put(appServer('s1'), { ...AGENT, name: 'agent-2' })).toMatchObject({ status: 403 })
  expect(await put(appServer('s1'), AGENT)).toMatchObject({ status: 200, body: { created: true } })
  expect(await put(role('x', {}), AGENT)).toMatchObject({ status: 403 })
})

test('an agent cannot put itself in the place of another', async () => {
  const other = { ...AGENT, name: 'agent-2' }
  const mine = appServer('shared')
  expect(await f.call('PUT', '/v1/resources/app_server/agent-1-shared', { resource: mine }, AGENT)).toMatchObject({ status: 200 })
  const theirs = { ...mine, spec: { ...mine.spec, host_id: 'agent-2' } }
  expect(await f.call('PUT', '/v1/resources/app_server/agent-1-shared', { resource: theirs }, other)).toMatchObject({ status: 403 })
  expect(await f.call('DELETE', '/v1/resources/app_server/agent-1-shared', undefined, other)).toMatchObject({ status: 403 })
})

test('one agent offers no more servers than everybody who watches can bear', { timeout: 60_000 }, async () => {
  const own = await startFixture()
  const offers = (from: number, count: number) => Array.from({ length: count }, (_, index) => appServer(`many-${from + index}`))
  const announce = (items: object[]) => own.call('POST', '/v1/mcp/servers', { items }, AGENT)
  for (let from = 0; from < 10_000; from += 100) expect(await announce(offers(from, 100))).toMatchObject({ status: 200 })
  expect(await announce(offers(10_000, 1))).toMatchObject({ status: 429, body: { error: { message: expect.stringContaining('10000') } } })
  expect(await announce(offers(9999, 1))).toMatchObject({ status: 200 })
  await own.close()
})

test('an agent tells of many servers at once: all of its own, or none', async () => {
  const other = { ...AGENT, name: 'agent-2' }
  const announce = (items: object[], who = AGENT) => f.call('POST', '/v1/mcp/servers', { items }, who)
  const stolen = appServer('batch-1')
  expect(await announce([stolen], other)).toMatchObject({ status: 403 })
  expect(await announce([stolen], userIdentity('ana', ['editor']))).toMatchObject({ status: 403 })
  expect(await announce([])).toMatchObject({ status: 400 })
  expect(await announce(Array.from({ length: 101 }, (_, index) => appServer(`many-${index}`)))).toMatchObject({ status: 400 })
  const foreign = { ...appServer('batch-2'), spec: { ...appServer('batch-2').spec, host_id: 'agent-2' } }
  expect(await announce([appServer('batch-1'), foreign])).toMatchObject({ status: 403 })
  expect(f.auth.feed.find('app_server', 'agent-1-batch-1')).toBeUndefined()
  expect(await announce([appServer('batch-1'), appServer('batch-2')])).toMatchObject({ status: 200, body: {} })
  expect(f.auth.feed.find('app_server', 'agent-1-batch-1')).toMatchObject({ spec: { host_id: 'agent-1' } })
  expect(f.auth.feed.find('app_server', 'agent-1-batch-2')).toBeDefined()
  expect(await announce([foreign], other)).toMatchObject({ status: 403 })
})

test('who made a lock, and when, is not for the caller to say', async () => {
  const forged = { created_by: 'somebody-else', created_at: '2020-01-01T00:00:00Z' }
  const put = (more: object) => {
    const resource = { kind: 'lock', version: 'v2', metadata: { name: 'forged' }, spec: { target: { user: 'nobody' }, ...more } }
    return f.call('PUT', '/v1/resources/lock/forged', { resource }, ADMIN)
  }
  const made = { status: 200, body: { resource: { spec: { created_by: 'local-admin', created_at: new Date(START).toISOString() } } } }
  expect(await put(forged)).toMatchObject(made)
  expect(await put({ ...forged, message: 'changed' })).toMatchObject(made)
})

test('an update with an old revision is refused', async () => {
  const first = await put(app('rev'))
  const old = first.body.resource
  expect(await put(old)).toMatchObject({ status: 200, body: { created: false } })
  expect(await put(old)).toMatchObject({ status: 409, body: { error: { code: 'aborted' } } })
})

test('create refuses what is there; rename is refused; delete tells of absence', async () => {
  expect(await f.call('POST', '/v1/resources/role', { resource: role('r1', {}) }, ADMIN)).toMatchObject({
    status: 200,
    body: { created: true },
  })
  expect(await f.call('POST', '/v1/resources/role', { resource: role('r1', {}) }, ADMIN)).toMatchObject({
    status: 409,
    body: { error: { code: 'already_exists' } },
  })
  expect(await f.call('PUT', '/v1/resources/role/r1', { resource: role('r2', {}) }, ADMIN)).toMatchObject({ status: 400 })
  expect(await f.call('DELETE', '/v1/resources/role/r1', undefined, ADMIN)).toMatchObject({ status: 200 })
  expect(await f.call('DELETE', '/v1/resources/role/r1', undefined, ADMIN)).toMatchObject({ status: 404 })
  const names = (await f.events()).map((event) => [event.event, event.name]).filter(([, name]) => name === 'r1')
  expect(names).toEqual([
    ['role.created', 'r1'],
    ['role.deleted', 'r1'],
  ])
})

test('upsert of something new needs create as well', async () => {
  await put(role('updater', { rules: [{ resources: ['app'], verbs: ['update', 'read'] }] }))
  const updater = userIdentity('up', ['updater'])
  expect(await put(app('fresh'), updater)).toMatchObject({
    status: 403,
    body: { error: { message: 'access denied to perform action "create" on "app"' } },
  })
  await put(app('fresh'))
  expect(await put(app('fresh'), updater)).toMatchObject({ status: 200 })
})

test('a condition of a rule holds for what is there and what is to be there', async () => {
  await put(
    role('team', {
      rules: [{ resources: ['app'], verbs: ['list', 'create', 'update', 'delete'], where: 'resource.metadata.labels["team"] == "a"' }],
    }),
  )
  const member = userIdentity('m', ['team'])
  expect(await put(app('theirs', { team: 'b' }), member)).toMatchObject({ status: 403 })
  expect(await put(app('ours', { team: 'a' }), member)).toMatchObject({ status: 200 })
  expect(await put(app('ours', { team: 'b' }), member)).toMatchObject({ status: 403 })
  const { body } = await f.call('GET', '/v1/resources/app', undefined, member)
  expect(body.items.map((item) => item.metadata.name)).toEqual(['ours'])
  expect(body.items[0]?.metadata.labels).toEqual({ team: 'a', 'teleport.dev/origin': 'dynamic' })
})

test('a role in use is not deleted; a role with faults is saved with warnings', async () => {
  expect(await f.call('DELETE', '/v1/resources/role/access', undefined, ADMIN)).toMatchObject({
    status: 412,
    body: { error: { message: expect.stringContaining('ana') } },
  })
  const faulty = role('faulty', { app_labels_expression: 'labels[', mcp: { tools: ['{{internal.nope}}'] } })
  expect((await put(faulty)).body.warnings).toHaveLength(2)
})

test('the singleton can be set and reset, never renamed', async () => {
  const cap = (name: string) => ({
    kind: 'cluster_auth_preference',
    version: 'v2',
    metadata: { name },
    spec: { default_session_ttl: '1h' },
  })
  expect(await f.call('POST', '/v1/resources/cap', { resource: cap('other') }, ADMIN)).toMatchObject({ status: 400 })
  expect(await f.call('POST', '/v1/resources/cap', { resource: cap('cluster-auth-preference') }, ADMIN)).toMatchObject({ status: 200 })
  expect(f.auth.feed.find('cluster_auth_preference', 'cluster-auth-preference')?.spec.default_session_ttl).toBe('1h')
  expect(await f.call('DELETE', '/v1/resources/cap/cluster-auth-preference', undefined, ADMIN)).toMatchObject({ status: 200 })
  expect(f.auth.feed.find('cluster_auth_preference', 'cluster-auth-preference')?.spec.default_session_ttl).toBe('12h')
})

test('names of join tokens are hidden, and in no event', async () => {
  const token = { kind: 'token', version: 'v2', metadata: { name: 'very-secret-join-token' }, spec: { roles: ['App'] } }
  await put(token)
  const hidden = await f.call('GET', '/v1/resources/token', undefined, ADMIN)
  expect(JSON.stringify(hidden.body)).not.toContain('very-secret')
  const shown = await f.call('GET', '/v1/resources/token?with_secrets=true', undefined, ADMIN)
  expect(shown.body.items[0]?.metadata.name).toBe('very-secret-join-token')
  await put(role('lister', { rules: [{ resources: ['token'], verbs: ['list', 'readnosecrets'] }] }))
  expect(await f.call('GET', '/v1/resources/token?with_secrets=true', undefined, userIdentity('l', ['lister']))).toMatchObject({
    status: 403,
  })
  expect(JSON.stringify(await f.events())).not.toContain('very-secret')
})

test('watchers see changes and expiry', async () => {
  const seen: unknown[] = []
  const expired = Promise.withResolvers<void>()
  const stop = f.auth.feed.subscribe((change) => {
    seen.push(change)
    if (change.type === 'delete') expired.resolve()
  })
  await put(appServer('brief', {}, new Date(START + 1000).toISOString()), AGENT)
  f.clock.now = START + 1000
  await expired.promise
  stop()
  expect(seen).toEqual([
    { type: 'put', kind: 'app_server', name: 'agent-1-brief' },
    { type: 'delete', kind: 'app_server', name: 'agent-1-brief' },
  ])
  expect(f.auth.feed.find('app_server', 'agent-1-brief')).toBeUndefined()
})

test('events of services are stored once; they cannot claim what the Auth Service does', async () => {
  const event = { event: 'mcp.session.end', code: 'TMCP002I', time: '2027-01-31T12:00:00.000Z', uid: 'u-1', ei: 0, cluster_name: 'example' }
  expect(await f.call('POST', '/v1/audit/events', { events: [event] }, userIdentity('ana', ['auditor']))).toMatchObject({ status: 403 })
  expect(await f.call('POST', '/v1/audit/events', { events: [event] }, AGENT)).toMatchObject({ status: 200, body: { stored: 1 } })
  expect(await f.call('POST', '/v1/audit/events', { events: [event] }, AGENT)).toMatchObject({ status: 200, body: { stored: 0 } })
  expect(await f.call('POST', '/v1/audit/events', { events: [{ ...event, uid: 'u-2', event: 'user.login' }] }, AGENT)).toMatchObject({
    status: 400,
  })
  expect(await f.call('GET', '/v1/audit/events?from=yesterday', undefined, ADMIN)).toMatchObject({ status: 400 })
  const found = await f.call('GET', '/v1/audit/events?type=mcp.session.end', undefined, userIdentity('ana', ['auditor']))
  expect(found.body.lines).toHaveLength(1)
})

test('a change of a connector has an event of its own, without its secret', async () => {
  const oidc = {
    kind: 'oidc',
    version: 'v3',
    metadata: { name: 'corp' },
    spec: {
      issuer_url: 'https://idp.example.com',
      client_id: 'id',
      client_secret: 'hush-hush',
      claims_to_roles: [{ claim: 'g', value: 'x', roles: ['access'] }],
    },
  }
  const github = {
    kind: 'github',
    version: 'v3',
    metadata: { name: 'gh' },
    spec: { client_id: 'id', client_secret: 'hush-hush', teams_to_roles: [{ organization: 'o', team: 't', roles: ['access'] }] },
  }
  for (const connector of [oidc, oidc, github, github]) expect((await put(connector)).status).toBe(200)
  for (const path of ['oidc/corp', 'github/gh']) await f.call('DELETE', `/v1/resources/${path}`, undefined, ADMIN)
  const events = (await f.events()).filter(({ name }) => name === 'corp' || name === 'gh')
  expect(events.map(({ event, code }) => [event, code])).toEqual([
    ['oidc.created', 'T8100I'],
    ['oidc.updated', 'T8102I'],
    ['github.created', 'T8000I'],
    ['github.updated', 'T80002I'],
    ['oidc.deleted', 'T8101I'],
    ['github.deleted', 'T8001I'],
  ])
  expect(JSON.stringify(events)).not.toContain('hush-hush')
})
