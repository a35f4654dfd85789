import { expect, test } from 'vitest'
import { AppError } from '../lib/errors.ts'
import { Outlet } from './outlet.ts'

/** A client that reads nothing. */
function create() {
  const log: string[] = []
  const outlet = new Outlet(
    {
      method: 'POST',
      path: '/mcp',
      headers: {},
      body: Buffer.alloc(0),
      remoteAddress: '',
      signal: new AbortController().signal,
      answer: {
        head: (status) => void log.push(String(status)),
        write: (chunk) => {
          log.push(Buffer.from(chunk).toString())
          return false
        },
        drained: () => new Promise(() => undefined),
        end: (chunk) => void log.push(`end ${chunk ? Buffer.from(chunk).toString() : ''}`),
        abort: (reason) => void log.push(`abort ${reason}`),
      },
    },
    {},
  )
  return { outlet, log }
}

test('a write waits for a slow client until the end is near', async () => {
  const { outlet, log } = create()
  outlet.open('events')
  let isDone = false
  const writing = outlet.write(Buffer.from('a')).then(() => (isDone = true))
  await new Promise((resolve) => setImmediate(resolve))
  expect(isDone).toBe(false)
  outlet.release()
  await writing
  await outlet.fail(new AppError('permission_denied', 'locked'), '1')
  expect(log).toEqual(['200', 'a', 'data: {"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"locked"}}\n\n', 'end '])
})

test('nothing is written after the end, and no second head', async () => {
  const { outlet, log } = create()
  outlet.json(200, Buffer.from('{}'))
  outlet.json(500, Buffer.from('no'))
  outlet.open('events')
  outlet.empty(202)
  outlet.keepAlive()
  outlet.explain('why')
  await outlet.write(Buffer.from('x'))
  await outlet.fail(new AppError('internal', 'no'), undefined)
  outlet.end()
  outlet.abort('no')
  expect(log).toEqual(['200', 'end {}'])
})

test('a JSON answer under way can only be broken off', async () => {
  const { outlet, log } = create()
  outlet.open('json')
  outlet.keepAlive()
  await outlet.fail(new AppError('unavailable', 'gone'), '1')
  expect(log).toEqual(['200', 'abort gone'])
})

test('an explanation stays one comment', () => {
  const { outlet, log } = create()
  outlet.open('events')
  outlet.explain('a\r\n\ndata: b')
  expect(log).toEqual(['200', ': a data: b\n\n'])
})
