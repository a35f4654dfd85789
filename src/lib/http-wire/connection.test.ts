import { afterEach, describe, expect, test } from 'vitest'
import { answer, closeOpened, exchange, isReused, post, setUp } from './pool.fixture.ts'
import { listen } from './raw-server.fixture.ts'

afterEach(closeOpened)

describe('abort', () => {
  test('while connecting', async () => {
    const { server, pool } = await setUp()
    const told = listen()
    pool.send(post('a'), told.receiver).abort()
    expect(pool.size).toBe(0)
    const after = listen()
    pool.send(post('b'), after.receiver)
    // What was given up may or may not have come as far as a connection.
    const first = await server.accept()
    const peer = await Promise.race([first.receive('\r\n\r\nb').then(() => first), first.closed.then(() => server.accept())])
    await peer.receive('')
    peer.write(answer('b'))
    expect(await after.over).toEqual(['200', 'end'])
    expect(told.words).toEqual([])
  })

  test('while waiting, and within an answer', async () => {
    for (const begun of ['', 'HTTP/1.1 200 OK\r\n', 'HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\na']) {
      const setting = await setUp()
      const told = listen()
      const asked = setting.pool.send(post('a'), told.receiver)
      const peer = await setting.server.accept()
      await peer.receive('\r\n\r\na')
      peer.write(begun)
      if (begun.endsWith('a')) await told.headed
      asked.abort()
      await peer.closed
      expect(told.words).toEqual(begun.endsWith('a') ? ['200'] : [])
      expect(await isReused(setting, peer)).toBe(false)
    }
  })

  test('from within the answer', async () => {
    const { server, pool } = await setUp()
    const told = listen({ head: () => asked.abort() })
    const asked = pool.send(post('a'), told.receiver)
    const peer = await server.accept()
    await peer.receive('\r\n\r\na')
    peer.write(answer('a'))
    await peer.closed
    expect([told.words, told.body]).toEqual([['200'], ''])
  })

  test('after the end it does not touch who uses the connection then', async () => {
    const setting = await setUp()
    const told = listen()
    const asked = setting.pool.send(post('a'), told.receiver)
    const peer = await setting.server.accept()
    await peer.receive('\r\n\r\na')
    peer.write(answer('a'))
    await told.over
    const next = listen()
    setting.pool.send(post('b'), next.receiver)
    asked.pause()
    asked.abort()
    await peer.receive('\r\n\r\nb')
    peer.write(answer('b'))
    expect(await next.over).toEqual(['200', 'end'])
  })
})

describe('back-pressure', () => {
  test('a paused exchange reads no more, until it is resumed', async () => {
    const setting = await setUp()
    const size = 30_000_000
    const told = listen({ head: () => asked.pause() })
    const asked = setting.pool.send(post('a'), told.receiver)
    const peer = await setting.server.accept()
    await peer.receive('\r\n\r\na')
    peer.write(answer('x'.repeat(size)))
    await told.headed
    await exchange(setting, 'beside')
    expect(told.body.length).toBeLessThan(1_000_000)
    expect(peer.socket.writableLength).toBeGreaterThan(0)
    asked.resume()
    expect(await told.over).toEqual(['200', 'end'])
    expect(told.body.length).toBe(size)
  })

  test('one that ends paused leaves a connection that reads', async () => {
    const setting = await setUp()
    const told = listen({ data: () => asked.pause() })
    const asked = setting.pool.send(post('a'), told.receiver)
    const peer = await setting.server.accept()
    await peer.receive('\r\n\r\na')
    peer.write(answer('a'))
    await told.over
    expect(await isReused(setting, peer)).toBe(true)
  })
})

describe('limits of time', () => {
  test('for a connection', async () => {
    const { pool, clock } = await setUp()
    const told = listen()
    pool.send(post('a'), told.receiver)
    clock.now = 1000
    pool.sweep()
    expect(told.words).toEqual([])
    clock.now = 1001
    pool.sweep()
    expect(told.words).toEqual(['WIRE_CONNECT_TIMEOUT'])
    expect(pool.size).toBe(0)
  })

  test('for the head of an answer, which interim ones do not make longer', async () => {
    const { server, pool, clock } = await setUp()
    const told = listen()
    pool.send(post('a'), told.receiver)
    const peer = await server.accept()
    await peer.receive('\r\n\r\na')
    clock.now = 5000
    peer.write('HTTP/1.1 102 Processing\r\n\r\n')
    pool.sweep()
    expect(told.words).toEqual([])
    clock.now = 5001
    pool.sweep()
    expect(told.words).toEqual(['WIRE_HEADERS_TIMEOUT'])
    await peer.closed
  })

  test('not for the body', async () => {
    const { server, pool, clock } = await setUp()
    const told = listen()
    pool.send(post('a'), told.receiver)
    const peer = await server.accept()
    await peer.receive('\r\n\r\na')
    peer.write('HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n')
    await told.headed
    clock.now = 1_000_000
    pool.sweep()
    peer.write('a')
    expect(await told.over).toEqual(['200', 'end'])
  })

  test.each([
    ['4 seconds when the server does not say', '', 3999],
    ['a second less than the server says', 'keep-alive: timeout=20\r\n', 18_999],
    ['half of it when it says little', 'keep-alive: timeout=1\r\n', 499],
    ['a minute at most', 'keep-alive: timeout=999999\r\n', 59_999],
  ])('idle for %s', async (_, fields, lastMs) => {
    for (const isSwept of [false, true]) {
      const setting = await setUp()
      const { peer } = await exchange(setting, 'a', answer('a', fields))
      setting.clock.now = lastMs
      setting.pool.sweep()
      expect(setting.pool.size).toBe(1)
      setting.clock.now = lastMs + 1
      if (isSwept) setting.pool.sweep()
      expect(setting.pool.size).toBe(isSwept ? 0 : 1)
      expect(await isReused(setting, peer)).toBe(false)
    }
  })
})

describe('large pieces', () => {
  test('belong to the receiver until it gives them back', async () => {
    const { server, pool } = await setUp()
    const chunks: Buffer[] = []
    const over = Promise.withResolvers<void>()
    const receiver = {
      onHead: () => undefined,
      onData: (chunk: Buffer) => void chunks.push(chunk),
      onEnd: () => over.resolve(),
      onFault: (error: Error) => over.reject(error),
    }
    const asked = pool.send(post('a'), receiver)
    const peer = await server.accept()
    await peer.receive('\r\n\r\na')
    const body = Array.from({ length: 20 }, (_, at) => String.fromCharCode(97 + at).repeat(64 * 1024)).join('')
    peer.write(answer(body))
    await over.promise
    expect(Buffer.concat(chunks).toString('latin1')).toBe(body)
    const large = chunks.filter(({ length }) => length > 32 * 1024)
    expect(large.length).toBeGreaterThan(5)
    for (const chunk of large) asked.giveBack(chunk)
    const again = listen()
    pool.send(post('b'), again.receiver)
    await peer.receive('\r\n\r\nb')
    peer.write(answer('0'.repeat(1024 * 1024)))
    await again.over
    expect(again.body).toBe('0'.repeat(1024 * 1024))
    // The second answer was read into the memory of the first, and into that alone.
    expect(large.filter((chunk) => chunk.includes('0')).length).toBeGreaterThan(0)
    expect(chunks.filter(({ length }) => length <= 32 * 1024).filter((chunk) => chunk.includes('0'))).toEqual([])
  })
})
