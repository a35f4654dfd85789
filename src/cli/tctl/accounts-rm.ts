import { removeUpstreamAccount } from '../../client/upstream-accounts.ts'
import type { Context } from './context.ts'

export async function run({ call, io, withApi }: Context): Promise<void> {
  const id = call.argument('id') ?? ''
  await withApi((api) => removeUpstreamAccount(api, id))
  io.stdout.write(`account ${id} has been forgotten\n`)
}
