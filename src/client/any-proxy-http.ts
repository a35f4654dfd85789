import { AppError } from '../lib/errors.ts'
import { renderProxyAddress } from './proxy-address.ts'
import type { ProxyAddress } from './proxy-address.ts'
import type { ProxyHttp, ProxyRequest } from './proxy-http.ts'

/**
 * HTTP to whichever of several proxies can be reached: the one that worked, and after a failure of the network the next. What was not sent, or
 * may be sent twice, goes there at once; for the rest the caller hears of the failure.
 * @param addresses at least one; asked for anew with each request.
 */
export function createAnyProxyHttp(addresses: () => readonly ProxyAddress[], open: (proxy: ProxyAddress) => ProxyHttp): ProxyHttp {
  const opened = new Map<string, ProxyHttp>()
  let current = ''
  const at = (proxy: ProxyAddress): ProxyHttp => {
    const key = renderProxyAddress(proxy)
    const http = opened.get(key) ?? open(proxy)
    opened.set(key, http)
    return http
  }

  async function send(request: ProxyRequest): Promise<Awaited<ReturnType<ProxyHttp['send']>>> {
    const all = addresses()
    const first = Math.max(
      0,
      all.findIndex((proxy) => renderProxyAddress(proxy) === current),
    )
    const order = [...all.slice(first), ...all.slice(0, first)]
    for (const [n, proxy] of order.entries()) {
      let isSent = false
      const onSent = (): void => {
        isSent = true
        request.onSent?.()
      }
      try {
        return await at(proxy).send({ ...request, onSent })
      } catch (thrown) {
        const next = order[n + 1] ?? order[0]
        if (!isOfNetwork(thrown) || !next) throw thrown
        current = renderProxyAddress(next)
        if (n === order.length - 1 || request.signal.aborted || (isSent && request.repeatable !== true)) throw thrown
      }
    }
    throw new AppError('internal', 'no proxy is known')
  }

  return {
    send,
    close: () => {
      for (const http of opened.values()) http.close()
    },
  }
}

/** Another proxy may be reached: also where this one has a certificate that is not good. */
export function isOfNetwork(thrown: unknown): boolean {
  return thrown instanceof AppError && thrown.details !== undefined && 'network' in thrown.details
}
