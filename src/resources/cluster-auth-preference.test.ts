import { expect, test } from 'vitest'
import { parseResource } from './registry.ts'
import { secondFactorsOf, secondFactorWord } from './second-factors.ts'

const preference = (spec: Record<string, unknown>) =>
  parseResource('cluster_auth_preference', {
    kind: 'cluster_auth_preference',
    version: 'v2',
    metadata: { name: 'cluster-auth-preference' },
    spec,
  })

test.each<[Record<string, unknown>, string]>([
  [{ second_factor: 'u2f' }, 'spec.second_factor: must be off, optional, otp, webauthn or on'],
  [{ second_factors: [] }, 'spec.second_factors: must name at least one'],
  [{ second_factors: ['sms'] }, 'spec.second_factors.0: must be otp, webauthn or sso'],
  [{ second_factor: 'on', second_factors: ['otp'] }, 'spec.second_factors: stands in place of second_factor'],
  [{ type: 'saml' }, 'spec.type: must be local, oidc or github'],
  [{ connector_name: 'corp' }, 'spec.connector_name: must be local or passwordless where type is local'],
  [{ connector_name: 'passwordless', second_factor: 'otp' }, 'spec.connector_name: passwordless needs webauthn'],
  [{ connector_name: 'passwordless', allow_passwordless: 'no' }, 'spec.connector_name: passwordless needs webauthn'],
  [{ second_factor: 'off', allow_passwordless: true }, 'spec.allow_passwordless: needs webauthn'],
  [{ webauthn: { rp_id: 'https://example.com' } }, 'spec.webauthn.rp_id: must be a host name'],
  [{ webauthn: { rp_id: '192.0.2.1' } }, 'spec.webauthn.rp_id: must be a host name: browsers keep no passkeys for addresses'],
  [{ webauthn: { attestation_allowed_cas: ['/etc/ca.pem'] } }, 'spec.webauthn.attestation_allowed_cas: makers of authenticators'],
  [{ webauthn: { disabled: true } }, 'spec.webauthn.disabled: say it with second_factor'],
  [{ u2f: { app_id: 'https://example.com' } }, 'spec.u2f: U2F is gone'],
  [{ device_trust: { mode: 'required' } }, 'spec.device_trust: devices are not judged'],
  [{ allow_headless: true }, 'spec.allow_headless: there is no headless sign-in'],
  [{ hardware_key: { piv_slot: '9a' } }, 'spec.hardware_key'],
  [{ message_of_the_day: 'hello' }, 'spec.message_of_the_day'],
  [{ second_facto: 'on' }, 'second_facto'],
])('%j is refused', (spec, message) => {
  expect(() => preference(spec)).toThrow(message)
})

test('what says that something is off is taken', () => {
  const spec = {
    device_trust: { mode: 'off' },
    allow_headless: false,
    hardware_key: {},
    okta: null,
    message_of_the_day: '',
    idp: { saml: { enabled: false } },
    webauthn: { rp_id: 'sallyport.example.com', attestation_denied_cas: [] },
  }
  expect(preference(spec).spec).toMatchObject(spec)
})

test.each<[Record<string, unknown>, ReturnType<typeof secondFactorsOf>, string]>([
  [{}, { otp: true, webauthn: true, sso: true, required: false, passwordless: true }, 'optional'],
  [{ second_factor: 'off' }, { otp: false, webauthn: false, sso: true, required: false, passwordless: false }, 'off'],
  [{ second_factor: 'otp' }, { otp: true, webauthn: false, sso: true, required: true, passwordless: false }, 'otp'],
  [{ second_factor: 'webauthn' }, { otp: false, webauthn: true, sso: true, required: true, passwordless: true }, 'webauthn'],
  [{ second_factor: 'on', allow_passwordless: 'no' }, { otp: true, webauthn: true, sso: true, required: true, passwordless: false }, 'on'],
  [{ second_factors: ['webauthn'] }, { otp: false, webauthn: true, sso: false, required: true, passwordless: true }, 'webauthn'],
  [{ second_factors: ['otp', 'webauthn'] }, { otp: true, webauthn: true, sso: false, required: true, passwordless: true }, 'on'],
  [{ second_factors: ['sso'] }, { otp: false, webauthn: false, sso: true, required: true, passwordless: false }, 'on'],
])('%j means', (spec, meaning, word) => {
  expect(secondFactorsOf(preference(spec).spec)).toEqual(meaning)
  expect(secondFactorWord(preference(spec).spec)).toBe(word)
})
