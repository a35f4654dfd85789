import { readAnswer } from './answer.ts'
import type { Carrier } from './call.ts'
import type { ProxyHttp } from './proxy-http.ts'

/** By this name the proxy passes a connection through to the Auth Service, which then sees the client's certificate itself. */
export const AUTH_ALPN = ['sallyport-auth', 'http/1.1']

/** Carries calls to the Auth Service behind a proxy. Each call has `timeoutMs`, then `deadline_exceeded`. */
export function createHttpsCarrier(http: ProxyHttp, { timeoutMs = 30_000 } = {}): Carrier {
  return async ({ method, path, headers, body }) =>
    await readAnswer(await http.send({ method, path, headers, body, repeatable: method === 'GET', signal: AbortSignal.timeout(timeoutMs) }))
}
