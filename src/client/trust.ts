import { ping } from '../api/cluster.ts'
import type { OutputOf } from '../api/route.ts'
import { pinOf } from '../ca/authority.ts'
import { AppError } from '../lib/errors.ts'
import { createApiClient } from './call.ts'
import type { Carrier } from './call.ts'
import { AUTH_ALPN, createHttpsCarrier } from './https-carrier.ts'
import { createProxyHttp, isUntrusted } from './proxy-http.ts'
import { isLoopbackProxy, renderProxyAddress } from './proxy-address.ts'
import type { ProxyAddress } from './proxy-address.ts'

export interface TrustOptions {
  proxy: ProxyAddress
  /** `sha256:…` of CAs the person was told to expect. */
  caPins: readonly string[]
  /** Host CAs (PEM) accepted at an earlier sign-in. */
  known: readonly string[]
  insecure: boolean
  /** What to do with the pin, once it is known; signing in with it unless told. */
  remedy?: (pin: string) => string
}

/** A proxy whose identity has been established. */
export interface TrustedProxy {
  proxy: ProxyAddress
  cluster: OutputOf<typeof ping>
  /** Host CAs to pin from now on (PEM). */
  authorities: string[]
  /** `known`: as before; `first-use`: a loopback proxy taken at its word; `unchecked`: the person said not to check. */
  how: 'known' | 'system' | 'pin' | 'first-use' | 'unchecked'
  carrier: Carrier
  close(): void
}

/**
 * Finds out whether the proxy is who it should be, in this order: the given pins, the CAs known from before, the system's CAs, and
 * trust on first use for this machine only. A proxy that changed its CA, or that nothing vouches for, throws `failed_precondition`
 * with the pins to compare.
 */
export async function establishTrust(options: TrustOptions): Promise<TrustedProxy> {
  const { proxy, known, caPins } = options
  if (options.insecure) return await connect(proxy, [], 'unchecked', true)
  if (caPins.length > 0) return await trustPinned(proxy, caPins)
  try {
    return await connect(proxy, known, known.length > 0 ? 'known' : 'system')
  } catch (thrown) {
    if (!isUntrusted(thrown)) throw thrown
    return await judgeUntrusted(options, thrown)
  }
}

/** The pins of the CAs that a proxy is trusted by. */
export function pinsOf({ authorities }: TrustedProxy): string[] {
  return authorities.map(pinOf)
}

async function judgeUntrusted({ proxy, known, remedy }: TrustOptions, cause: unknown): Promise<TrustedProxy> {
  const presented = await offeredAuthorities(proxy)
  const where = renderProxyAddress(proxy)
  const use = remedy ?? ((pin: string) => `run: tsh login --proxy=${where} --ca-pin=${pin}`)
  const pins = presented.map(pinOf).join(', ') || 'none'
  if (known.length > 0)
    throw new AppError(
      'failed_precondition',
      `the certificate authority of ${where} is not the one of your last sign-in\n  was: ${known.map(pinOf).join(', ')}\n  now: ${pins}\n` +
        `If its administrator confirms the new pin, ${use(presented[0] ? pinOf(presented[0]) : 'sha256:…')}`,
      { cause },
    )
  if (isLoopbackProxy(proxy) && presented.length > 0) return await connect(proxy, presented, 'first-use')
  throw new AppError(
    'failed_precondition',
    `nothing vouches for ${where}: its certificate is from an authority this machine does not know (${pins}).\n` +
      `Ask its administrator for the pin (tctl status shows it) and ${use('sha256:…')}`,
    { cause },
  )
}

async function trustPinned(proxy: ProxyAddress, caPins: readonly string[]): Promise<TrustedProxy> {
  for (const pin of caPins)
    if (!/^sha256:[0-9a-f]{64}$/.test(pin))
      throw new AppError('invalid_argument', `"${pin}" is not a CA pin: it is sha256: and 64 hex digits, as tctl status prints it`)
  const presented = await offeredAuthorities(proxy)
  const matching = presented.filter((pem) => caPins.includes(pinOf(pem)))
  if (matching.length === 0)
    throw new AppError(
      'failed_precondition',
      `no certificate authority of ${renderProxyAddress(proxy)} has the pin ${caPins.join(', ')}\n  it has: ${presented.map(pinOf).join(', ') || 'none'}`,
      {
        details: {
          fix: [
            'run tctl status on the host of the Auth Service: if it shows the second pin, give that one; if it shows the first, somebody else answers at this address',
          ],
        },
      },
    )
  try {
    return await connect(proxy, matching, 'pin')
  } catch (thrown) {
    if (!isUntrusted(thrown)) throw thrown
    return await trustPublic(proxy, matching, thrown)
  }
}

/** A proxy with a certificate of a public CA: that one vouches for the connection, over which the pinned CA has to be named again. */
async function trustPublic(proxy: ProxyAddress, matching: readonly string[], cause: unknown): Promise<TrustedProxy> {
  const trusted = await connect(proxy, [], 'system').catch(() => {
    throw cause
  })
  const pinned = trusted.cluster.host_authorities.filter((pem) => matching.includes(pem))
  if (pinned.length > 0) return { ...trusted, authorities: pinned }
  trusted.close()
  throw cause
}

/** What an unverified peer says its CAs are: worth something only after a verified connection with them. */
async function offeredAuthorities(proxy: ProxyAddress): Promise<string[]> {
  const unverified = await connect(proxy, [], 'unchecked', true)
  unverified.close()
  return unverified.cluster.host_authorities
}

async function connect(
  proxy: ProxyAddress,
  authorities: readonly string[],
  how: TrustedProxy['how'],
  insecure = false,
): Promise<TrustedProxy> {
  const http = createProxyHttp({ proxy, authorities, alpn: AUTH_ALPN, insecure, acceptSystemAuthorities: how !== 'pin' })
  const carrier = createHttpsCarrier(http)
  try {
    const cluster = await createApiClient(carrier)(ping, {})
    return {
      proxy,
      cluster,
      authorities: how === 'pin' || how === 'first-use' ? [...authorities] : cluster.host_authorities,
      how,
      carrier,
      close: http.close,
    }
  } catch (thrown) {
    http.close()
    throw thrown
  }
}
