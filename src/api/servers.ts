import { z } from 'zod'
import { announced } from './offers.ts'
import { wireResource } from './resources.ts'
import { route } from './route.ts'

/** How it does where it does best: see `app_server`. */
const visibleHealth = z.looseObject({ state: z.string(), since: z.string(), reason: z.string().optional() })

/** One that serves it here, and how it does there. */
const servingAgent = z.looseObject({ host_id: z.string(), hostname: z.string(), state: z.string().optional() })

/** What `tsh mcp ls --format json` prints: an app with the caller's permissions beside it. */
const visibleServer = wireResource.and(
  z.looseObject({
    permissions: z.object({ mcp: z.object({ tools: z.object({ allowed: z.array(z.string()), denied: z.array(z.string()) }) }) }),
    health: visibleHealth.optional(),
    agents: z.array(servingAgent).optional(),
  }),
)
export type VisibleServer = z.infer<typeof visibleServer>

export const listVisibleServers = route({
  name: 'listVisibleServers',
  method: 'GET',
  path: '/v1/mcp/servers',
  access: 'authenticated',
  forMcpClients: true,
  summary: 'The MCP servers that an agent offers now and the caller may use, with the tools allowed.',
  input: z.strictObject({}),
  output: z.object({ items: z.array(visibleServer) }),
})

export const announceServers = route({
  name: 'announceServers',
  method: 'POST',
  path: '/v1/mcp/servers',
  access: { kind: 'app_server', verb: 'update' },
  summary:
    'An agent says that it offers these MCP servers until they expire: creates or replaces its app_server resources, of all but those that its join token does not let it offer.',
  ...announced,
})

const step = z.object({
  subject: z.string(),
  name: z.string(),
  verdict: z.string(),
  detail: z.string(),
})

export const explainAccess = route({
  name: 'explainAccess',
  method: 'POST',
  path: '/v1/access/explain',
  access: { kind: 'role', verb: 'read' },
  summary: 'Which role, rule, label or lock decides about a user and a server (and a tool, or a method the gateway does not know).',
  input: z.strictObject({
    user: z.string(),
    server: z.string(),
    tool: z.string().optional(),
    args: z.unknown().optional(),
    method: z.string().optional(),
  }),
  output: z.object({ allow: z.boolean(), reason: z.string(), by: z.string().nullable(), steps: z.array(step) }),
})
