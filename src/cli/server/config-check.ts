import type { Invocation } from '../../lib/command-rows.ts'
import { AppError } from '../../lib/errors.ts'
import { loadConfig } from './config.ts'

export async function run(invocation: Invocation): Promise<void> {
  const file = invocation.argument('file') ?? invocation.text('config')
  if (file === undefined) throw new AppError('invalid_argument', 'name the file to check: sallyport config check sallyport.yaml')
  await loadConfig({ file, dataDirectory: undefined, env: invocation.io.env })
  invocation.io.stdout.write(`${file}: no faults found\n`)
}
