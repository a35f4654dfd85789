import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { createFixture, type Fixture } from '../../test/fakes/mcp-endpoint.ts'
import { streamed } from '../../test/fakes/memory-upstream.ts'

// What one request leaves behind, twenty thousand of them show.

const REQUESTS = 20_000
const MAX_GROWTH = 4 * 1024 * 1024
const VERSION = '2026-07-28'
const META = `"_meta":{"io.modelcontextprotocol/protocolVersion":"${VERSION}","io.modelcontextprotocol/clientCapabilities":{}}`
const MODERN = { 'mcp-protocol-version': VERSION, 'mcp-method': 'tools/call', 'mcp-name': 'echo' }

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

async function heapAfter(f: Fixture, count: number, ask: (n: number) => Promise<unknown>): Promise<number> {
  for (let n = 0; n < count; n++) {
    await ask(n)
    f.events.length = 0
    f.upstream.sent.length = 0
  }
  await new Promise((resolve) => setImmediate(resolve))
  collect()
  await new Promise((resolve) => setImmediate(resolve))
  collect()
  return process.memoryUsage().heapUsed
}

test.each(['legacy', 'modern'])('a %s conversation does not grow with the requests it served', async (era) => {
  const f = createFixture()
  f.upstream.script = (message) => streamed(message, '{"content":[]}')
  const session = await f.open()
  const params = era === 'modern' ? `${META},"name":"echo"` : '"name":"echo"'
  const headers = era === 'modern' ? MODERN : { 'mcp-session-id': session }
  const listener = f.send({ method: 'GET', headers: { 'mcp-session-id': session, accept: 'text/event-stream' } })
  await listener.begun
  const ask = (n: number) => f.ask({ text: `{"jsonrpc":"2.0","id":${n},"method":"tools/call","params":{${params}}}`, headers })
  const before = await heapAfter(f, 2000, ask)
  const after = await heapAfter(f, REQUESTS, (n) => ask(n + 2000))
  expect(after - before).toBeLessThan(MAX_GROWTH)
  expect(f.endpoint.isBusy).toBe(false)
})
