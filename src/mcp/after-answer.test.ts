import { expect, test } from 'vitest'
import { createFixture } from '../../test/fakes/mcp-endpoint.ts'
import { streamed } from '../../test/fakes/memory-upstream.ts'
import { AppError } from '../lib/errors.ts'
import type { Reply } from './upstream/upstream.ts'

const VERSION = '2026-07-28'
const META = `{"io.modelcontextprotocol/protocolVersion":"${VERSION}","io.modelcontextprotocol/clientCapabilities":{}}`
const MODERN = { 'mcp-protocol-version': VERSION, 'mcp-method': 'tools/call', 'mcp-name': 'get_a' }
const CALL = `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"get_a","_meta":${META}}}`

/** A stream of events that breaks off. */
function breaking(reply: Reply): Reply {
  const events = async function* () {
    if (reply.kind === 'events') yield* reply.events
    throw new AppError('unavailable', 'connection reset', { origin: 'upstream_unreachable' })
  }
  return { kind: 'events', events: events() }
}

test.each(['legacy', 'modern'])('a stream that breaks off after the answer adds nothing to it: %s', async (era) => {
  const f = createFixture()
  f.upstream.script = (message) => breaking(streamed(message, '{"content":[]}'))
  const answer =
    era === 'modern'
      ? await f.ask({ text: CALL, headers: MODERN })
      : await f.call(await f.open(), '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"get_a"}}')
  expect(answer.text).toBe('data: {"jsonrpc":"2.0","id":7,"result":{"content":[]}}\n\n')
})

test('one that breaks off before it is an error', async () => {
  const f = createFixture()
  f.upstream.script = () => breaking({ kind: 'accepted' })
  const { text } = await f.call(await f.open(), '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"get_a"}}')
  expect(text).toContain('"error":{"code":-32603,"message":"connection reset"}')
})
