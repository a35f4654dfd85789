import { afterEach, expect, test } from 'vitest'
import { call, faultOf, messageText, never, notification, readData, request } from '../../../test/fakes/outgoing.ts'
import { openAs } from '../../../test/fakes/stdio-app.ts'
import { appSchema } from '../../resources/app.ts'
import { createDemoUpstream } from './demo.ts'
import type { Outgoing, Reply, Upstream, UpstreamSession } from './upstream.ts'

const app = appSchema.parse({
  kind: 'app',
  version: 'v3',
  metadata: { name: 'teleport-mcp-demo', description: 'shows who you are' },
  spec: { uri: 'mcp+stdio://teleport-mcp-demo' },
})
const opened: Upstream[] = []
afterEach(async () => {
  for (const upstream of opened.splice(0)) await upstream.close()
})

async function open(era: 'legacy' | 'modern'): Promise<UpstreamSession> {
  const upstream = createDemoUpstream(app, { clusterName: 'castle' })
  opened.push(upstream)
  return upstream.open(openAs(era))
}

const META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
  'io.modelcontextprotocol/clientInfo': { name: 't', version: '1' },
}

async function resultOf(reply: Reply): Promise<Record<string, unknown>> {
  const text = reply.kind === 'events' ? (await readData(reply.events)).findLast((data) => data.includes('"result"')) : messageText(reply)
  const message: { result: Record<string, unknown> } = JSON.parse(text ?? '')
  return message.result
}

async function ask(session: UpstreamSession, message: Outgoing): Promise<Record<string, unknown>> {
  return resultOf(await session.send(message, never))
}

test('a closed session takes nothing', async () => {
  const session = await open('legacy')
  await session.close()
  await session.close()
  expect((await faultOf(session.send(call('1', 'teleport_user_info'), never))).code).toBe('cancelled')
})

test('an unknown tool is an error of the protocol', async () => {
  const session = await open('legacy')
  const reply = await session.send(call('1', 'nope'), never)
  const text = reply.kind === 'events' ? (await readData(reply.events)).join() : messageText(reply)
  expect(text).toMatch(/nope/)
})

test('a legacy client gets through the handshake and the tools', async () => {
  const session = await open('legacy')
  const hello = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 't', version: '1' } }
  expect(await ask(session, request('1', 'initialize', hello))).toMatchObject({
    protocolVersion: '2025-11-25',
    serverInfo: { name: 'teleport-demo' },
  })
  expect(await session.send(notification('notifications/initialized'), never)).toEqual({ kind: 'accepted' })
  const { tools } = await ask(session, request('2', 'tools/list'))
  expect(tools).toMatchObject([{ name: 'teleport_user_info' }, { name: 'teleport_session_info' }, { name: 'teleport_demo_info' }])
  expect(await ask(session, call('3', 'teleport_user_info'))).toMatchObject({
    content: [{ type: 'text', text: '{"name":"alice","user_kind":"user","roles":["access"]}' }],
  })
  expect(await ask(session, call('4', 'teleport_session_info'))).toMatchObject({
    content: [
      {
        text: '{"teleport_cluster":"castle","teleport_app_name":"teleport-mcp-demo","teleport_app_description":"shows who you are","mcp_transport_type":"stdio"}',
      },
    ],
  })
  expect(await ask(session, request('5', 'resources/read', { uri: 'demo://teleport-demo/user' }))).toMatchObject({
    contents: [{ mimeType: 'application/json' }],
  })
  expect(await session.listen({}, never)).toMatchObject({ kind: 'refused', status: 405 })
})

test('a modern client needs no handshake', async () => {
  const session = await open('modern')
  expect(await ask(session, request('1', 'server/discover', { _meta: META }))).toMatchObject({ supportedVersions: ['2026-07-28'] })
  expect(await ask(session, request('2', 'tools/call', { name: 'teleport_user_info', arguments: {}, _meta: META }))).toMatchObject({
    resultType: 'complete',
    content: [{ text: '{"name":"alice","user_kind":"user","roles":["access"]}' }],
  })
  expect(await ask(session, request('3', 'resources/read', { uri: 'demo://teleport-demo/guide', _meta: META }))).toMatchObject({
    contents: [{ mimeType: 'text/plain' }],
  })
})
