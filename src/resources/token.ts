import { z } from 'zod'
import { labelsSchema, resourceSchema } from './envelope.ts'

export const JOIN_ROLES = ['App', 'Bot', 'Proxy', 'Node', 'Db', 'Kube', 'Discovery'] as const

const specSchema = z
  .strictObject({
    roles: z.array(z.enum(JOIN_ROLES)).min(1),
    join_method: z.string().default('token'),
    /** Only with the role Bot. */
    bot_name: z.string().optional(),
    suggested_labels: z.record(z.string(), z.union([z.string(), z.array(z.string())])).optional(),
    suggested_agent_matcher_labels: labelsSchema.optional(),
    allow: z.array(z.unknown()).optional(),
    bound_keypair: z.unknown().optional(),
  })
  .superRefine((spec, context) => {
    if (spec.bot_name && !spec.roles.includes('Bot'))
      context.addIssue({ code: 'custom', path: ['bot_name'], message: 'bot_name goes with the role Bot only' })
  })

/** A join token. With the method `token` its name is the secret. */
export const tokenSchema = resourceSchema('token', ['v2'], specSchema)
