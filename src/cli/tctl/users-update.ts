import { fetchResource, putResource } from '../../client/admin.ts'
import { AppError } from '../../lib/errors.ts'
import { parseResource } from '../../resources/registry.ts'
import type { Context } from './context.ts'
import { parsePairs } from './pairs.ts'

const TRAITS = new Map([
  ['set-mcp-tools', { trait: 'mcp_tools', words: 'MCP tools' }],
  ['set-db-users', { trait: 'db_users', words: 'database users' }],
  ['set-db-names', { trait: 'db_names', words: 'database names' }],
])

export async function run({ call, io, withApi }: Context): Promise<void> {
  const name = call.argument('name') ?? ''
  const given = [...TRAITS.keys(), 'set-roles', 'set-traits'].filter((flag) => call.isGiven(flag))
  if (given.length === 0) throw new AppError('invalid_argument', 'nothing to update: use --set-roles, --set-mcp-tools or --set-traits')
  await withApi(async (api) => {
    const stored = await fetchResource(api, 'user', name)
    const { spec } = parseResource('user', stored)
    const traits: Record<string, string[]> = {
      ...spec.traits,
      ...parsePairs(call.list('set-traits')),
      ...Object.fromEntries([...TRAITS].flatMap(([flag, { trait }]) => (call.isGiven(flag) ? [[trait, call.list(flag)]] : []))),
    }
    const roles = call.isGiven('set-roles') ? call.list('set-roles') : spec.roles
    await putResource(api, { ...stored, spec: { ...spec, roles, ...(Object.keys(traits).length > 0 ? { traits } : {}) } })
    io.stdout.write(`User ${name} has been updated:\n`)
    if (call.isGiven('set-roles')) io.stdout.write(`\tNew roles: ${roles.join(',')}\n`)
    for (const [flag, { words }] of TRAITS) if (call.isGiven(flag)) io.stdout.write(`\tNew ${words}: ${call.list(flag).join(',')}\n`)
    if (call.isGiven('set-traits')) io.stdout.write(`\tNew traits: ${call.list('set-traits').join(',')}\n`)
  })
}
