import { AppError } from '../../lib/errors.ts'
import { loadBotConfig } from '../../services/bot/config.ts'
import type { Context } from './context.ts'
import { readShared } from './flags.ts'
import { serve } from './serve.ts'

/** Ends with 0 when it was told to stop. */
export async function run(context: Context): Promise<number> {
  const { call, io } = context
  const file = call.text('config')
  if (file === undefined)
    throw new AppError('invalid_argument', 'nothing says what to do: name a configuration file with -c', {
      details: { fix: ['tbot start identity --help shows how to do without a file'] },
    })
  return await serve(await loadBotConfig(file, io.env, readShared(call)), context)
}
