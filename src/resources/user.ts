import { z } from 'zod'
import { resourceSchema } from './envelope.ts'

/** Attributes of a user, from an administrator or an identity provider; `mcp_tools` feeds `{{internal.mcp_tools}}`. */
export const traitsSchema = z.record(z.string(), z.array(z.string()))
export type Traits = z.infer<typeof traitsSchema>

const specSchema = z.strictObject({
  roles: z.array(z.string()).default([]),
  traits: traitsSchema.optional(),
  /** Facts other tools write; kept, never used for a decision. Passwords live elsewhere. */
  status: z.unknown().optional(),
  created_by: z.unknown().optional(),
  expires: z.string().optional(),
})

export const userSchema = resourceSchema('user', ['v2'], specSchema)
export type User = z.infer<typeof userSchema>
