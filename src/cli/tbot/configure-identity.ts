import { writeFileAtomic } from '../../lib/atomic-file.ts'
import { renderOutput } from '../../lib/output.ts'
import { parseBotConfig } from '../../services/bot/config.ts'
import type { Context } from './context.ts'
import { readIdentity } from './flags.ts'

/** The file may hold a token: it is for its owner only. */
export async function run({ call, io }: Context): Promise<void> {
  const text = renderOutput('yaml', readIdentity(call), () => '')
  parseBotConfig(text, 'flags', io.env)
  const file = call.text('output')
  if (file === undefined) io.stdout.write(text)
  else await writeFileAtomic(file, text, { mode: 0o600 })
}
