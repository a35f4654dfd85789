import { removeOAuthGrant } from '../../client/admin.ts'
import type { Context } from './context.ts'

export async function run({ call, io, withApi }: Context): Promise<void> {
  const id = call.argument('id') ?? ''
  await withApi((api) => removeOAuthGrant(api, id))
  io.stdout.write(`OAuth grant ${id} has been ended\n`)
}
