import { z } from 'zod'
import { yesNoSchema } from '../../lib/yes-no.ts'
import { mcpLimitsSchema } from '../../mcp/limits-schema.ts'
import { type App, appSchema } from '../../resources/app.ts'
import { selectorSchema } from '../../resources/role.ts'

/** A label whose value a command says. */
const commandSchema = z.strictObject({ name: z.string().min(1), command: z.array(z.string()).min(1), period: z.string().default('1m') })

function dynamicLabels(commands: readonly z.output<typeof commandSchema>[]): Record<string, unknown> {
  return Object.fromEntries(commands.map(({ name, ...label }) => [name, label]))
}

/** An MCP server written into the configuration file: the spec of an `app` with its metadata beside it. */
const staticAppSchema = z
  .looseObject({
    name: z.string(),
    description: z.string().optional(),
    labels: z.record(z.string(), z.string()).optional(),
    commands: z.array(commandSchema).max(50).optional(),
    rewrite: z.looseObject({ headers: z.array(z.union([z.string(), z.looseObject({})])).optional() }).optional(),
  })
  .transform(({ name, description, labels, commands, rewrite, ...spec }) => {
    const headers = rewrite?.headers?.map((header) => (typeof header === 'string' ? splitHeader(header) : header))
    const metadata = {
      name,
      ...(description !== undefined && { description }),
      labels: { ...labels, 'teleport.dev/origin': 'config-file' },
    }
    const document: unknown = {
      kind: 'app',
      version: 'v3',
      metadata,
      spec: {
        ...spec,
        ...(commands && { dynamic_labels: dynamicLabels(commands) }),
        ...(rewrite && { rewrite: { ...rewrite, ...(headers && { headers }) } }),
      },
    }
    return document
  })
  .pipe(z.unknown().pipe(appSchema))

/** The section `app_service` of sallyport.yaml. */
export const agentConfigSchema = z
  .strictObject({
    enabled: yesNoSchema.default(true).describe('Whether this process runs an agent, which stands in front of MCP servers.'),
    mcp_demo_server: yesNoSchema.default(false).describe('Whether to offer the built-in demo MCP server, teleport-mcp-demo.'),
    resources: z
      .array(z.strictObject({ labels: selectorSchema.describe('Key to value or values; `"*": "*"` matches every app.') }))
      .default([{ labels: { '*': '*' } }])
      .describe('Which app resources this agent serves; the entries are alternatives. Empty: none.'),
    apps: z
      .array(staticAppSchema)
      .default([])
      .describe('MCP servers of this agent alone, in the form of an app spec with name, description and labels beside it.'),
    allow_dynamic_commands: yesNoSchema
      .default(false)
      .describe(
        'Whether the commands of dynamic_labels of app resources are run here too, as the account of the agent, and not only those of apps of this file. Whoever may write apps then runs commands on this host; without it such an app is not served.',
      ),
    mcp_limits: mcpLimitsSchema('with one MCP server'),
  })
  .describe('The agent: which MCP servers it serves.')

export type AgentConfig = z.output<typeof agentConfigSchema>

/** `"Name: value"`, the short form of a rewritten header in the configuration file. */
function splitHeader(text: string): { name: string; value: string } {
  const colon = text.indexOf(':')
  return { name: text.slice(0, Math.max(0, colon)).trim(), value: text.slice(colon + 1).trim() }
}

export function demoApp(): App {
  return appSchema.parse({
    kind: 'app',
    version: 'v3',
    metadata: {
      name: 'teleport-mcp-demo',
      description: 'A demo MCP server that shows who you are and how you came here',
      labels: { 'teleport.internal/resource-type': 'demo', 'teleport.dev/origin': 'config-file' },
    },
    spec: { uri: 'mcp+stdio://teleport-mcp-demo' },
  })
}
