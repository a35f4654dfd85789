import { z } from 'zod'

/** `require_session_mfa` of a role and of the cluster. */
export const sessionMfaSchema = z.union([z.boolean(), z.enum(['no', 'yes', 'hardware_key', 'hardware_key_touch'])])

/** Whether the setting asks for a second factor; one that asks for a hardware key does so too. */
export function requiresSessionMfa(setting: z.infer<typeof sessionMfaSchema> | undefined): boolean {
  return setting !== undefined && setting !== false && setting !== 'no'
}
