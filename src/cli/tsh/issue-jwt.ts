import { fetchJwtSvid, JWT_SVID_FILE } from '../../client/workload-identity.ts'
import { sanitizeTerminal } from '../../lib/output.ts'
import { withConnection } from './context.ts'
import type { Context } from './context.ts'
import { readSvidWanted, writeSvidFiles } from './svid-files.ts'

export async function run(context: Context): Promise<void> {
  const { call, io } = context
  const wanted = readSvidWanted(call)
  const { svid, spiffe_id, expires } = await withConnection(context, ({ api }) => fetchJwtSvid(api, wanted, call.list('audience')))
  const output = call.text('output')
  if (output === undefined) return void io.stdout.write(`${svid}\n`)
  const directory = await writeSvidFiles(output, new Map([[JWT_SVID_FILE, svid]]))
  io.stdout.write(sanitizeTerminal(`${spiffe_id} is in ${directory} until ${expires}: ${JWT_SVID_FILE}\n`))
}
