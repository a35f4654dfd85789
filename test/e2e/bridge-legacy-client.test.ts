import { StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { StdioClientTransport as StdioClientTransportV1 } from '@modelcontextprotocol/sdk/client/stdio.js'
import { StreamableHTTPClientTransport as StreamableHTTPClientTransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Cluster, startCluster } from '../cluster.ts'
import { type ModernOnly, startModernOnly } from '../fakes/modern-only.ts'
import { ROOT } from '../programs.ts'
import { tshConnect } from '../tsh-connect.ts'
import { eventually, within } from '../wait.ts'
import { type Guest, guestOfV1, guestOfV2 } from './everything-guest.ts'
import { openRawSession } from './raw-session.ts'

// Clients of the legacy revisions with servers that speak 2026-07-28 only.

let cluster: Cluster
let upstream: ModernOnly
let token: string

beforeAll(async () => {
  cluster = await startCluster()
  upstream = await startModernOnly()
  await cluster.saveHttpApp('http', upstream.url)
  await cluster.saveStdioApp('stdio', process.execPath, [join(ROOT, 'test/fakes/modern-only.ts')])
  await cluster.saveRole('all', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } }, deny: { mcp: { tools: ['names'] } } })
  await cluster.saveUser('alice', ['all'])
  token = await cluster.tokenOf('alice')
}, 60_000)

afterAll(async () => {
  await cluster.close()
  await upstream.close()
})

const authorized = (): { requestInit: RequestInit } => ({ requestInit: { headers: { authorization: `Bearer ${token}` } } })
const GUESTS: Record<string, (server: string) => Promise<Guest>> = {
  'SDK v1': (server) => guestOfV1(new StreamableHTTPClientTransportV1(cluster.mcpUrl(server), authorized())),
  'SDK v2': (server) => guestOfV2(new StreamableHTTPClientTransport(cluster.mcpUrl(server), authorized())),
}
const said = (text: string) => expect.objectContaining({ content: [{ type: 'text', text }] })

describe.each(['http', 'stdio'])('a modern-only server over %s', (server) => {
  describe.each(Object.keys(GUESTS))('a client of %s', (kind) => {
    async function visit(use: (guest: Guest) => Promise<void>): Promise<void> {
      const guest = await GUESTS[kind]?.(server)
      if (!guest) throw new Error(`no guest ${kind}`)
      try {
        await use(guest)
      } finally {
        await guest.close()
      }
    }

    it('is refused a tool that a role denies, and does not see it', () =>
      visit(async (guest) => {
        await expect(guest.callTool('names', {})).rejects.toMatchObject({ code: -32602, message: expect.stringContaining('denied') })
        const { tools } = await guest.listTools()
        expect(tools.map(({ name }) => name)).toEqual([
          'add',
          'route',
          'work',
          'wait',
          'change',
          'ask-model',
          'ask-form',
          'ask-url',
          'ask-roots',
          'ask-all',
        ])
        expect(JSON.stringify(tools)).not.toContain('ttlMs')
      }))

    it('learns who the server is', () =>
      visit(async (guest) => {
        expect(guest.serverInfo()).toMatchObject({
          name: 'modern-only',
          version: '1.0.0',
          instructions: 'Only 2026-07-28 here.',
          capabilities: { tools: { listChanged: true }, resources: { subscribe: true } },
        })
        expect(await guest.ping()).toEqual({})
      }))

    it('uses tools, prompts, resources, templates and completion', () =>
      visit(async (guest) => {
        expect(await guest.callTool('add', { a: 2, b: 3 })).toEqual({
          content: [{ type: 'text', text: '5' }],
          structuredContent: { sum: 5 },
        })
        expect(await guest.listPrompts()).toMatchObject({ prompts: [{ name: 'greet' }] })
        expect(await guest.getPrompt('greet', { name: 'Ada' })).toMatchObject({ messages: [{ content: { text: 'Hello Ada' } }] })
        expect(await guest.listResources()).toMatchObject({ resources: [{ uri: 'note://one' }] })
        expect(await guest.listResourceTemplates()).toMatchObject({ resourceTemplates: [{ uriTemplate: 'note://number/{n}' }] })
        expect(await guest.readResource('note://number/7')).toEqual({ contents: [{ uri: 'note://number/7', text: 'note 7' }] })
        await expect(guest.readResource('note://none')).rejects.toThrow(/not found/i)
        expect(await guest.complete('greet', 'name', 'A')).toMatchObject({ completion: { values: ['Ada', 'Grace'] } })
      }))

    it('calls a tool whose arguments go into headers, although it never asked for the list', () =>
      visit(async (guest) => {
        expect(await guest.callTool('route', { region: ' Zürich' })).toEqual(said('to  Zürich'))
      }))

    it('is told of progress, and of the log from the level on that it set', () =>
      visit(async (guest) => {
        expect(await guest.setLevel('debug')).toEqual({})
        const progress: number[] = []
        expect(await guest.callTool('work', { steps: 3 }, { onprogress: (one) => progress.push(one.progress) })).toEqual(said('done'))
        expect(progress).toEqual([1, 2, 3])
        await eventually('the log message', () => guest.notes.includes('notifications/message') || undefined)
      }))

    it('breaks off a call', () =>
      visit(async (guest) => {
        const before = upstream.cancelled()
        const away = new AbortController()
        const call = guest.callTool('wait', {}, { signal: away.signal, onprogress: () => away.abort() })
        await expect(within('the end of the call', call)).rejects.not.toThrow('not within')
        if (server === 'http') await eventually('the cancellation', () => upstream.cancelled() > before || undefined)
        expect(await guest.callTool('add', { a: 1, b: 1 })).toEqual(expect.objectContaining({ structuredContent: { sum: 2 } }))
      }))

    it('is told of changes of the list and of a resource it subscribed to', () =>
      visit(async (guest) => {
        expect(await guest.subscribe('note://one')).toEqual({})
        await eventually('the notifications', async () => {
          await guest.callTool('change', {})
          return (
            ['notifications/tools/list_changed', 'notifications/resources/updated'].every((note) => guest.notes.includes(note)) || undefined
          )
        })
        expect(await guest.unsubscribe('note://one')).toEqual({})
      }))

    it('answers what the server asks: its model, its user, its roots', () =>
      visit(async (guest) => {
        const model = '{"said":{"model":"model-of-the-client","role":"assistant","content":{"type":"text","text":"sampled by the client"}}}'
        const form = '{"who":{"action":"accept","content":{"name":"Ada","check":true}}}'
        const roots = '{"roots":{"roots":[{"uri":"file:///srv/work","name":"work"}]}}'
        expect(await guest.callTool('ask-model', {})).toEqual(said(`{}${model}`))
        expect(await guest.callTool('ask-form', {})).toEqual(said(`{}${form}`))
        expect(await guest.callTool('ask-url', {})).toEqual(said('{}{"signed":{"action":"accept"}}'))
        expect(await guest.callTool('ask-roots', {})).toEqual(said(`{}${roots}`))
        expect(await guest.callTool('ask-all', {})).toEqual(said(`{}${form.slice(0, -1)},${model.slice(1)}${roots}{}`))
      }))
  })
})

it('serves a client over tsh mcp connect, questions and notifications included', async () => {
  const identity = await cluster.identityFileOf('alice')
  const guest = await guestOfV1(new StdioClientTransportV1(tshConnect(cluster, identity, 'http')))
  expect(await guest.callTool('ask-url', {})).toEqual(said('{}{"signed":{"action":"accept"}}'))
  await guest.subscribe('note://one')
  await guest.callTool('change', {})
  await eventually('the notification', () => guest.notes.includes('notifications/resources/updated') || undefined)
  await guest.close()
})

describe.each(['2025-03-26', '2025-06-18', '2025-11-25'])('revision %s', (revision) => {
  it('is spoken to the end', async () => {
    const session = await openRawSession(cluster.mcpUrl('http'), token, revision)
    expect(session.revision).toBe(revision)
    const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'ask-url', arguments: {} } }
    expect((await session.post(call)).message).toMatchObject({ id: 1, result: { isError: true } })
    const read = { jsonrpc: '2.0', id: 3, method: 'resources/read', params: { uri: 'note://none' } }
    expect((await session.post(read)).message).toMatchObject({ id: 3, error: { code: -32002 } })
    expect(await session.delete()).toBe(200)
    expect((await session.post({ ...call, id: 2 })).status).toBe(404)
  })
})
