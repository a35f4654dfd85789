import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findEverything } from '../../src/cli/server/demo.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { openRawSession } from './raw-session.ts'

// The legacy revisions, message by message, with a client that is no SDK.

let cluster: Cluster
let token: string

beforeAll(async () => {
  cluster = await startCluster()
  await cluster.saveStdioApp('tools', process.execPath, [findEverything(), 'stdio'])
  await cluster.saveRole('all', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } }, deny: { mcp: { tools: ['get-env'] } } })
  await cluster.saveUser('alice', ['all'])
  token = await cluster.tokenOf('alice')
})

afterAll(() => cluster.close())

const call = (id: number, name: string, args: object) => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: args } })

describe.each(['2025-03-26', '2025-06-18', '2025-11-25'])('revision %s', (revision) => {
  it('is refused, answered, filtered and ended', async () => {
    const session = await openRawSession(cluster.mcpUrl('tools'), token, revision)
    expect(session.revision).toBe(revision)
    expect((await session.post(call(1, 'get-env', {}))).message).toMatchObject({
      id: 1,
      error: { code: -32602, data: { reason: 'deny_rule' } },
    })
    expect((await session.post(call(2, 'echo', { message: 'hello' }))).message).toMatchObject({
      id: 2,
      result: { content: [{ text: 'Echo: hello' }] },
    })
    const listed = await session.post({ jsonrpc: '2.0', id: 3, method: 'tools/list' })
    expect(listed.message).toMatchObject({ id: 3, result: { tools: expect.arrayContaining([expect.objectContaining({ name: 'echo' })]) } })
    expect(JSON.stringify(listed.message)).not.toContain('"get-env"')
    expect((await session.post({ jsonrpc: '2.0', id: 4, method: 'no/such' })).message).toMatchObject({ id: 4, error: { code: -32601 } })
    expect(await session.delete()).toBe(200)
    expect((await session.post(call(5, 'echo', {}))).status).toBe(404)
  })
})

describe('a batch', () => {
  const batch = [
    call(1, 'echo', { message: 'one' }),
    { jsonrpc: '2.0', method: 'notifications/roots/list_changed' },
    call(2, 'get-sum', { a: 1, b: 2 }),
  ]

  it('is refused in the revisions that have none', async () => {
    const session = await openRawSession(cluster.mcpUrl('tools'), token, '2025-06-18')
    const { status, message } = await session.post(batch)
    expect(status).toBe(400)
    expect(message).toMatchObject({ error: { code: -32600, message: 'batches belong to revision 2025-03-26 only' } })
  })

  it('is not sent at all when one call of it is denied', async () => {
    const session = await openRawSession(cluster.mcpUrl('tools'), token, '2025-03-26')
    const { messages } = await session.post([...batch, call(3, 'get-env', {})])
    expect(messages.toSorted(byId)).toMatchObject([
      { id: 1, error: { code: -32600 } },
      { id: 2, error: { code: -32600 } },
      { id: 3, error: { code: -32602 } },
    ])
  })

  it('is answered in revision 2025-03-26, every request of it', async () => {
    const session = await openRawSession(cluster.mcpUrl('tools'), token, '2025-03-26')
    const { status, messages } = await session.post(batch)
    expect(status).toBe(200)
    const answers = messages.filter((message) => message['id'] !== undefined && message['method'] === undefined)
    expect(answers.toSorted(byId)).toMatchObject([
      { id: 1, result: { content: [{ text: 'Echo: one' }] } },
      { id: 2, result: { content: [{ text: 'The sum of 1 and 2 is 3.' }] } },
    ])
  })
})

function byId(a: Record<string, unknown>, b: Record<string, unknown>): number {
  return Number(a['id']) - Number(b['id'])
}
