import { removeResource } from '../../client/admin.ts'
import type { Context } from './context.ts'

export async function run({ call, io, withApi }: Context): Promise<void> {
  const bot = call.argument('bot') ?? ''
  await withApi((api) => removeResource(api, 'bot', bot))
  io.stdout.write(`Bot ${JSON.stringify(bot)} deleted successfully.\n`)
}
