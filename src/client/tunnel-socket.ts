import { connect, getCACertificates, type TLSSocket } from 'node:tls'
import { isIP } from 'node:net'
import type { IdentityFile } from '../ca/identity-file.ts'
import { AppError } from '../lib/errors.ts'
import { describeFailure, isUntrusted } from './proxy-http.ts'
import { renderProxyAddress } from './proxy-address.ts'
import type { ProxyAddress } from './proxy-address.ts'

/** By this name the proxy takes a connection for the tunnel of an agent. */
export const TUNNEL_ALPN = 'sallyport-tunnel'

export interface TunnelSocketOptions {
  proxy: ProxyAddress
  identity: IdentityFile
  insecure?: boolean | undefined
}

/**
 * A connection for a tunnel: the proxy is verified as for calls, and shown this host's certificate. Heeds the signal.
 * @throws AppError unavailable with what to check.
 */
export async function openTunnelSocket(options: TunnelSocketOptions, signal: AbortSignal): Promise<TLSSocket> {
  const { authorityPems } = options.identity
  try {
    return await open(options, authorityPems, signal).catch((thrown: unknown) => {
      if (!isUntrusted(thrown)) throw thrown
      return open(options, [...authorityPems, ...getCACertificates('default'), ...getCACertificates('system')], signal)
    })
  } catch (thrown) {
    throw describeFailure(thrown, options.proxy)
  }
}

async function open({ proxy, identity, insecure }: TunnelSocketOptions, ca: string[], signal: AbortSignal): Promise<TLSSocket> {
  const way = await proxy.open?.(signal)
  return await new Promise((resolve, reject) => {
    signal.throwIfAborted()
    const socket = connect({
      ...(way ? { socket: way } : { port: proxy.port }),
      host: proxy.host,
      ...(isIP(proxy.host) === 0 && { servername: proxy.host }),
      ca,
      key: identity.privateKeyPem,
      cert: identity.certificatePem,
      ALPNProtocols: [TUNNEL_ALPN],
      minVersion: 'TLSv1.2',
      rejectUnauthorized: insecure !== true,
    })
    const onAbort = (): void => void socket.destroy(new DOMException('aborted', 'AbortError'))
    signal.addEventListener('abort', onAbort, { once: true })
    socket.once('error', reject)
    socket.once('close', () => reject(new AppError('unavailable', `${renderProxyAddress(proxy)} closed the connection`)))
    socket.once('secureConnect', () => {
      signal.removeEventListener('abort', onAbort)
      socket.off('error', reject)
      if (socket.alpnProtocol === TUNNEL_ALPN) {
        socket.setNoDelay(true)
        return resolve(socket)
      }
      socket.destroy()
      reject(
        new AppError(
          'unavailable',
          `${renderProxyAddress(proxy)} takes no tunnels: is it a Sallyport proxy, reached without a proxy that ends TLS?`,
        ),
      )
    })
  })
}
