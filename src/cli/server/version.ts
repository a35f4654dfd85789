import type { Invocation } from '../../lib/command-rows.ts'

export function printVersion({ io }: Invocation, version: string): void {
  io.stdout.write(`Sallyport v${version} node ${process.version}\n`)
}
