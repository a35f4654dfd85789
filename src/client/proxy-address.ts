import type { Duplex } from 'node:stream'
import { AppError } from '../lib/errors.ts'
import { isLoopbackHost } from '../lib/loopback.ts'

/** Where a Proxy Service listens. */
export interface ProxyAddress {
  /** A name or an IP address, without brackets. */
  host: string
  port: number
  /** The way there where a plain connection does not pass: a stream of bytes to the proxy, with TLS within as on a connection of its own. */
  open?: ((signal: AbortSignal) => Promise<Duplex>) | undefined
}

const LOOPBACK_PORT = 3080
const PUBLIC_PORT = 443

/**
 * Reads `host`, `host:port`, `[::1]:port` or `https://host:port/`. Without a port 443 is meant, on this machine 3080.
 * Anything else throws `invalid_argument`.
 */
export function parseProxyAddress(text: string): ProxyAddress {
  const trimmed = text.trim()
  const url = URL.parse(/^https?:\/\//i.test(trimmed) ? trimmed : `https://${trimmed}`)
  const isOnlyAddress =
    url !== null && !url.username && !url.password && (url.pathname === '/' || url.pathname === '/web') && !url.search && !url.hash
  if (!isOnlyAddress || !url.hostname || /[\s\\]/.test(trimmed))
    throw new AppError('invalid_argument', `"${text}" is not a proxy address: write HOST:PORT, for example sallyport.example.com:443`)
  const host = url.hostname.replace(/^\[|\]$/g, '')
  // URL drops a port that is its scheme's own, so look at the text too.
  const named = trimmed.replace(/^https?:\/\//i, '').match(/^(?:\[[^\]]*\]|[^:]*):(\d{1,5})(?:\/|$)/)?.[1]
  return { host, port: named ? Number(named) : isLoopbackHost(host) ? LOOPBACK_PORT : PUBLIC_PORT }
}

/** `host:port`, an IPv6 address in brackets; what profiles are named by. */
export function renderProxyAddress({ host, port }: ProxyAddress): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** Whether the address is on this machine, so that nobody can stand in between. */
export function isLoopbackProxy({ host }: ProxyAddress): boolean {
  return isLoopbackHost(host)
}
