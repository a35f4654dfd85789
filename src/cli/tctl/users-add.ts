import { invite } from '../../client/admin.ts'
import { renderOutput } from '../../lib/output.ts'
import { formatOf } from '../../lib/output-format.ts'
import type { Context } from './context.ts'
import { parsePairs, parseSeconds } from './pairs.ts'

export async function run({ call, io, withApi }: Context): Promise<void> {
  const named = ['mcp-tools', 'db-users', 'db-names'].filter((flag) => call.list(flag).length > 0)
  const traits = {
    ...parsePairs(call.list('traits')),
    ...Object.fromEntries(named.map((flag) => [flag.replace('-', '_'), call.list(flag)])),
  }
  const name = call.argument('name') ?? ''
  const invited = await withApi((api) =>
    invite(api, {
      name,
      roles: call.list('roles'),
      ttl: parseSeconds(call.text('ttl')),
      ...(Object.keys(traits).length > 0 ? { traits } : {}),
    }),
  )
  io.stdout.write(
    renderOutput(
      formatOf(call),
      invited,
      ({ user, url, expires }) =>
        `User ${JSON.stringify(user)} has been created but requires a password. Share this URL with the user to complete user setup, link is valid until ${expires}:\n${url}\n\nNOTE: Make sure the address of this URL can be reached by the user.`,
    ),
  )
}
