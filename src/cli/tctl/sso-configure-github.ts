import type { Context } from './context.ts'
import { clientFields, given, parseMappings, renderConnector } from './sso-mappings.ts'

export async function run({ call, io }: Context): Promise<void> {
  const mappings = parseMappings(call, 'teams-to-roles')
  const spec = {
    ...clientFields(call),
    teams_to_roles: mappings.map(({ first: organization, second: team, roles }) => ({ organization, team, roles })),
    ...given('endpoint_url', call.text('endpoint-url')),
    ...given('api_endpoint_url', call.text('api-endpoint-url')),
  }
  io.stdout.write(renderConnector('github', call.text('name') ?? 'github', spec))
}
