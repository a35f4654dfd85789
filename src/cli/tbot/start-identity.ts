import { renderOutput } from '../../lib/output.ts'
import { parseBotConfig } from '../../services/bot/config.ts'
import type { Context } from './context.ts'
import { readIdentity } from './flags.ts'
import { serve } from './serve.ts'

export async function run(context: Context): Promise<number> {
  const text = renderOutput('yaml', readIdentity(context.call), () => '')
  return await serve(parseBotConfig(text, 'flags', context.io.env), context)
}
