import { fetchX509Files } from '../../client/workload-identity.ts'
import { sanitizeTerminal } from '../../lib/output.ts'
import { withConnection } from './context.ts'
import type { Context } from './context.ts'
import { readSvidWanted, writeSvidFiles } from './svid-files.ts'

export async function run(context: Context): Promise<void> {
  const { call, io } = context
  const wanted = readSvidWanted(call)
  const { svid, files } = await withConnection(context, ({ api }) => fetchX509Files(api, wanted))
  const directory = await writeSvidFiles(call.text('output') ?? '', files)
  io.stdout.write(sanitizeTerminal(`${svid.spiffe_id} is in ${directory} until ${svid.expires}: ${[...files.keys()].join(', ')}\n`))
}
