import { removeResource } from '../../client/admin.ts'
import type { Context } from './context.ts'

export async function run({ call, io, withApi }: Context): Promise<void> {
  const token = call.argument('token') ?? ''
  await withApi((api) => removeResource(api, 'token', token))
  io.stdout.write(`Token ${token} has been deleted\n`)
}
