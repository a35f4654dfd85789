import type { ClusterAuthPreference } from './cluster-auth-preference.ts'

/** What people may prove beside a password, and whether they have to. */
export interface SecondFactors {
  /** One-time codes of an authenticator app (RFC 6238). */
  otp: boolean
  /** Passkeys and security keys (WebAuthn). */
  webauthn: boolean
  /** What the identity provider of a connector says of it. */
  sso: boolean
  /** Without a factor nobody signs in. Else who has one is asked for it. */
  required: boolean
  /** A passkey that has verified its user stands for name, password and second factor. */
  passwordless: boolean
}

/** What `second_factor` or `second_factors` of the cluster mean; `optional` where neither is given. */
export function secondFactorsOf({ second_factor, second_factors, allow_passwordless }: ClusterAuthPreference['spec']): SecondFactors {
  const { otp, webauthn, sso, required } = second_factors ? fromList(second_factors) : fromWord(second_factor ?? 'optional')
  return { otp, webauthn, sso, required, passwordless: webauthn && allow_passwordless !== false }
}

/** The same in the one word that clients of before know. */
export function secondFactorWord(spec: ClusterAuthPreference['spec']): NonNullable<ClusterAuthPreference['spec']['second_factor']> {
  if (spec.second_factor !== undefined) return spec.second_factor
  const { otp, webauthn, required } = secondFactorsOf(spec)
  if (!required) return 'optional'
  return otp === webauthn ? 'on' : otp ? 'otp' : 'webauthn'
}

type Allowed = Omit<SecondFactors, 'passwordless'>

function fromList(list: NonNullable<ClusterAuthPreference['spec']['second_factors']>): Allowed {
  return { otp: list.includes('otp'), webauthn: list.includes('webauthn'), sso: list.includes('sso'), required: true }
}

function fromWord(word: NonNullable<ClusterAuthPreference['spec']['second_factor']>): Allowed {
  switch (word) {
    case 'off':
      return { otp: false, webauthn: false, sso: true, required: false }
    case 'optional':
      return { otp: true, webauthn: true, sso: true, required: false }
    case 'otp':
      return { otp: true, webauthn: false, sso: true, required: true }
    case 'webauthn':
      return { otp: false, webauthn: true, sso: true, required: true }
    case 'on':
      return { otp: true, webauthn: true, sso: true, required: true }
  }
}
