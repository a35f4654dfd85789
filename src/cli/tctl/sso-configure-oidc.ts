import type { Context } from './context.ts'
import { clientFields, given, parseMappings, renderConnector } from './sso-mappings.ts'

export async function run({ call, io }: Context): Promise<void> {
  const scope = call.list('scope')
  const spec = {
    issuer_url: call.text('issuer-url'),
    ...clientFields(call),
    ...(scope.length > 0 && { scope }),
    claims_to_roles: parseMappings(call, 'claims-to-roles').map(({ first: claim, second: value, roles }) => ({ claim, value, roles })),
    ...given('username_claim', call.text('username-claim')),
    ...given('prompt', call.text('prompt')),
    ...given('acr_values', call.text('acr')),
    ...given('max_age', call.text('max-age')),
    ...(call.flag('allow-unverified-email') && { allow_unverified_email: true }),
  }
  io.stdout.write(renderConnector('oidc', call.text('name') ?? 'oidc', spec))
}
