import { readFile } from 'node:fs/promises'
import { AppError } from '../../lib/errors.ts'
import type { BotConfig } from './config.ts'
import type { DirectoryConfig } from './destination.ts'
import type { DirectoryDependencies } from './directory-destination.ts'
import { explainFault, hasCode, openDirectory } from './open-directory.ts'
import { admitReaders } from './readers.ts'

/** An account that directories are made for. */
export interface Account {
  uid: number
  gid: number
}

/** Every directory that a bot with this configuration writes to, its own storage first. */
export function listDirectories({ storage, services }: BotConfig): DirectoryConfig[] {
  const destinations = services.flatMap(({ destination }) => (destination?.type === 'directory' ? [destination] : []))
  return storage.type === 'directory' ? [{ ...storage, readers: [] }, ...destinations] : destinations
}

/**
 * Makes a directory, mode 0700, for the account of the bot, and lets its readers in. What is there already is kept; a path that somebody else
 * could turn is refused as ever. Throws `failed_precondition` where this account may not do it.
 */
export async function prepareDirectory(
  config: DirectoryConfig,
  owner: Account,
  { readers }: Pick<DirectoryDependencies, 'readers'>,
): Promise<void> {
  const { path, symlinks } = config
  try {
    const directory = await openDirectory(path, { symlinks, ...owner })
    try {
      await directory.handle.chown(owner.uid, owner.gid)
      await directory.handle.chmod(0o700)
      await admitReaders(readers, config, directory, [])
    } finally {
      await directory.handle.close()
    }
  } catch (thrown) {
    if (hasCode(thrown, 'EPERM') || hasCode(thrown, 'EACCES'))
      throw new AppError('failed_precondition', `cannot prepare ${path}: start tbot init as root, or as the account of the bot`, {
        cause: thrown,
      })
    throw explainFault(thrown, path)
  }
}

/** The account of this name or number in the text of `/etc/passwd`. */
export async function findAccount(name: string, file = '/etc/passwd'): Promise<Account | undefined> {
  const text = await readFile(file, 'utf8').catch(() => '')
  const fields = text.split('\n').map((line) => line.split(':'))
  const [, , uid, gid] = fields.find(([user, , number]) => user === name || number === name) ?? []
  return /^\d+$/.test(uid ?? '') && /^\d+$/.test(gid ?? '') ? { uid: Number(uid), gid: Number(gid) } : undefined
}
