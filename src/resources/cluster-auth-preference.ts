import { z } from 'zod'
import { findDuration } from '../lib/duration.ts'
import { yesNoSchema } from '../lib/yes-no.ts'
import { resourceSchema } from './envelope.ts'
import { sessionMfaSchema } from './session-mfa.ts'

export const CLUSTER_AUTH_PREFERENCE = 'cluster-auth-preference'

const kept = z.unknown().optional()

const specSchema = z.strictObject({
  /** How people sign in unless they choose another way. */
  type: z.enum(['local', 'oidc', 'github', 'saml']).default('local'),
  /** `off`: password only; `optional`: TOTP where the user has one; `otp`/`on`: required. */
  second_factor: z.enum(['off', 'optional', 'otp', 'on', 'webauthn']).default('optional'),
  second_factors: z.array(z.string()).optional(),
  require_session_mfa: sessionMfaSchema.optional(),
  locking_mode: z.enum(['best_effort', 'strict']).default('best_effort'),
  disconnect_expired_cert: z.boolean().optional(),
  default_session_ttl: z
    .string()
    .refine((text) => findDuration(text) !== undefined, 'must be a duration such as 12h')
    .default('12h'),
  connector_name: z.string().optional().describe('the connector that people sign in by unless they choose another'),
  webauthn: kept,
  device_trust: kept,
  allow_local_auth: yesNoSchema.optional().describe('whether anybody may sign in with a password; true unless told'),
  allow_passwordless: kept,
  allow_headless: kept,
  idp: kept,
  hardware_key: kept,
  u2f: kept,
  message_of_the_day: kept,
  signature_algorithm_suite: kept,
  okta: kept,
  stable_unix_user_config: kept,
})

export const clusterAuthPreferenceSchema = resourceSchema('cluster_auth_preference', ['v2'], specSchema)
export type ClusterAuthPreference = z.infer<typeof clusterAuthPreferenceSchema>
