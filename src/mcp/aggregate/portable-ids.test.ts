import { expect, test } from 'vitest'
import { createFixture, fakeMember, NOW } from './aggregate.fixture.ts'

// Two processes with one key.

test('a session goes on in another process, with what its client began it with', async () => {
  const [one, other] = [fakeMember('a', ['x']), fakeMember('a', ['x'])]
  const [here, there] = [createFixture([one]), createFixture([other])]
  const session = await here.open({ revision: '2025-06-18', client: 'somebody' })
  expect((await here.call(session, 'tools/list')).status).toBe(200)
  const listed = await there.call(session, 'tools/list')
  expect(listed.json.result.tools).toMatchObject([{ name: 'a_x' }])
  const [initialize] = other.calls
  expect(JSON.parse(initialize?.text ?? '')).toMatchObject({
    method: 'initialize',
    params: { protocolVersion: '2025-06-18', clientInfo: { name: 'somebody' } },
  })
  // Both go on with it, and it is one session for each.
  expect((await here.call(session, 'ping')).status).toBe(200)
  expect((await there.call(session, 'ping')).status).toBe(200)
  expect(other.methods().filter((method) => method === 'initialize')).toHaveLength(1)
})

test('of somebody else it is nothing, nor when it was altered or is too old', async () => {
  const [here, there] = [createFixture([]), createFixture([])]
  const session = await here.open({ owner: 'user:bob' })
  expect((await there.call(session, 'ping')).status).toBe(404)
  const mine = await here.open()
  const [id = '', carried = ''] = mine.split('.')
  for (const altered of [id, `${id}.`, `${id}x.${carried}`, `${id}.${carried.slice(0, -1)}`, `${id}.${carried}.`, `.${carried}`])
    expect((await there.call(altered, 'ping')).status).toBe(404)
  there.clock.now = NOW + 31 * 86_400_000
  there.views = { expiresAt: NOW + 40 * 86_400_000 }
  expect((await there.call(mine, 'ping')).status).toBe(404)
})

test('one that ended does not begin again', async () => {
  const f = createFixture([])
  const session = await f.open()
  const ended = await f.ask({ method: 'DELETE', headers: { 'mcp-session-id': session } })
  expect(ended.status).toBe(200)
  expect((await f.call(session, 'ping')).status).toBe(404)
})

test('a client that says very much carries none of it', async () => {
  const [here, there] = [createFixture([]), createFixture([])]
  const session = await here.open({ client: 'x'.repeat(2000) })
  expect(session).not.toContain('.')
  expect((await here.call(session, 'ping')).status).toBe(200)
  expect((await there.call(session, 'ping')).status).toBe(404)
})
