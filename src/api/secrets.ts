import { z } from 'zod'
import { route } from './route.ts'

/** For agents. */
export const readSecret = route({
  name: 'readSecret',
  method: 'POST',
  path: '/v1/secret-values',
  access: { kind: 'secret_value', verb: 'read' },
  summary: 'The value of a secret, for an agent that offers an MCP server whose registered app names it.',
  input: z.strictObject({ name: z.string().max(255) }),
  output: z.object({ value: z.string(), revision: z.string() }),
})
