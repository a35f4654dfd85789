import { removeApiToken } from '../../client/admin.ts'
import type { Context } from './context.ts'

export async function run({ call, io, withApi }: Context): Promise<void> {
  const id = call.argument('id') ?? ''
  await withApi((api) => removeApiToken(api, id))
  io.stdout.write(`API token ${id} has been deleted\n`)
}
