import { fetchResource, putResource } from '../../client/admin.ts'
import { AppError } from '../../lib/errors.ts'
import { parseResource } from '../../resources/registry.ts'
import type { Context } from './context.ts'
import { parsePairs } from './pairs.ts'

export async function run({ call, io, withApi }: Context): Promise<void> {
  const name = call.argument('bot') ?? ''
  const changesRoles = call.isGiven('add-roles') || call.isGiven('set-roles')
  const longest = call.text('set-max-session-ttl')
  if (!changesRoles && longest === undefined && !call.isGiven('set-traits') && !call.isGiven('add-logins') && !call.isGiven('set-logins'))
    throw new AppError('invalid_argument', 'nothing to update: use --add-roles, --set-roles, --set-traits or --set-max-session-ttl')
  await withApi(async (api) => {
    const stored = await fetchResource(api, 'bot', name)
    const { spec } = parseResource('bot', stored)
    const before = call.isGiven('set-roles') ? call.list('set-roles') : spec.roles
    const roles = [...new Set([...before, ...call.list('add-roles')])]
    const traits = Object.entries(parsePairs(call.list('set-traits'))).map(([trait, values]) => ({ name: trait, values }))
    await putResource(api, {
      ...stored,
      spec: {
        ...spec,
        roles,
        ...(call.isGiven('set-traits') && { traits }),
        ...(longest !== undefined && { max_session_ttl: longest }),
      },
    })
    io.stdout.write(`Bot ${JSON.stringify(name)} has been updated.\n`)
    if (changesRoles) io.stdout.write(`Roles: ${roles.join(', ')}\n`)
  })
}
