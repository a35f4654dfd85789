import { fetchResource, putResource } from '../../client/admin.ts'
import { AppError } from '../../lib/errors.ts'
import { parseResource } from '../../resources/registry.ts'
import type { Context } from './context.ts'
import { parsePairs } from './pairs.ts'

export async function run({ call, io, withApi }: Context): Promise<void> {
  const name = call.argument('name') ?? ''
  const given = ['set-roles', 'set-mcp-tools', 'set-traits'].filter((flag) => call.isGiven(flag))
  if (given.length === 0) throw new AppError('invalid_argument', 'nothing to update: use --set-roles, --set-mcp-tools or --set-traits')
  await withApi(async (api) => {
    const stored = await fetchResource(api, 'user', name)
    const { spec } = parseResource('user', stored)
    const traits: Record<string, string[]> = {
      ...spec.traits,
      ...parsePairs(call.list('set-traits')),
      ...(call.isGiven('set-mcp-tools') ? { mcp_tools: call.list('set-mcp-tools') } : {}),
    }
    const roles = call.isGiven('set-roles') ? call.list('set-roles') : spec.roles
    await putResource(api, { ...stored, spec: { ...spec, roles, ...(Object.keys(traits).length > 0 ? { traits } : {}) } })
    io.stdout.write(`User ${name} has been updated:\n`)
    if (call.isGiven('set-roles')) io.stdout.write(`\tNew roles: ${roles.join(',')}\n`)
    if (call.isGiven('set-mcp-tools')) io.stdout.write(`\tNew MCP tools: ${call.list('set-mcp-tools').join(',')}\n`)
    if (call.isGiven('set-traits')) io.stdout.write(`\tNew traits: ${call.list('set-traits').join(',')}\n`)
  })
}
