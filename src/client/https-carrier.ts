import type { InputOf, Route } from '../api/route.ts'
import { readAnswer } from './answer.ts'
import { type Carrier, parseBody, parseError, renderRequest } from './call.ts'
import type { ProxyHttp } from './proxy-http.ts'

/** By this name the proxy passes a connection through to the Auth Service, which then sees the client's certificate itself. */
export const AUTH_ALPN = ['sallyport-auth', 'http/1.1']

/** Carries calls to the Auth Service behind a proxy. Each call has `timeoutMs`, then `deadline_exceeded`. */
export function createHttpsCarrier(http: ProxyHttp, { timeoutMs = 30_000 } = {}): Carrier {
  return async ({ method, path, headers, body }) =>
    await readAnswer(await http.send({ method, path, headers, body, repeatable: method === 'GET', signal: AbortSignal.timeout(timeoutMs) }))
}

/**
 * Calls a route that streams; resolves with the bytes of its lines once the answer begins, which has 30 s. The signal ends it at any time. A
 * refusal throws the error it is.
 */
export async function openStream<R extends Route & { streams: true }>(
  http: ProxyHttp,
  route: R,
  input: InputOf<R>,
  signal: AbortSignal,
): Promise<AsyncIterable<Uint8Array>> {
  const beginning = new AbortController()
  const timer = setTimeout(() => beginning.abort(new DOMException('no answer in time', 'TimeoutError')), BEGIN_MS)
  try {
    const request = { ...renderRequest(route, input), repeatable: true, signal: AbortSignal.any([signal, beginning.signal]) }
    const message = await http.send(request)
    if (message.statusCode === 200) return message
    const answer = await readAnswer(message)
    throw parseError(answer.status, parseBody(answer))
  } finally {
    clearTimeout(timer)
  }
}

const BEGIN_MS = 30_000
