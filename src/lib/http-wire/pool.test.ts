import { afterEach, describe, expect, test } from 'vitest'
import { eventually } from '../../../test/wait.ts'
import { answer, closeOpened, exchange, isReused, opened, post, setUp } from './pool.fixture.ts'
import { listen } from './raw-server.fixture.ts'
import { beginHead } from './request-head.ts'

afterEach(closeOpened)

describe('faults', () => {
  test('nobody listens', async () => {
    const { server, pool } = await setUp()
    await server.close()
    const told = listen()
    pool.send(post('a'), told.receiver)
    expect(await told.over).toEqual(['ECONNREFUSED'])
    expect(pool.size).toBe(0)
    opened.shift()
  })

  test.each([
    ['before the answer', '', ['WIRE_CLOSED']],
    ['within the head', 'HTTP/1.1 200 OK\r\n', ['WIRE_CLOSED']],
    ['within a body', 'HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab', ['200', 'WIRE_CLOSED']],
    ['within chunks', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n', ['200', 'WIRE_CLOSED']],
  ])('the server closes %s, and is not asked again', async (_, text, words) => {
    const { server, pool } = await setUp()
    const told = listen()
    pool.send(post('a'), told.receiver)
    const peer = await server.accept()
    await peer.receive('\r\n\r\na')
    peer.socket.end(text)
    expect(await told.over).toEqual(words)
    expect([pool.size, server.accepted]).toEqual([0, 1])
  })

  test('the server resets a reused connection after it got a request: that is not repeated', async () => {
    const setting = await setUp()
    const { peer } = await exchange(setting, 'a')
    const told = listen()
    setting.pool.send(post('b'), told.receiver)
    await peer.receive('\r\n\r\nb')
    peer.socket.resetAndDestroy()
    expect(await told.over).toEqual(['ECONNRESET'])
    expect(setting.server.accepted).toBe(1)
  })

  test('the server resets a connection as soon as it is made', async () => {
    const { server, pool } = await setUp()
    for (let turn = 0; turn < 20; turn++) {
      const told = listen()
      pool.send(post('a'), told.receiver)
      const peer = await server.accept()
      peer.socket.resetAndDestroy()
      expect(['ECONNRESET', 'EPIPE']).toContain((await told.over).join())
    }
    expect([pool.size, server.accepted]).toEqual([0, 20])
  })

  test('what is no HTTP ends the connection', async () => {
    const setting = await setUp()
    const { told, peer } = await exchange(setting, 'a', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n')
    expect(told.words).toEqual(['WIRE_PROTOCOL'])
    await peer.closed
    expect(setting.pool.size).toBe(0)
  })

  test('more at a time than there may be connections', async () => {
    const setting = await setUp({ maxConnections: 1 })
    setting.pool.send(post('a'), listen().receiver)
    expect(() => setting.pool.send(post('b'), listen().receiver)).toThrow('all 1 connections to the server are in use')
    setting.pool.close()
    expect(() => setting.pool.send(post('c'), listen().receiver)).toThrow('the connections to the server were closed')
  })

  test('closing ends what is under way', async () => {
    const { server, pool } = await setUp()
    const told = listen()
    pool.send(post('a'), told.receiver)
    const peer = await server.accept()
    await peer.receive('\r\n\r\na')
    pool.close()
    expect(told.words).toEqual(['WIRE_SHUT'])
    await peer.closed
  })
})

describe('a connection is used again', () => {
  test('after an answer, whole, in chunks, empty, or after interim ones', async () => {
    const texts = [
      answer('a'),
      answer('a', 'connection: keep-alive\r\n'),
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n',
      'HTTP/1.1 204 No Content\r\n\r\n',
      `HTTP/1.1 100 Continue\r\n\r\n${answer('a')}`,
    ]
    for (const text of texts) {
      const setting = await setUp()
      const { told, peer } = await exchange(setting, 'a', text)
      expect(told.words.at(-1)).toBe('end')
      expect(await isReused(setting, peer)).toBe(true)
    }
  })

  test('not when the server said so, or ended the answer by closing, or sent more than it', async () => {
    const texts = [
      answer('a', 'connection: close\r\n'),
      answer('a', 'keep-alive: timeout=0\r\n'),
      'HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\na',
      `${answer('a')}${answer('evil')}`,
      `${answer('a')}\r\n`,
      'HTTP/1.1 204 No Content\r\n\r\nevil',
    ]
    for (const text of texts) {
      const setting = await setUp()
      const { told, peer } = await exchange(setting, 'a', text)
      expect(told.words).toEqual([text.slice(9, 12), 'end'])
      expect(await isReused(setting, peer)).toBe(false)
      await peer.closed
    }
  })

  test('not when bytes came that nobody asked for', async () => {
    const setting = await setUp()
    const { peer } = await exchange(setting, 'a')
    peer.write(answer('evil'))
    await peer.closed
    expect(setting.pool.size).toBe(0)
    expect(await isReused(setting, peer)).toBe(false)
  })

  test('not when the server closed it, half or whole', async () => {
    for (const close of ['end', 'destroy', 'resetAndDestroy'] as const) {
      const setting = await setUp()
      const { peer } = await exchange(setting, 'a')
      peer.socket[close]()
      await eventually('the client hears of it', () => (setting.pool.size === 0 ? true : undefined))
      expect(await isReused(setting, peer)).toBe(false)
    }
  })

  test('not when it breaks as the request is written: that goes out over another, once', async () => {
    const setting = await setUp()
    const { peer } = await exchange(setting, 'a')
    // The reset is at the kernel of the client, and nobody has heard of it yet.
    peer.socket.resetAndDestroy()
    expect(setting.pool.size).toBe(1)
    const told = listen()
    setting.pool.send(post('b'), told.receiver)
    const other = await setting.server.accept()
    await other.receive('\r\n\r\nb')
    other.write(answer('b'))
    expect(await told.over).toEqual(['200', 'end'])
    expect([setting.pool.size, setting.server.accepted]).toEqual([1, 2])
  })

  test('not when the answer came before its request was sent', async () => {
    const setting = await setUp()
    const told = listen()
    setting.pool.send(post('a', 'x'.repeat(20_000_000)), told.receiver)
    const peer = await setting.server.accept()
    peer.socket.pause()
    peer.write('HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno')
    expect(await told.over).toEqual(['413', 'end'])
    expect(told.body).toBe('no')
    expect(setting.pool.size).toBe(0)
  })

  test('the one used last first; as many as there are requests at a time', async () => {
    const setting = await setUp()
    const { server, pool } = setting
    const [one, two] = [listen(), listen()]
    pool.send(post('one'), one.receiver)
    pool.send(post('two'), two.receiver)
    const peers = [await server.accept(), await server.accept()]
    const [first, second] = (await peers[0]?.receive('\r\n\r\n'))?.includes('one') ? peers : peers.toReversed()
    if (!first || !second) throw new Error('two connections were accepted')
    second.write(answer('2'))
    await two.over
    first.write(answer('1'))
    await one.over
    expect([one.body, two.body]).toEqual(['1', '2'])
    expect(await isReused(setting, first)).toBe(true)
    expect(pool.size).toBe(2)
  })
})

describe('requests', () => {
  test('are written as they are, large ones and those without a body too', async () => {
    const setting = await setUp()
    const { peer } = await exchange(setting, 'small')
    expect(await peer.receive('')).toBe('POST /small HTTP/1.1\r\nhost: h\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\nsmall')
    const told = listen()
    setting.pool.send({ method: 'GET', head: beginHead('GET', '/', 'h', { host: 'other' }), body: undefined }, told.receiver)
    expect(await peer.receive('other\r\n\r\n')).toMatch(/GET \/ HTTP\/1\.1\r\nconnection: keep-alive\r\nhost: other\r\n\r\n$/)
    peer.write(answer('a'))
    await told.over
    setting.pool.send(post('large', `${'x'.repeat(1_000_000)}!`), listen().receiver)
    expect(await peer.receive('!')).toMatch(/content-length: 1000001\r\n\r\nx{1000000}!$/)
  })

  test('HEAD has no body to wait for', async () => {
    const setting = await setUp()
    const told = listen()
    setting.pool.send({ method: 'HEAD', head: beginHead('HEAD', '/', 'h', {}), body: undefined }, told.receiver)
    const peer = await setting.server.accept()
    await peer.receive('\r\n\r\n')
    peer.write('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n')
    expect(await told.over).toEqual(['200', 'end'])
    expect(await isReused(setting, peer)).toBe(true)
  })

  test('a header that HTTP cannot carry is refused', () => {
    for (const [name, value] of [
      ['a', 'b\r\nc: d'],
      ['a', '\0'],
      ['a b', 'c'],
      ['a', '€'],
      ['', 'a'],
    ] as const)
      expect(() => beginHead('GET', '/', 'h', { [name]: value })).toThrow('a header has a name or a value that HTTP cannot carry')
  })

  test('over IPv6', async (context) => {
    const setting = await setUp({}, '::1').catch(() => undefined)
    if (!setting) return context.skip('no IPv6 here')
    expect((await exchange(setting, 'a')).told.words).toEqual(['200', 'end'])
  })
})
