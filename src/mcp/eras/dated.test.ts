import { expect, it } from 'vitest'
import { createEraUpstream, type EraScript, type EraUpstream, rpcError } from '../../../test/fakes/era-upstream.ts'
import { eventsOf as events, result } from '../../../test/fakes/memory-upstream.ts'
import { call, eventsOf, messageText, never, readData, request } from '../../../test/fakes/outgoing.ts'
import { silentLogger } from '../../lib/log.ts'
import type { UpstreamSession } from '../upstream/upstream.ts'
import { createBridgedUpstream } from './bridged.ts'

const CONTENT = '[{"type":"audio","mimeType":"audio/wav","data":"AA=="},{"type":"resource_link","uri":"note://one","name":"note"}]'

/** A session of a client of one revision with a server that answers `initialize` with another. */
async function open(
  asked: string,
  answered: string,
  script: EraScript,
): Promise<{ session: UpstreamSession; inner: EraUpstream; first: string }> {
  const initialized = JSON.stringify({ protocolVersion: answered, capabilities: {}, serverInfo: { name: 's', version: '1' } })
  const inner = createEraUpstream({
    legacy: (message, signal) => (message.method === 'initialize' ? result(message, initialized) : script(message, signal)),
    modern: (message) => rpcError(message, -32601),
  })
  const deps = { server: 's', now: () => 0, random: (bytes: number) => Buffer.alloc(bytes), log: silentLogger, version: '1' }
  const session = await createBridgedUpstream(inner, deps).open({
    era: 'legacy',
    headers: {},
    caller: { name: 'alice', kind: 'user', roles: [] },
  })
  const first = messageText(await session.send(request('0', 'initialize', { protocolVersion: asked }), never))
  return { session, inner, first }
}

it('a revision that is not known is the server’s to answer', async () => {
  const { first } = await open('2031-01-01', '2025-11-25', (message) => result(message, '{}'))
  expect(JSON.parse(first)).toMatchObject({ result: { protocolVersion: '2025-11-25' } })
})

it('each side is told its own revision, in the handshake and in the headers', async () => {
  const { session, inner, first } = await open('2025-03-26', '2025-11-25', (message) => result(message, `{"content":${CONTENT}}`))
  expect(JSON.parse(first)).toMatchObject({ result: { protocolVersion: '2025-03-26', serverInfo: { name: 's' } } })
  const answer = await session.send(call('1', 't', {}, { headers: { 'mcp-protocol-version': '2025-03-26' } }), never)
  expect(inner.arrived[1]?.headers).toEqual({ 'mcp-protocol-version': '2025-11-25' })
  expect(JSON.parse(messageText(answer))).toEqual({
    jsonrpc: '2.0',
    id: 1,
    result: {
      content: [
        { type: 'audio', mimeType: 'audio/wav', data: 'AA==' },
        { type: 'text', text: '[link to a resource, note, note://one]' },
      ],
    },
  })
})

it('content is lowered in prompts and in events, and only in the answer', async () => {
  const note = '{"jsonrpc":"2.0","method":"notifications/message","params":{"n":1.0}}'
  const { session } = await open('2024-11-05', '2025-06-18', (message) => {
    const content = '{"type":"audio","mimeType":"audio/wav","data":"AA=="}'
    return events([note, `{"jsonrpc":"2.0","id":${message.id},"result":{"messages":[{"role":"user","content":${content}}]}}`])
  })
  const data = await readData(eventsOf(await session.send(request('1', 'prompts/get', { name: 'p' }), never)))
  expect(data[0]).toBe(note)
  expect(JSON.parse(data[1] ?? '')).toMatchObject({
    id: 1,
    result: { messages: [{ role: 'user', content: { type: 'text', text: '[audio, audio/wav]' } }] },
  })
})

it('nothing is rewritten when both speak the same', async () => {
  const { session } = await open('2024-11-05', '2024-11-05', (message) => result(message, `{"content":${CONTENT}}`))
  expect(messageText(await session.send(call('1', 't'), never))).toBe(`{"jsonrpc":"2.0","id":1,"result":{"content":${CONTENT}}}`)
})
