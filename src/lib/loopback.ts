import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net'

const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4')
LOOPBACK.addAddress('::1', 'ipv6')

/** Whether an IP address (not a name) is this machine: 127.0.0.0/8, ::1, and the former mapped into IPv6. */
export function isLoopbackAddress(ip: string): boolean {
  if (isIPv4(ip)) return LOOPBACK.check(ip, 'ipv4')
  return isIPv6(ip) && LOOPBACK.check(ip, 'ipv6')
}

/** Whether a host (without port) can only be this machine: `localhost`, `*.localhost` (RFC 6761, 6.3), a loopback address; `[::1]` too. */
export function isLoopbackHost(name: string): boolean {
  const host = normalizeHost(name)
  return host === 'localhost' || host.endsWith('.localhost') || isLoopbackAddress(host)
}

/**
 * Whether a `Host` header names us. A page that rebinds its own name to our address (DNS rebinding) still sends its own name here,
 * so every server that trusts the network it listens on has to ask. `allowed` has names, with a port when only that port is meant
 * (`:443` and `:80` also match a header without one); the entry `localhost` stands for every loopback host. A missing or malformed
 * header is refused.
 */
export function checkHost(hostHeader: string | undefined, allowed: readonly string[]): boolean {
  const sent = splitHost(hostHeader ?? '')
  return sent !== undefined && allowed.some((entry) => matchesEntry(sent, entry))
}

/**
 * Whether a request may come from the page it names in `Origin`. No header means no browser page sent it; `null` (a sandboxed page, a
 * file) is refused. `allowed` has whole origins (`https://proxy.example.com:3080`) or hosts as for `checkHost`, which allow every scheme.
 */
export function checkOrigin(originHeader: string | undefined, allowed: readonly string[]): boolean {
  if (originHeader === undefined) return true
  const origin = URL.parse(originHeader)
  if (!origin || (origin.protocol !== 'https:' && origin.protocol !== 'http:')) return false
  // An Origin has nothing after the host (RFC 6454, 7.1); with anything else it is not what a browser sends.
  if (
    originHeader.toLowerCase() !== origin.origin &&
    originHeader.toLowerCase() !== `${origin.origin}:${origin.protocol === 'https:' ? 443 : 80}`
  )
    return false
  const sent = { host: normalizeHost(origin.hostname), port: origin.port || (origin.protocol === 'https:' ? '443' : '80') }
  return allowed.some((entry) => (entry.includes('://') ? URL.parse(entry)?.origin === origin.origin : matchesEntry(sent, entry)))
}

interface Authority {
  host: string
  /** Empty when none is given. */
  port: string
}

function matchesEntry(sent: Authority, entry: string): boolean {
  const wanted = splitHost(entry)
  if (!wanted) return false
  if (wanted.host === 'localhost' ? !isLoopbackHost(sent.host) : wanted.host !== sent.host) return false
  if (wanted.port === '' || wanted.port === sent.port) return true
  return sent.port === '' && (wanted.port === '443' || wanted.port === '80')
}

/** Host and port of `host`, `host:port`, `[ipv6]` or `[ipv6]:port`; a bare IPv6 address, user names and paths are nothing. */
function splitHost(text: string): Authority | undefined {
  const match = /^(\[[0-9a-f:.]{2,45}\]|[\w.-]{1,253})(?::(\d{1,5}))?$/i.exec(text)
  const host = match?.[1]
  if (host === undefined || (host.startsWith('[') && isIP(host.slice(1, -1)) !== 6)) return undefined
  return { host: normalizeHost(host), port: match?.[2] ?? '' }
}

function normalizeHost(name: string): string {
  const lower = name.toLowerCase()
  if (lower.startsWith('[') && lower.endsWith(']')) return lower.slice(1, -1)
  return lower.endsWith('.') ? lower.slice(0, -1) : lower
}
