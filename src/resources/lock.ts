import { z } from 'zod'
import { resourceSchema, timestampSchema } from './envelope.ts'

export const LOCK_TARGETS = [
  'user',
  'role',
  'login',
  'mfa_device',
  'windows_desktop',
  'access_request',
  'device',
  'server_id',
  'bot_instance_id',
  'join_token',
] as const
export type LockTarget = (typeof LOCK_TARGETS)[number]

const targetSchema = z
  .strictObject(
    // The entries are made from LOCK_TARGETS, one for each.
    Object.fromEntries(LOCK_TARGETS.map((key) => [key, z.string().min(1).optional()])) as Record<LockTarget, z.ZodOptional<z.ZodString>>,
  )
  .refine((target) => Object.values(target).some((value) => value !== undefined), `needs at least one of ${LOCK_TARGETS.join(', ')}`)

const specSchema = z.strictObject({
  target: targetSchema,
  message: z.string().max(1024).optional(),
  /** In force until then; without it until the lock is deleted. */
  expires: timestampSchema.optional(),
  created_at: timestampSchema.optional(),
  created_by: z.string().optional(),
})

export const lockSchema = resourceSchema('lock', ['v2'], specSchema)
export type Lock = z.infer<typeof lockSchema>
