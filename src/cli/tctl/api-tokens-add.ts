import { addApiToken } from '../../client/admin.ts'
import { renderOutput } from '../../lib/output.ts'
import { formatOf } from '../../lib/output-format.ts'
import type { Context } from './context.ts'
import { parseSeconds } from './pairs.ts'

export async function run({ call, io, withApi }: Context): Promise<void> {
  const [servers, roles] = [call.list('servers'), call.list('roles')]
  const made = await withApi((api) =>
    addApiToken(api, {
      user: call.text('user'),
      name: call.argument('name'),
      ttl: parseSeconds(call.text('ttl')),
      ...(servers.length > 0 ? { servers } : {}),
      ...(roles.length > 0 ? { roles } : {}),
    }),
  )
  io.stdout.write(
    renderOutput(
      formatOf(call),
      made,
      ({ token, item }) =>
        `${token}\n\nThis token of ${item.user} is shown once. It expires ${item.expires}; revoke it with: tctl api-tokens rm ${item.id}`,
    ),
  )
}
