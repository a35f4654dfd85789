import { renderOutput } from '../../lib/output.ts'
import { formatOf } from '../../lib/output-format.ts'
import type { Context } from './context.ts'

export async function run({ call, io }: Context): Promise<void> {
  const version = { client: io.version ?? 'dev', runtime: process.version }
  io.stdout.write(renderOutput(formatOf(call), version, () => `Sallyport v${version.client} node ${version.runtime}`))
}
