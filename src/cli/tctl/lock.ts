import { randomUUID } from 'node:crypto'
import { addResource } from '../../client/admin.ts'
import { parseDuration } from '../../lib/duration.ts'
import { AppError } from '../../lib/errors.ts'
import { LOCK_TARGETS } from '../../resources/lock.ts'
import { parseResource } from '../../resources/registry.ts'
import type { Context } from './context.ts'

export async function run({ call, io, now, withApi }: Context): Promise<void> {
  const target = Object.fromEntries(
    LOCK_TARGETS.flatMap((key) => {
      const value = call.text(key.replaceAll('_', '-'))
      return value === undefined ? [] : [[key, value]]
    }),
  )
  if (Object.keys(target).length === 0)
    throw new AppError('invalid_argument', `say what to lock: ${LOCK_TARGETS.map((key) => `--${key.replaceAll('_', '-')}`).join(', ')}`)
  const [ttl, expires, message] = [call.text('ttl'), call.text('expires'), call.text('message')]
  if (ttl !== undefined && expires !== undefined) throw new AppError('invalid_argument', 'only one of --ttl and --expires can be given')
  const until = ttl === undefined ? expires : new Date(now() + parseDuration(ttl)).toISOString()
  const lock = parseResource('lock', {
    kind: 'lock',
    version: 'v2',
    metadata: { name: randomUUID() },
    spec: { target, ...(message === undefined ? {} : { message }), ...(until === undefined ? {} : { expires: until }) },
  })
  await withApi((api) => addResource(api, lock))
  io.stdout.write(`Created a lock with name ${JSON.stringify(lock.metadata.name)}.\n`)
}
