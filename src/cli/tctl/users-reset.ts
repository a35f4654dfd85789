import { resetCredentials } from '../../client/admin.ts'
import { renderOutput } from '../../lib/output.ts'
import { formatOf } from '../../lib/output-format.ts'
import type { Context } from './context.ts'
import { parseSeconds } from './pairs.ts'

export async function run({ call, io, withApi }: Context): Promise<void> {
  const name = call.argument('name') ?? ''
  const made = await withApi((api) => resetCredentials(api, { name, ttl: parseSeconds(call.text('ttl')) }))
  io.stdout.write(
    renderOutput(
      formatOf(call),
      made,
      ({ user, url, expires }) =>
        `User ${JSON.stringify(user)} has been reset; sign-ins and API tokens from before have ended. Share this URL with the user to complete password reset, link is valid until ${expires}:\n${url}`,
    ),
  )
}
