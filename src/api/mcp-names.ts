import { z } from 'zod'
import { route } from './route.ts'

const what = z.enum(['tool', 'prompt'])
const name = z.string().max(1024)

export const assignMcpNames = route({
  name: 'assignMcpNames',
  method: 'POST',
  path: '/v1/mcp/names',
  access: { kind: 'mcp_name', verb: 'create' },
  summary: 'The names under which tools or prompts of a server stand among those of all servers; given once, kept for good. Proxies only.',
  input: z.strictObject({ server: z.string().min(1).max(255), what, originals: z.array(name).max(1000) }),
  output: z.object({ exposed: z.array(z.string().nullable()).describe('in the order asked; null for one that gets no name') }),
})

export const findMcpName = route({
  name: 'findMcpName',
  method: 'GET',
  path: '/v1/mcp/names',
  access: { kind: 'mcp_name', verb: 'read' },
  summary: 'What such a name stands for. Proxies only.',
  input: z.strictObject({ what, exposed: name }),
  output: z.object({ found: z.object({ server: z.string(), original: z.string() }).nullable() }),
})
