import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { startWireServer, type WireServerFixture } from './wire-server.fixture.ts'

let f: WireServerFixture
let client: Socket
beforeEach(async () => {
  f = await startWireServer()
  client = connect({ port: f.port, host: '127.0.0.1', noDelay: true })
  client.on('error', () => undefined)
  await once(client, 'connect')
  client.pause()
})
afterEach(() => {
  client.destroy()
  return f.close()
})

const REQUEST = 'POST /mcp HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\na'
const LARGE = 100_000

function answerWith(bytes: number): void {
  const body = Buffer.alloc(bytes, 'x')
  f.onExchange = ({ answer }) => {
    answer.head(200, {})
    answer.end(body)
  }
}

async function turns(count: number): Promise<void> {
  for (let n = 0; n < count; n++) await new Promise((resolve) => setImmediate(resolve))
}

test.each(['in one write', 'one by one'])(
  'who takes no answers is given no more of them, and all once it does: requests %s',
  async (how) => {
    answerWith(LARGE)
    if (how === 'in one write') client.write(REQUEST.repeat(500))
    for (let n = 0; how === 'one by one' && n < 500; n++) {
      client.write(REQUEST)
      await turns(1)
    }
    await turns(1000)
    const held = f.sockets[0]?.writableLength ?? 0
    expect(held).toBeGreaterThan(0)
    expect(held).toBeLessThan(1_000_000)
    expect(f.served.length).toBeLessThan(200)
    let received = 0
    client.on('data', (chunk) => (received += chunk.length))
    client.resume()
    while (received < 500 * LARGE) await turns(1)
    expect(f.served).toHaveLength(500)
  },
)

test('early bytes in very small pieces are not kept as so many', async () => {
  f.onExchange = () => undefined
  client.write(REQUEST)
  while (f.served.length < 1) await turns(1)
  for (let n = 0; n < 3000; n++) {
    client.write('P')
    await turns(1)
  }
  expect(f.sockets[0]?.isPaused()).toBe(true)
})

test('who does not take the end, and sends on, is cut off in the end', async () => {
  answerWith(20_000_000)
  client.write(REQUEST.replace('host: a', 'host: a\r\nconnection: close'))
  while (f.served.length < 1) await turns(1)
  const [socket] = f.sockets
  f.clock.ms += 899_000
  f.server.sweep()
  client.write('more')
  await turns(10)
  expect(socket?.destroyed).toBe(false)
  f.clock.ms += 2000
  f.server.sweep()
  expect(socket?.destroyed).toBe(true)
})
