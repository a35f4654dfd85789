import { addApiToken } from '../../client/admin.ts'
import { parseDuration } from '../../lib/duration.ts'
import { formatOf } from '../../lib/output-format.ts'
import { renderOutput } from '../../lib/output.ts'
import { withConnection } from './context.ts'
import type { Context } from './context.ts'

export async function run(context: Context): Promise<void> {
  const { call, io } = context
  const lifetime = call.text('lifetime')
  const [servers, roles] = [call.list('servers'), call.list('roles')]
  const made = await withConnection(context, ({ api }) =>
    addApiToken(api, {
      name: call.argument('name'),
      ttl: lifetime === undefined ? undefined : Math.round(parseDuration(lifetime) / 1000),
      ...(servers.length > 0 ? { servers } : {}),
      ...(roles.length > 0 ? { roles } : {}),
    }),
  )
  io.stdout.write(
    renderOutput(
      formatOf(call),
      made,
      ({ token, item }) => `${token}\n\nThis token is shown once. It expires ${item.expires}; revoke it with: tsh api-tokens rm ${item.id}`,
    ),
  )
}
