import { z } from 'zod'
import { route } from './route.ts'

const name = z.string().min(1).max(200)
/** Characters: what a proxy keeps of a session, sealed. */
const MAX_BODY = 512 * 1024

export const keepMcpSession = route({
  name: 'keepMcpSession',
  method: 'POST',
  path: '/v1/mcp/sessions',
  access: { kind: 'mcp_session', verb: 'create' },
  summary: 'Keeps what proxies have to know together of an MCP session at the one URL, and tells all of them. Proxies only.',
  input: z.strictObject({
    name,
    owner: z.string().min(1).max(1000),
    body: z.string().max(MAX_BODY),
    revision: z.int().min(0).describe('of what it takes the place of; 0 for nothing'),
    expires: z.iso.datetime(),
  }),
  output: z.object({ kept: z.boolean().describe('false when something else was kept meanwhile') }),
})

export const findMcpSession = route({
  name: 'findMcpSession',
  method: 'GET',
  path: '/v1/mcp/sessions',
  access: { kind: 'mcp_session', verb: 'read' },
  summary: 'What is kept under that name. Proxies only.',
  input: z.strictObject({ name }),
  output: z.object({ found: z.object({ body: z.string(), revision: z.number() }).nullable() }),
})

export const takeMcpSession = route({
  name: 'takeMcpSession',
  method: 'POST',
  path: '/v1/mcp/sessions/take',
  access: { kind: 'mcp_session', verb: 'delete' },
  summary: 'The same, which is then kept no longer: of several proxies that ask, one has it. Proxies only.',
  input: z.strictObject({ name }),
  output: z.object({ body: z.string().nullable() }),
})
