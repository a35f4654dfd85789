import { AppError } from '../../lib/errors.ts'
import { sanitizeTerminal } from '../../lib/output.ts'
import { loadBotConfig } from '../../services/bot/config.ts'
import { findAccount, listDirectories, prepareDirectory } from '../../services/bot/prepare-directory.ts'
import type { Context } from './context.ts'
import { accountOf } from './serve.ts'

/** Once, as root: afterwards the bot writes to them with its own account. */
export async function run({ call, io }: Context): Promise<void> {
  const file = call.text('config')
  if (file === undefined) throw new AppError('invalid_argument', 'name the configuration file with -c')
  const config = await loadBotConfig(file, io.env, { top: {}, onboarding: {} })
  const name = call.text('bot-user')
  const own = accountOf(io.now ?? Date.now, (message) => void io.stderr.write(sanitizeTerminal(`${message}\n`)))
  const owner = name === undefined ? own : await findAccount(name)
  if (!owner) throw new AppError('invalid_argument', `this machine has no account ${name}: make it first (useradd --system ${name})`)
  for (const directory of listDirectories(config)) {
    await prepareDirectory(directory, { uid: owner.uid, gid: owner.gid }, own)
    const readers = directory.readers.map(({ user, group }) => user ?? `group ${group}`).join(', ')
    io.stdout.write(sanitizeTerminal(`${directory.path} is for uid ${owner.uid}${readers === '' ? '' : `, read by ${readers}`}\n`))
  }
}
