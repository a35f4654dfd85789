import { z } from 'zod'
import { findDuration } from '../lib/duration.ts'
import { yesNoSchema } from '../lib/yes-no.ts'
import { resourceSchema } from './envelope.ts'
import { sessionMfaSchema } from './session-mfa.ts'

export const CLUSTER_AUTH_PREFERENCE = 'cluster-auth-preference'
/** Ways to sign in that need no connector: what `connector_name` may be where `type` is local. */
export const LOCAL_CONNECTORS = ['local', 'passwordless'] as const

/** Nothing is said by these, wherever they stand. */
const EMPTY: readonly unknown[] = [{}, [], '', null]

/** A field of Teleport's that stands for something which is not done here: it may be empty or say so, and nothing else. */
function notDone(what: string, harmless: readonly unknown[] = []) {
  const told = new Set([...EMPTY, ...harmless].map((value) => JSON.stringify(value)))
  return z
    .unknown()
    .optional()
    .refine((value) => value === undefined || told.has(JSON.stringify(value)), `${what}: leave it out`)
}

/** The domain that passkeys are for (WebAuthn Level 3, section 4: relying party identifier): a host name, no URL and no address. */
const relyingPartySchema = z
  .string()
  .max(253)
  .regex(
    /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/,
    'must be a host name in lower case, such as sallyport.example.com',
  )
  .refine((name) => !/^[\d.]+$/.test(name), 'must be a host name: browsers keep no passkeys for addresses')

const webauthnSchema = z.strictObject({
  rp_id: relyingPartySchema.optional().describe('the domain that passkeys are for; the host of the public address unless told'),
  attestation_allowed_cas: notDone('makers of authenticators are not checked'),
  attestation_denied_cas: notDone('makers of authenticators are not checked'),
  disabled: notDone('say it with second_factor', [false]),
})

const specSchema = z
  .strictObject({
    type: z
      .enum(['local', 'oidc', 'github'], { error: 'must be local, oidc or github' })
      .default('local')
      .describe('how people sign in unless they choose another way'),
    second_factor: z
      .enum(['off', 'optional', 'otp', 'webauthn', 'on'], { error: 'must be off, optional, otp, webauthn or on' })
      .optional()
      .describe('off: passwords alone; optional, unless told: asked of who has one; otp, webauthn: this one is required; on: either'),
    second_factors: z
      .array(z.enum(['otp', 'webauthn', 'sso'], { error: 'must be otp, webauthn or sso' }))
      .min(1, 'must name at least one')
      .optional()
      .describe('one of these is required; in place of second_factor. sso: what an identity provider says of it counts'),
    require_session_mfa: sessionMfaSchema.optional(),
    locking_mode: z.enum(['best_effort', 'strict']).default('best_effort'),
    disconnect_expired_cert: z.boolean().optional(),
    default_session_ttl: z
      .string()
      .refine((text) => findDuration(text) !== undefined, 'must be a duration such as 12h')
      .default('12h'),
    connector_name: z
      .string()
      .optional()
      .describe('the connector that people sign in by unless they choose another; with type local: local or passwordless'),
    webauthn: webauthnSchema.optional(),
    allow_local_auth: yesNoSchema.optional().describe('whether anybody may sign in with a password or passkey; true unless told'),
    allow_passwordless: yesNoSchema.optional().describe('whether a passkey alone signs in; true unless told, where passkeys count'),
    allow_headless: notDone('there is no headless sign-in', [false, 'no', 'off']),
    device_trust: notDone('devices are not judged', [{ mode: 'off' }]),
    idp: notDone('the cluster is no SAML identity provider', [{ saml: { enabled: false } }]),
    hardware_key: notDone('keys of certificates are kept in files'),
    u2f: notDone('U2F is gone from browsers: use webauthn'),
    message_of_the_day: notDone('there is no message of the day'),
    signature_algorithm_suite: notDone('all keys are EC P-256 or Ed25519'),
    okta: notDone('there is no Okta integration'),
    stable_unix_user_config: notDone('no host users are made', [{ enabled: false }]),
  })
  .superRefine((spec, context) => {
    const fault = (field: string, message: string) => context.addIssue({ code: 'custom', path: [field], message })
    if (spec.second_factor !== undefined && spec.second_factors !== undefined)
      fault('second_factors', 'stands in place of second_factor: give one of the two')
    const passkeys = spec.second_factors?.includes('webauthn') ?? !['off', 'otp'].includes(spec.second_factor ?? 'optional')
    if (spec.allow_passwordless === true && !passkeys) fault('allow_passwordless', 'needs webauthn among the second factors')
    if (spec.type !== 'local') return
    if (spec.connector_name !== undefined && !['', ...LOCAL_CONNECTORS].includes(spec.connector_name))
      fault('connector_name', 'must be local or passwordless where type is local: say type oidc or github for a connector')
    if (spec.connector_name === 'passwordless' && (!passkeys || spec.allow_passwordless === false))
      fault('connector_name', 'passwordless needs webauthn among the second factors, and allow_passwordless')
  })

export const clusterAuthPreferenceSchema = resourceSchema('cluster_auth_preference', ['v2'], specSchema)
export type ClusterAuthPreference = z.infer<typeof clusterAuthPreferenceSchema>
