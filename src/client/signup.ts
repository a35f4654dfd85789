import { acceptInvite, showInvite } from '../api/users.ts'
import { AppError } from '../lib/errors.ts'
import { createApiClient } from './call.ts'
import { parseProxyAddress, type ProxyAddress } from './proxy-address.ts'
import type { TrustedProxy } from './trust.ts'

/** What a one-time sign-up link names. */
export interface SignupLink {
  proxy: ProxyAddress
  token: string
}

/** What the cluster offers to the bearer of a link. */
export interface Signup {
  user: string
  isTotpRequired: boolean
  /** A fresh TOTP secret and its `otpauth:` URI; of use only once a code proves that it is stored. */
  totpSecret: string
  totpUri: string
}

/** The parts of `https://PROXY/web/signup/TOKEN`, as `tctl users add` and `tctl users reset` print it. */
export function parseSignupLink(text: string): SignupLink {
  const url = URL.parse(text)
  const token = /^\/web\/signup\/([\w-]{10,200})$/.exec(url?.pathname ?? '')?.[1]
  if (!url || token === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw new AppError('invalid_argument', 'that is no sign-up link: it looks like https://PROXY/web/signup/… and tctl users add prints it')
  }
  return { proxy: parseProxyAddress(url.port ? url.host : `${url.host}:${url.protocol === 'https:' ? 443 : 80}`), token }
}

export async function fetchSignup(trusted: TrustedProxy, token: string): Promise<Signup> {
  const invite = await createApiClient(trusted.carrier)(showInvite, { token })
  return { user: invite.user, isTotpRequired: invite.totp_required, totpSecret: invite.totp_secret, totpUri: invite.totp_uri }
}

/** Sets the password, and the second factor when a code is given; the link is used up. */
export async function completeSignup(
  trusted: TrustedProxy,
  chosen: { token: string; password: string; totp?: { secret: string; code: string } | undefined },
): Promise<void> {
  const { token, password, totp } = chosen
  await createApiClient(trusted.carrier)(acceptInvite, { token, password, totp_secret: totp?.secret, totp: totp?.code })
}
