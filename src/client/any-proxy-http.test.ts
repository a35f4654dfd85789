import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { expect, test } from 'vitest'
import { AppError } from '../lib/errors.ts'
import { createAnyProxyHttp } from './any-proxy-http.ts'
import type { ProxyAddress } from './proxy-address.ts'
import type { ProxyHttp, ProxyRequest } from './proxy-http.ts'

const A = { host: 'a', port: 1 }
const B = { host: 'b', port: 2 }
const GET = { method: 'GET', path: '/', headers: {}, signal: new AbortController().signal }
const down = (): AppError => new AppError('unavailable', 'nothing listens', { details: { network: true } })

/** Proxies whose answers a test decides; who was asked, in order. */
function proxies(answer: (host: string, request: ProxyRequest) => void): {
  open(proxy: ProxyAddress): ProxyHttp
  asked: string[]
  closed: string[]
} {
  const [asked, closed]: [string[], string[]] = [[], []]
  return {
    asked,
    closed,
    open: ({ host }) => ({
      async send(request) {
        asked.push(host)
        answer(host, request)
        return new IncomingMessage(new Socket())
      },
      close: () => void closed.push(host),
    }),
  }
}

test('what was refused by the Auth Service is not asked of another proxy', async () => {
  const { open, asked } = proxies(() => {
    throw new AppError('permission_denied', 'no')
  })
  await expect(createAnyProxyHttp(() => [A, B], open).send(GET)).rejects.toMatchObject({ code: 'permission_denied' })
  expect(asked).toEqual(['a'])
})

test('what was sent, and must not be sent twice, fails; the next goes to the other proxy', async () => {
  let isDown = true
  const { open, asked } = proxies((host, request) => {
    if (host !== 'a' || !isDown) return
    request.onSent?.()
    throw down()
  })
  const http = createAnyProxyHttp(() => [A, B], open)
  await expect(http.send({ ...GET, method: 'POST' })).rejects.toMatchObject({ code: 'unavailable' })
  expect(asked).toEqual(['a'])
  isDown = false
  await http.send({ ...GET, method: 'POST' })
  expect(asked).toEqual(['a', 'b'])
})

test('what was not sent, or may be sent twice, goes to the other proxy at once, and stays there', async () => {
  const { open, asked, closed } = proxies((host, request) => {
    if (request.repeatable) request.onSent?.()
    if (host === 'a') throw down()
  })
  const http = createAnyProxyHttp(() => [A, B], open)
  await http.send({ ...GET, method: 'POST' })
  await http.send({ ...GET, repeatable: true })
  expect(asked).toEqual(['a', 'b', 'b'])
  http.close()
  expect(closed).toEqual(['a', 'b'])
})

test('when none can be reached each is asked once, and the failure is told', async () => {
  const { open, asked } = proxies(() => {
    throw down()
  })
  await expect(createAnyProxyHttp(() => [A, B], open).send(GET)).rejects.toMatchObject({ message: 'nothing listens' })
  expect(asked).toEqual(['a', 'b'])
})

test('a request that has no time left is not sent again', async () => {
  const { open, asked } = proxies(() => {
    throw down()
  })
  await expect(createAnyProxyHttp(() => [A, B], open).send({ ...GET, signal: AbortSignal.abort() })).rejects.toThrow('nothing listens')
  expect(asked).toEqual(['a'])
})
