import { removeResource } from '../../client/admin.ts'
import type { Context } from './context.ts'

export async function run({ call, io, withApi }: Context): Promise<void> {
  const name = call.argument('name') ?? ''
  await withApi((api) => removeResource(api, 'user', name))
  io.stdout.write(`User ${JSON.stringify(name)} has been deleted\n`)
}
