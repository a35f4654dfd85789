import { request as requestHttp } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { request as requestHttps } from 'node:https'
import type { Socket } from 'node:net'
import { AppError } from '../lib/errors.ts'

export interface HttpConnectOptions {
  /** `http://` or `https://`, with a name and a password where the proxy wants them. */
  proxy: URL
  host: string
  port: number
  /** How long to try; of no effect once there is a connection. */
  signal: AbortSignal
  /** PEM certificates that an `https://` proxy's may be issued by; the system's without. */
  ca?: string[]
}

/**
 * A connection through an HTTP proxy, by CONNECT (RFC 9110 §9.3.6), with Basic credentials (RFC 7617) from its URL.
 * @throws AppError unavailable, saying what the proxy answered; never with its password.
 */
export function connectThroughProxy(options: HttpConnectOptions): Promise<Socket> {
  const { proxy, host, port, signal, ca } = options
  const place = `${proxy.protocol}//${proxy.host}`
  if (proxy.protocol !== 'http:' && proxy.protocol !== 'https:')
    throw new AppError('invalid_argument', `an HTTP proxy has an http:// or https:// URL, not ${proxy.protocol}//`)
  const isTls = proxy.protocol === 'https:'
  const target = `${host.includes(':') ? `[${host}]` : host}:${port}`
  const { promise, resolve, reject } = Promise.withResolvers<Socket>()
  const request = (isTls ? requestHttps : requestHttp)({
    host: proxy.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: proxy.port === '' ? (isTls ? 443 : 80) : Number(proxy.port),
    method: 'CONNECT',
    path: target,
    headers: { host: target, ...credentialsOf(proxy) },
    agent: false,
    ...(isTls && ca && { ca }),
  })
  request.on('connect', ({ statusCode = 0 }: IncomingMessage, socket: Socket, early: Buffer) => {
    if (statusCode >= 200 && statusCode < 300) {
      if (early.length > 0) socket.unshift(early)
      return resolve(socket)
    }
    socket.destroy()
    reject(refused(place, target, statusCode))
  })
  // Node gives an answer to CONNECT that is no tunnel as "connect" too; this is for those that are no HTTP answer to it.
  request.on('response', (response) => {
    response.destroy()
    reject(refused(place, target, response.statusCode ?? 0))
  })
  request.on('error', (cause) =>
    reject(new AppError('unavailable', `the HTTP proxy ${place} cannot be reached: ${cause.message}`, { cause })),
  )
  const onAbort = (): void => {
    request.destroy(new Error('it was given up'))
  }
  if (signal.aborted) onAbort()
  else signal.addEventListener('abort', onAbort)
  request.end()
  return promise.finally(() => signal.removeEventListener('abort', onAbort))
}

function refused(place: string, target: string, status: number): AppError {
  const hint = status === 407 ? ': it wants a name and a password, which belong into its URL' : ''
  return new AppError('unavailable', `the HTTP proxy ${place} answered ${status} to a connection to ${target}${hint}`)
}

function credentialsOf({ username, password }: URL): Record<string, string> {
  if (username === '' && password === '') return {}
  const pair = `${decode(username)}:${decode(password)}`
  return { 'proxy-authorization': `Basic ${Buffer.from(pair).toString('base64')}` }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text // a percent sign that stands for itself
  }
}
