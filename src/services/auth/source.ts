import { isIP } from 'node:net'
import { AppError } from '../../lib/errors.ts'
import { checkHost, checkOrigin } from '../../lib/loopback.ts'
import type { AuthContext } from './context.ts'

/**
 * Keeps pages of other sites out, also those that rebind their name to our address. A bare IP address is no name that could be rebound,
 * so it is as good as the public address. Throws `permission_denied`.
 */
export function checkSource(
  context: Pick<AuthContext, 'publicAddress' | 'otherAddresses'>,
  { host = '', origin }: { host: string | undefined; origin: string | undefined },
): void {
  const named = ['localhost', context.publicAddress(), ...context.otherAddresses]
  const allowed = isIP(URL.parse(`http://${host}`)?.hostname.replace(/^\[|\]$/g, '') ?? '') ? [...named, host] : named
  if (!checkHost(host, allowed)) {
    const message = `the host ${JSON.stringify(host)} is not this cluster's: use ${context.publicAddress()}, or set the proxy's public address`
    throw new AppError('permission_denied', message)
  }
  if (!checkOrigin(origin, allowed)) throw new AppError('permission_denied', 'requests from pages of other sites are refused')
}
