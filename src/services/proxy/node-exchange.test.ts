import { Agent, createServer, type IncomingMessage, type RequestListener, request as send, type Server } from 'node:http'
import { connect } from 'node:net'
import { once } from 'node:events'
import { buffer } from 'node:stream/consumers'
import { afterEach, expect, test } from 'vitest'
import { BodyRoom } from '../../lib/body-room.ts'
import { answerOf, readBody, readExchange } from './node-exchange.ts'

let server: Server | undefined
afterEach(() => {
  server?.close()
  server?.closeAllConnections()
})

async function start(listener: RequestListener): Promise<number> {
  server = createServer(listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

async function get(port: number): Promise<{ answer: IncomingMessage; body: Buffer }> {
  const call = send({ host: '127.0.0.1', port, agent: false }).end()
  const answer = await new Promise<IncomingMessage>((resolve, reject) => call.on('response', resolve).on('error', reject))
  return { answer, body: await buffer(answer) }
}

test('a body that breaks off is no body', async () => {
  const read = Promise.withResolvers<string>()
  const port = await start((request) => {
    readBody(
      request,
      100,
      (body) => read.resolve(`took ${body.length} bytes`),
      (error) => read.resolve(String(error)),
    )
  })
  const socket = connect(port, '127.0.0.1')
  socket.write('POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nhalf', () => socket.destroy())
  expect(await read.promise).toContain('the client broke off its request')
})

test('a client that has left sends no body', async () => {
  const requests = Promise.withResolvers<IncomingMessage>()
  const port = await start((request) => requests.resolve(request))
  const socket = connect(port, '127.0.0.1')
  socket.write('POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nhalf')
  const request = await requests.promise
  request.on('error', () => undefined)
  const left = new Promise((resolve) => request.on('close', resolve))
  socket.destroy()
  await left
  const read = Promise.withResolvers<Buffer>()
  readBody(request, 10, read.resolve, read.reject)
  await expect(read.promise).rejects.toMatchObject({ code: 'cancelled' })
})

test('a body in a million pieces takes no more memory than one in a few', async () => {
  const read = Promise.withResolvers<{ body: Buffer; heapBytes: number }>()
  const port = await start((request) => {
    const before = process.memoryUsage().heapUsed
    const onBody = (body: Buffer): void => read.resolve({ body, heapBytes: process.memoryUsage().heapUsed - before })
    readBody(request, 2_000_000, onBody, read.reject)
  })
  const socket = connect(port, '127.0.0.1')
  socket.write('POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n')
  for (let piece = 0; piece < 100; piece++) socket.write('1\r\na\r\n'.repeat(10_000))
  socket.write('0\r\n\r\n')
  const { body, heapBytes } = await read.promise
  socket.destroy()
  expect(body.equals(Buffer.alloc(1_000_000, 'a'))).toBe(true)
  // An object for each piece takes 200 bytes and more.
  expect(heapBytes).toBeLessThan(100_000_000)
})

test('a body for which there is no room is not kept, and what follows is served', async () => {
  const room = new BodyRoom(50_000)
  const port = await start((request, response) => {
    readExchange(
      request,
      response,
      { maxBytes: 1_000_000, room, sender: () => 'user:ana' },
      {
        onExchange: ({ body }) => response.end(`took ${body.length} bytes`),
        onFault: ({ code }) => response.end(code),
      },
    )
  })
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const post = async (bytes: number): Promise<string> => {
    const call = send({ host: '127.0.0.1', port, agent, method: 'POST', headers: { 'content-type': 'application/json' } })
    call.end(Buffer.alloc(bytes))
    const answer = await new Promise<IncomingMessage>((resolve, reject) => call.on('response', resolve).on('error', reject))
    return String(await buffer(answer))
  }
  expect([await post(200_000), await post(60_000), await post(100_000), await post(100_000)]).toEqual([
    'unavailable',
    'took 60000 bytes',
    'took 100000 bytes',
    'took 100000 bytes',
  ])
  agent.destroy()
  expect(room.take(50_000, 'user:bob')).toBe(true)
})

// 16 KiB is where the way of writing changes.
test.each([256, 16 * 1024, 16 * 1024 + 1])('an answer of %d bytes arrives byte for byte, whatever they are', async (size) => {
  const bytes = Buffer.from(Uint8Array.from({ length: size }, (_, index) => index % 256))
  const port = await start((_, response) => {
    const answer = answerOf(response)
    answer.head(200, { 'content-type': 'application/json', 'content-length': String(size) })
    answer.end(bytes)
  })
  const { answer, body } = await get(port)
  expect([answer.headers['content-length'], answer.headers['transfer-encoding']]).toEqual([String(size), undefined])
  expect(body.equals(bytes)).toBe(true)
})

test('the last piece of an answer in pieces arrives byte for byte', async () => {
  const port = await start((_, response) => {
    const answer = answerOf(response)
    answer.head(200, { 'content-type': 'application/json' })
    answer.write(Buffer.from('"grün'))
    answer.end(Buffer.from(' und weiß"'))
  })
  expect((await get(port)).body.toString('utf8')).toBe('"grün und weiß"')
})
