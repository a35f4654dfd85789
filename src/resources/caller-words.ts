import { z } from 'zod'
import { findVariableFault, type Hosting, MAX_VARIABLES } from './hosting.ts'
import { secretsIn } from './secret.ts'

const MAX_VALUE = 4096

const template = z
  .string()
  .max(MAX_VALUE)
  .regex(/^[^\p{Cc}]*$/u, 'must not contain control characters')
  .refine((text) => secretsIn(text).length === 0 && !/\{\{\s*secret\b/.test(text), 'must not name a secret: use env_from')

const variableSchema = z.strictObject({
  name: z.string().superRefine((name, context) => {
    const fault = findVariableFault(name, '')
    if (fault) context.addIssue({ code: 'custom', path: [], message: fault })
  }),
  value: template.describe('A text, or a template as in headers.'),
})

const metaSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$/, 'must be letters, digits and . _ -')
    .describe('The key is this after `sallyport.dev/`.'),
  value: template.describe('A text, or a template as in headers; of a trait, always a list.'),
})

/** The part of `spec.rewrite` by which a server without headers is told who calls. */
export const callerWordFields = {
  env: z
    .array(variableSchema)
    .max(MAX_VARIABLES)
    .optional()
    .describe('Environment variables about who calls, for a stdio server with a process for each session.'),
  meta: z.array(metaSchema).max(50).optional().describe('Members of `_meta` about who calls, in each request, for any server.'),
}

export type CallerWordFields = { [K in keyof typeof callerWordFields]?: z.infer<(typeof callerWordFields)[K]> }

/** Why a server cannot be told of its callers in this way, if so. `isProgram`: the agent starts it by a command. */
export function findCallerWordFault(
  { env, meta }: CallerWordFields,
  hosting: Hosting,
  isProgram: boolean,
): { path: string[]; message: string } | undefined {
  for (const [field, list] of [['env', env ?? []] as const, ['meta', meta ?? []] as const]) {
    const names = list.map(({ name }) => name)
    const twice = names.find((name, index) => names.indexOf(name) !== index)
    if (twice !== undefined) return { path: [field], message: `names ${JSON.stringify(twice)} twice` }
  }
  if (!env?.length) return undefined
  if (!isProgram) return { path: ['env'], message: 'is for servers that the agent starts by a command' }
  const isForMany = hosting.lifecycle === 'shared' || (hosting.warm ?? 0) > 0
  return isForMany ? { path: ['env'], message: 'needs a process for each session, without warm ones: use meta' } : undefined
}
