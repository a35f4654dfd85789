import { isIP } from 'node:net'
import { AppError } from '../../../lib/errors.ts'
import { isLoopbackHost } from '../../../lib/loopback.ts'
import type { ClusterAuthPreference } from '../../../resources/cluster-auth-preference.ts'
import { secondFactorsOf } from '../../../resources/second-factors.ts'
import { authPreference } from '../context.ts'
import type { AuthContext } from '../context.ts'
import { originOf } from '../oauth/issuer.ts'

/** Whom passkeys are for (WebAuthn Level 3, section 4). */
export interface RelyingParty {
  /** A domain. */
  id: string
  /** Of the pages on which they may be used. */
  origins: string[]
}

type PartyContext = Pick<AuthContext, 'live' | 'publicAddress' | 'otherAddresses'>

/**
 * `host` is that of the request, which `checkSource` let pass. Undefined where people reach the cluster by an address: browsers keep no
 * passkeys for one.
 */
export function findRelyingParty(context: PartyContext, host: string | undefined): RelyingParty | undefined {
  const id = authPreference(context).spec.webauthn?.rp_id || defaultId(context.publicAddress())
  if (id === undefined) return undefined
  const addresses = [...(host === undefined ? [] : [host]), context.publicAddress(), ...context.otherAddresses]
  const own = addresses.filter((address) => isOf(id, hostnameOf(address)))
  return { id, origins: [...new Set(own.flatMap(originsOf))] }
}

/** Whether a page at this host can use them. */
export function isUsableAt({ id }: RelyingParty, host: string | undefined): boolean {
  return host !== undefined && isOf(id, hostnameOf(host))
}

/** A page of the cluster on which passkeys work, the nearest to one at `host`; undefined where there is none. */
export function findPasskeyOrigin(context: PartyContext, host: string | undefined): string | undefined {
  const party = findRelyingParty(context, host)
  if (!party) return undefined
  const { port = '' } = URL.parse(`http://${host ?? context.publicAddress()}`) ?? {}
  const here = party.id === 'localhost' ? [`localhost${port && `:${port}`}`] : []
  const address = [...here, context.publicAddress(), ...context.otherAddresses].find((each) => isUsableAt(party, each))
  return address && originOf(address)
}

/**
 * Whether browsers would have passkeys at all by this preference, before it is saved: else nobody could sign in where they are required.
 * Throws `invalid_argument`.
 */
export function checkRelyingParty(context: PartyContext, { spec }: ClusterAuthPreference): void {
  const { webauthn, otp, required } = secondFactorsOf(spec)
  const own = [context.publicAddress(), ...context.otherAddresses]
  const id = spec.webauthn?.rp_id
  const isLocal = id !== undefined && id === defaultId(context.publicAddress())
  if (id !== undefined && !isLocal && !own.some((address) => isOf(id, hostnameOf(address))))
    throw new AppError('invalid_argument', `spec.webauthn.rp_id: must be the host of the proxy (${own.join(', ')}) or a domain above it`)
  if (webauthn && required && !otp && id === undefined && defaultId(context.publicAddress()) === undefined)
    throw new AppError(
      'invalid_argument',
      `spec.webauthn.rp_id: browsers keep no passkeys for ${context.publicAddress()}: set the public_addr of the proxy to a name first`,
    )
}

/** An address of this machine alone stands for its name, at which browsers do keep passkeys. */
function defaultId(publicAddress: string): string | undefined {
  const name = hostnameOf(publicAddress)
  if (isLoopbackHost(name)) return 'localhost'
  return isIP(name.replace(/^\[|\]$/g, '')) === 0 && name !== '' ? name : undefined
}

function isOf(id: string, hostname: string): boolean {
  return hostname === id || hostname.endsWith(`.${id}`)
}

function hostnameOf(address: string): string {
  return URL.parse(`http://${address}`)?.hostname ?? ''
}

/** Off loopback pages are served over https only; there both may be. */
function originsOf(address: string): string[] {
  const origin = originOf(address)
  return origin.startsWith('http:') ? [origin, new URL(`https://${address}`).origin] : [origin]
}
