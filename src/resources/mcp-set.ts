import { z } from 'zod'
import { foldName, isExposedName } from '../lib/exposed-name.ts'
import { nameSchema, resourceSchema } from './envelope.ts'
import { selectorSchema } from './role.ts'

const DISCOVERIES = ['full', 'search', 'auto'] as const

const patterns = z
  .array(z.string().min(1))
  .max(1000)
  .describe('names, globs or `^regex$`, as `TOOL` or, for one server (or a pattern of servers) only, `SERVER/TOOL`')

const serversSchema = z
  .strictObject({
    labels: selectorSchema.optional().describe('as `app_labels` of a role'),
    names: z.array(nameSchema).max(1000).optional(),
  })
  .refine(({ labels, names }) => labels !== undefined || names !== undefined, 'needs labels or names: which servers the set shows')

const renameSchema = z.strictObject({
  server: nameSchema,
  tool: z.string().min(1).max(1024).describe('as the server calls it'),
  name: z
    .string()
    .refine(isExposedName, 'must be 1 to 48 of a-z, A-Z, 0-9, _ and -, and not search_tools or call_tool')
    .describe('as this set shows it'),
})

const specSchema = z.strictObject({
  servers: serversSchema.describe('Which servers the set shows: those with such labels, and those named.'),
  tools: z
    .strictObject({ include: patterns.optional(), exclude: patterns.optional() })
    .optional()
    .describe('Which of their tools; without `include` all, and never what `exclude` matches.'),
  rename: z.array(renameSchema).max(1000).superRefine(checkRenames).optional().describe('Names of your own for some of the tools.'),
  discovery: z
    .enum(DISCOVERIES)
    .default('auto')
    .describe(
      '`full` lists all tools, `search` shows search_tools and call_tool instead, `auto` does so for clients that cannot take as many.',
    ),
  description: z.string().max(4096).optional(),
  instructions: z.string().max(4096).optional().describe('A word to the model, above what the servers themselves say.'),
})

/** A selection of MCP servers under one URL, `/mcp/sets/NAME`. It grants nothing: what roles do not allow is not in it. */
export const mcpSetSchema = resourceSchema('mcp_set', ['v1'], specSchema)
export type McpSet = z.infer<typeof mcpSetSchema>

function checkRenames(renames: readonly z.infer<typeof renameSchema>[], context: z.RefinementCtx): void {
  const tools = new Set<string>()
  const names = new Set<string>()
  for (const [index, { server, tool, name }] of renames.entries()) {
    const key = JSON.stringify([server, tool])
    const fault = (message: string): void => context.addIssue({ code: 'custom', path: [index, 'name'], message })
    if (tools.has(key)) fault(`tool "${tool}" of server "${server}" has a name already`)
    if (names.has(foldName(name))) fault(`"${name}" is the name of another tool, or too much like it`)
    tools.add(key)
    names.add(foldName(name))
  }
}
