import { resolve } from 'node:path'
import { findBoundPublicKey } from '../../services/bot/own-identity.ts'
import { openBotStorage } from '../../services/bot/start.ts'
import type { Context } from './context.ts'
import { accountOf } from './serve.ts'

/** Of a bot that does not run: two processes never share a storage. */
export async function run({ call, io }: Context): Promise<void> {
  const now = io.now ?? Date.now
  const path = resolve(call.text('storage') ?? '')
  const directory = accountOf(now, () => {})
  const storage = await openBotStorage(
    { type: 'directory', path, symlinks: 'try-secure', acls: 'off' },
    { directory, pid: process.pid, now },
  )
  try {
    io.stdout.write(await findBoundPublicKey(storage))
  } finally {
    await storage.close()
  }
}
