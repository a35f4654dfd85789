import { lstat } from 'node:fs/promises'
import { signIdentity } from '../../client/admin.ts'
import { writeFileAtomic } from '../../lib/atomic-file.ts'
import { AppError } from '../../lib/errors.ts'
import type { Context } from './context.ts'
import { parseSeconds } from './pairs.ts'

export async function run({ call, io, withApi }: Context): Promise<void> {
  const out = call.text('out') ?? ''
  if (!call.flag('overwrite') && (await lstat(out).catch(() => undefined)))
    throw new AppError('already_exists', `${out} is there already: use --overwrite to replace it`)
  const { text, expires } = await withApi((api) =>
    signIdentity(api, { user: call.text('user') ?? '', ttlSeconds: parseSeconds(call.text('ttl')) }),
  )
  await writeFileAtomic(out, text, { mode: 0o600 })
  io.stdout.write(`The credentials have been written to ${out}; they expire ${expires}\n`)
}
