import { resolve } from 'node:path'
import { createPublicKey } from 'node:crypto'
import { findBoundKey } from '../../services/bot/own-identity.ts'
import { openBotStorage } from '../../services/bot/start.ts'
import { renderPublicJwk } from '../../services/bot/token-request.ts'
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
    const publicKey = createPublicKey(await findBoundKey(storage))
      .export({ type: 'spki', format: 'pem' })
      .toString()
    io.stdout.write(call.text('format') === 'jwk' ? await renderPublicJwk(publicKey) : publicKey)
  } finally {
    await storage.close()
  }
}
