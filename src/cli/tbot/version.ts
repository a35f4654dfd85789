import type { Context } from './context.ts'

export async function run({ io }: Context): Promise<void> {
  io.stdout.write(`Sallyport v${io.version ?? 'dev'} node ${process.version}\n`)
}
