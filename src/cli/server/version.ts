import type { Invocation } from '../../lib/command-rows.ts'
import { VERSION } from './running.ts'

export async function run({ io }: Invocation): Promise<void> {
  io.stdout.write(`Sallyport v${VERSION} node ${process.version}\n`)
}
