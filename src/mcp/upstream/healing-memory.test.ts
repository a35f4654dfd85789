import { expect, test } from 'vitest'
import { createMemory } from './healing-memory.ts'
import type { Outgoing } from './upstream.ts'

function outgoing(method: string, more = ''): Outgoing {
  const isRequest = !method.startsWith('notifications/')
  const bytes = Buffer.from(`{"jsonrpc":"2.0",${isRequest ? '"id":1,' : ''}"method":"${method}"${more}}`)
  return {
    kind: isRequest ? 'request' : 'notification',
    bytes,
    id: isRequest ? '1' : undefined,
    method,
    progressToken: undefined,
    headers: {},
    whole: true,
  }
}

test('what a client says to a session is kept for the next, but not at any size', () => {
  const memory = createMemory()
  const taken = { kind: 'accepted' } as const
  const level = outgoing('logging/setLevel', ',"params":{"level":"info"}')
  const padding = `"x":"${'x'.repeat(100_000)}"`
  memory.remember(outgoing('notifications/initialized'), taken)
  memory.remember(level, taken)
  expect(memory.afterInitialize()).toEqual([outgoing('notifications/initialized'), level])
  memory.remember(outgoing('notifications/initialized', `,"params":{${padding}}`), taken)
  memory.remember(outgoing('logging/setLevel', `,"params":{"level":"info",${padding}}`), taken)
  expect(memory.afterInitialize()).toEqual([outgoing('notifications/initialized')])
})
