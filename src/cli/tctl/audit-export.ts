import { createWriteStream } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fetchAllEvents } from '../../client/audit.ts'
import { AppError } from '../../lib/errors.ts'
import { readFilter } from './audit-filter.ts'
import type { Context } from './context.ts'

export async function run({ call, io, now, withApi }: Context): Promise<void> {
  const filter = { ...readFilter(call, now()), order: 'asc' as const }
  const out = call.text('out')
  let count = 0
  await withApi(async (api) => {
    async function* lines(): AsyncGenerator<string> {
      for await (const line of fetchAllEvents(api, filter)) {
        count++
        yield `${line}\n`
      }
    }
    if (out === undefined) return await pipeline(Readable.from(lines()), io.stdout, { end: false })
    const file = createWriteStream(out, { flags: 'wx', mode: 0o600 })
    await pipeline(Readable.from(lines()), file).catch((thrown: unknown) => {
      if (thrown instanceof AppError) throw thrown
      throw new AppError('failed_precondition', `cannot write ${out}: it must not be there yet, and its folder must be writable`, {
        cause: thrown,
      })
    })
  })
  if (out !== undefined) io.stderr.write(`${count} events written to ${out}\n`)
}
