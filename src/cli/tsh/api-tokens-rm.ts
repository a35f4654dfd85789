import { removeApiToken } from '../../client/admin.ts'
import { withConnection } from './context.ts'
import type { Context } from './context.ts'

export async function run(context: Context): Promise<void> {
  const id = context.call.argument('id') ?? ''
  await withConnection(context, ({ api }) => removeApiToken(api, id))
  context.io.stdout.write(`API token ${id} has been deleted\n`)
}
