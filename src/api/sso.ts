import { z } from 'zod'
import { wireResource } from './resources.ts'
import { route } from './route.ts'

/** `tctl sso test`: a sign-in by a connector that is not saved, which signs nobody in. */
export const startSsoTest = route({
  name: 'startSsoTest',
  method: 'POST',
  path: '/v1/sso/:kind/tests',
  access: { byKind: 'create' },
  summary: 'Begins to try a connector out, which is not saved.',
  input: z.strictObject({ kind: z.enum(['oidc', 'github']), resource: wireResource }),
  output: z.object({
    id: z.string(),
    path: z.string().describe('page to open, relative to the proxy'),
    url: z.string().describe('the same as a whole'),
    expires: z.string(),
  }),
})

export const getSsoTest = route({
  name: 'getSsoTest',
  method: 'GET',
  path: '/v1/sso/tests/:id',
  access: 'authenticated',
  summary: 'What came of trying a connector out, for who began that.',
  input: z.strictObject({ id: z.string().max(100) }),
  output: z.object({
    state: z.enum(['waiting', 'done', 'failed']),
    user: z.string().optional(),
    roles: z.array(z.string()).optional(),
    missing_roles: z.array(z.string()).optional().describe('roles that the mappings give but that do not exist'),
    traits: z.record(z.string(), z.array(z.string())).optional(),
    error: z.string().optional(),
  }),
})
export type SsoTest = z.infer<(typeof getSsoTest)['output']>
